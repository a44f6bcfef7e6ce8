//! Arguments of the commands that talk to other stores.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use super::Says;

/// `irmin clone`.
#[derive(Debug, Args)]
#[command(
    after_help = "URL is http://, https://, ssh://, git://, HOST:PATH or a folder; irmin+ssh:// is ssh:// to a host
where irmin answers, as it must for a native store. Since irmin touches no work tree, the new folder
is the repository itself (bare), of the format of the other side; its branches stand under
refs/remotes/origin/, and only that of its HEAD is made here too. `git worktree add` or `git clone`
of it gives files. For a server that asks who you are: set IRMIN_TOKEN to a token, put user and
password into the URL, or set up `git credential`.

JSON:
  repository, objects                     its folder, and how many objects came

Examples:
  irmin clone https://example.org/notes.git
  irmin clone --depth 1 host:notes.git notes
  irmin clone irmin+ssh://host/~/notes
  irmin clone --mirror http://127.0.0.1:8080/notes.git backup.git"
)]
pub struct Clone {
    /// Where from
    pub url: String,
    /// Where to [default: the last part of the URL, ending in .git]
    pub folder: Option<PathBuf>,
    /// The branch to begin with [default: that of the other side's HEAD]
    #[arg(long, short, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// Fetch that branch only, and the tags of what comes
    #[arg(long)]
    pub single_branch: bool,
    /// Make all branches under their own names, without refs/remotes/origin/
    #[arg(long, conflicts_with = "mirror")]
    pub bare: bool,
    /// Keep all names as they are there, also when fetching later
    #[arg(long)]
    pub mirror: bool,
    /// Only so many commits, and that branch only
    #[arg(long, value_name = "COUNT")]
    pub depth: Option<NonZeroU32>,
    /// Fetch no tags
    #[arg(long)]
    pub no_tags: bool,
    /// What is called there over ssh [default: git-upload-pack]; kept as remote.origin.uploadpack
    #[arg(long, short, value_name = "COMMAND")]
    pub upload_pack: Option<String>,
}

/// Which tags come, and how much history.
#[derive(Debug, Args)]
pub struct HowMuch {
    /// Remove names whose source is gone there
    #[arg(long, short)]
    pub prune: bool,
    /// Fetch all tags, not only those of what comes
    #[arg(long, short, conflicts_with = "no_tags")]
    pub tags: bool,
    /// Fetch no tags
    #[arg(long)]
    pub no_tags: bool,
    /// Only so many commits of each name
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["deepen", "unshallow"])]
    pub depth: Option<NonZeroU32>,
    /// So many commits more than there are
    #[arg(long, value_name = "COUNT", conflicts_with = "unshallow")]
    pub deepen: Option<NonZeroU32>,
    /// All of the history
    #[arg(long)]
    pub unshallow: bool,
    /// What is called there over ssh [default: remote.NAME.uploadpack, or git-upload-pack]
    #[arg(long, value_name = "COMMAND")]
    pub upload_pack: Option<String>,
}

/// `irmin fetch`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a line for each name that was made, moved or removed here: what happened, the name, the old
and the new id. A name that would lose commits stays (and the exit code is 1) unless its refspec
begins with +. Remotes are read from the configuration, as git remote writes it.

JSON:
  name, status, old, new, why             why is null unless it stays

Examples:
  irmin fetch
  irmin fetch --all --prune
  irmin fetch origin main
  irmin fetch https://example.org/notes.git 'refs/heads/*:refs/remotes/other/*'"
)]
pub struct Fetch {
    /// A remote or a URL [default: that of the current branch, or origin]
    pub remote: Option<String>,
    /// What to fetch, as THEIRS:OURS [default: what is configured]
    pub refspecs: Vec<String>,
    /// Fetch from all remotes
    #[arg(long, conflicts_with_all = ["remote", "refspecs"])]
    pub all: bool,
    /// Which tags, and how much.
    #[command(flatten)]
    pub how_much: HowMuch,
}

/// `irmin pull`.
#[derive(Debug, Args)]
#[command(
    after_help = "Fetches, and merges as `irmin merge` does: prints the id of the commit that the branch is at
afterwards, or the paths in conflict, and then the branch stays where it is and the exit code is 1.

JSON:
  name, status, old, new, why             a name that was fetched, as irmin fetch has it
  commit, tree, branch                    what the branch holds now
  path, why, base, ours, theirs           a conflict, where each side is null or mode, id

Examples:
  irmin pull
  irmin pull origin topic
  irmin pull --branch topic origin topic"
)]
pub struct Pull {
    /// A remote or a URL [default: that of the branch, or origin]
    pub remote: Option<String>,
    /// The branch there [default: what is configured, or that of the same name]
    pub theirs: Option<String>,
    /// The branch to merge into [default: the current one]
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// What the commit says.
    #[command(flatten)]
    pub says: Says,
    /// Which tags, and how much.
    #[command(flatten)]
    pub how_much: HowMuch,
}

/// `irmin push`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a line for each name there: what happened, the name, the old and the new id. If one was
refused the exit code is 1.

JSON:
  name, status, old, new, why             why is null unless it was refused

Examples:
  irmin push
  irmin push -u origin topic
  irmin push origin main:release 'refs/tags/*'
  irmin push origin main~1:refs/heads/earlier
  irmin push --delete origin topic
  irmin push --force-with-lease origin topic"
)]
pub struct Push {
    /// A remote or a URL [default: that of the current branch, or origin]
    pub remote: Option<String>,
    /// What to push, as OURS:THEIRS [default: the current branch]
    pub refspecs: Vec<String>,
    /// Push all branches
    #[arg(long, conflicts_with_all = ["refspecs", "mirror", "delete"])]
    pub all: bool,
    /// Push all tags too
    #[arg(long)]
    pub tags: bool,
    /// Make all names there what they are here, and delete the others
    #[arg(long, conflicts_with_all = ["refspecs", "delete", "tags"])]
    pub mirror: bool,
    /// Delete these names there
    #[arg(long, short, requires = "refspecs")]
    pub delete: bool,
    /// Pull and push these branches from and to there from now on
    #[arg(long, short = 'u', conflicts_with = "delete")]
    pub set_upstream: bool,
    /// Move names there even if they lose commits
    #[arg(long, short)]
    pub force: bool,
    /// The same, but only names that are still where they were fetched, or at ID
    #[arg(long, value_name = "NAME[:ID]", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub force_with_lease: Vec<String>,
    /// Move all names or none
    #[arg(long)]
    pub atomic: bool,
    /// What is called there over ssh [default: remote.NAME.receivepack, or git-receive-pack]
    #[arg(long, value_name = "COMMAND", alias = "exec")]
    pub receive_pack: Option<String>,
}

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use irmin::Position;

mod remote;
mod serve;
mod upkeep;

pub use remote::{Clone, Fetch, HowMuch, Pull, Push};
pub use serve::{Pipe, Serve, Token};
pub use upkeep::{Convert, Export, Fsck, Gc, Import};

/// A store that branches, merges and watches, and speaks Git
#[derive(Debug, Parser)]
#[command(name = "irmin", version, max_term_width = 100, after_help = HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// The repository, or a folder inside it [default: $GIT_DIR, or the current folder]
    #[arg(long, global = true, value_name = "PATH")]
    pub repo: Option<PathBuf>,

    /// Write JSON objects, one a line
    #[arg(long, global = true)]
    pub json: bool,
}

const HELP: &str = "Examples:
  irmin init notes                          make a Git repository in the folder notes
  irmin set greeting/en hello               commit a value to the current branch
  irmin get greeting/en                     print it
  irmin merge --dry-run main topic          the tree of the merge, or the paths in conflict
  irmin watch main                          print every change of the branch as it happens

A NAME is what Git takes: a branch or tag, HEAD or @, a full or abbreviated id, with ~3, ^2 or
^{} behind it. A PATH begins at the root of the tree. Work trees and the index are not touched.

With --json each line is an object, whose fields the help of a command tells. Ids are full, seconds
count from 1970, null is for what is not there. Bytes that are no UTF-8 stand in hexadecimal digits
under the field's name with _hex behind it. Errors are told in words on standard error.

Exit codes:
  0  done
  1  the answer is no: a path or branch is not there, is of another kind or stands in the way; no
     common ancestor, a conflict, a name that would lose commits, a finding, nothing new to export
  2  the command line is wrong, whatever the repository holds
  3  it could not be found out or done: no such repository or commit, damage, a lock, the network,
     a full disk
SIGINT, SIGTERM and SIGHUP end it as they end any program (130, 143, 129 in a shell), after what was
begun is removed.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an empty repository
    Init(Init),
    /// Print the contents of a file
    Get(Get),
    /// Commit new contents of a file
    Set(Set),
    /// Commit the removal of files
    Rm(Rm),
    /// List the names in a directory
    #[command(after_help = LS)]
    Ls(List),
    /// List all files below a directory, with their paths
    #[command(after_help = TREE)]
    Tree(List),
    /// Show the commits of a name, the latest first
    Log(Log),
    /// List the branches, the current one marked with a star; make or delete one
    Branches(Branches),
    /// Print the best common ancestors of two commits: one full id a line, sorted
    Lcas(Lcas),
    /// Merge a commit into a branch, or try what a merge would give
    Merge(Merge),
    /// List the files that differ between two commits
    Diff(Diff),
    /// Print every change of a branch as it happens
    Watch(Watch),
    /// Print the history as a graph for Graphviz
    #[command(after_help = DOT)]
    Dot(Graph),
    /// Draw the history as an SVG image
    #[command(after_help = SVG)]
    Svg(Graph),
    /// Give back the space of what no name leads to
    Gc(Gc),
    /// Check that all that names lead to is there and undamaged
    Fsck(Fsck),
    /// Make a native store of a Git repository, or the other way round, with all history
    Convert(Convert),
    /// Write branches with their history into one file, a Git bundle
    Export(Export),
    /// Take in a Git bundle
    Import(Import),
    /// Make a repository that holds what another one has
    Clone(Clone),
    /// Bring what is new in another repository
    Fetch(Fetch),
    /// Fetch, and merge into a branch
    Pull(Pull),
    /// Send what another repository lacks, and move its names
    Push(Push),
    /// Serve the repository to Git, and to programs as JSON, over HTTP
    Serve(Serve),
    /// Make a token for `irmin serve --tokens`
    Token(Token),
    /// Answer a clone or fetch on standard input and output, as git-upload-pack does for ssh
    #[command(after_help = serve::UPLOAD_PACK)]
    UploadPack(Pipe),
    /// Answer a push on standard input and output, as git-receive-pack does for ssh
    #[command(after_help = serve::RECEIVE_PACK)]
    ReceivePack(Pipe),
    /// Print a script that completes this command's words in a shell
    Completion(Completion),
}

impl Command {
    /// Whether it changes nothing in the repository.
    pub fn reads_only(&self) -> bool {
        match self {
            Command::Get(_)
            | Command::Ls(_)
            | Command::Tree(_)
            | Command::Log(_)
            | Command::Lcas(_)
            | Command::Diff(_)
            | Command::Watch(_)
            | Command::Dot(_)
            | Command::Svg(_)
            | Command::Export(_) => true,
            Command::Branches(branches) => branches.create.is_none() && branches.delete.is_none(),
            Command::Merge(merge) => merge.dry_run,
            _ => false,
        }
    }
}

/// `irmin completion`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  irmin completion bash > ~/.local/share/bash-completion/completions/irmin
  irmin completion zsh > ~/.zfunc/_irmin    a folder of $fpath
  irmin completion fish > ~/.config/fish/completions/irmin.fish")]
pub struct Completion {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `irmin init`.
#[derive(Debug, Args)]
#[command(after_help = "JSON:
  repository                              its folder

Examples:
  irmin init
  irmin init notes --object-format sha256
  irmin init --bare /srv/notes.git
  irmin init keys --format native           irmin's own engine, for millions of keys: in keys/.irmin")]
pub struct Init {
    /// Where [default: --repo, or the current folder]
    pub path: Option<PathBuf>,
    /// What kind of store [default: git-sha1]
    #[arg(long, value_enum)]
    pub format: Option<StoreFormat>,
    /// How objects of a Git repository are named: Git's own option
    #[arg(long, value_enum, conflicts_with = "format")]
    pub object_format: Option<ObjectFormat>,
    /// Make the folder itself the repository, without a work tree
    #[arg(long)]
    pub bare: bool,
}

/// What kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreFormat {
    /// A Git repository in Git's first format, which every server takes
    GitSha1,
    /// A Git repository in Git's second format
    GitSha256,
    /// Irmin's own engine, for millions of keys in a directory; one program at a time opens it
    Native,
}

/// How objects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    /// Git's first format, which every server takes
    Sha1,
    /// Git's second format
    Sha256,
}

/// `irmin get`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the bytes as they are; on a terminal, control characters are shown escaped.

JSON:
  path, mode, id                          mode as Git writes it; id may be null in a native store
  text                                    what is in it

Examples:
  irmin get greeting/en
  irmin get greeting/en --at main~3 > old"
)]
pub struct Get {
    /// The file
    pub path: OsString,
    /// The commit to look into
    #[arg(long, value_name = "NAME", default_value = "HEAD")]
    pub at: String,
}

/// What a commit says.
#[derive(Debug, Default, Args)]
pub struct Says {
    /// The message of the commit
    #[arg(long, short, value_name = "TEXT")]
    pub message: Option<String>,
    /// Who wrote it, as `NAME <EMAIL>` [default: whom Git would name]
    #[arg(long, value_name = "NAME <EMAIL>")]
    pub author: Option<String>,
}

/// The branch that is changed, and what its commit says.
#[derive(Debug, Args)]
pub struct Commit {
    /// The branch to commit to [default: the current one]; begins with this commit if it is new
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// What the commit says.
    #[command(flatten)]
    pub says: Says,
}

/// `irmin set`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the id of the commit; if nothing is different, none is made, and the id is that of the
last one. A file that is there keeps its mode. The author is the one that Git would name.

JSON:
  commit, tree, branch                    what the branch holds now

Examples:
  irmin set greeting/en hello
  echo hello | irmin set greeting/en -m 'Greet in English'
  irmin set logo.png --branch drafts < logo.png"
)]
pub struct Set {
    /// The file
    pub path: OsString,
    /// The contents, without a line end added [default: standard input]
    pub value: Option<OsString>,
    /// Where to commit.
    #[command(flatten)]
    pub commit: Commit,
}

/// `irmin rm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Removes all of the paths in one commit, or none if one of them is not there.

JSON:
  commit, tree, branch                    what the branch holds now

Examples:
  irmin rm greeting/en
  irmin rm -r greeting drafts -m 'Clean up'"
)]
pub struct Rm {
    /// The files
    #[arg(required = true)]
    pub paths: Vec<OsString>,
    /// Remove directories too, with all that is below them
    #[arg(long, short)]
    pub recursive: bool,
    /// Where to commit.
    #[command(flatten)]
    pub commit: Commit,
}

const LS: &str = "A directory's name is shown with a slash. Names with control characters are quoted as Git quotes
them.

JSON:
  name, mode, id                          mode as Git writes it; id may be null in a native store
  commit, seconds                         what last changed it, and when (--last-modified)

Examples:
  irmin ls
  irmin ls greeting --at v1.0
  irmin ls --last-modified                  when each was last changed, and by which commit";

const TREE: &str = "Paths begin at the root, also below a directory. Those with control characters are quoted as Git
quotes them.

JSON:
  path, mode, id                          mode as Git writes it; id may be null in a native store
  commit, seconds                         what last changed it, and when (--last-modified)

Examples:
  irmin tree
  irmin tree greeting --at v1.0
  irmin tree --json                         with modes and ids";

/// `irmin ls`, `irmin tree`.
#[derive(Debug, Args)]
pub struct List {
    /// The directory [default: the root]
    pub path: Option<OsString>,
    /// The commit to look into
    #[arg(long, value_name = "NAME", default_value = "HEAD")]
    pub at: String,
    /// Show which commit last changed each, and when
    #[arg(long, short = 'l')]
    pub last_modified: bool,
}

/// `irmin log`.
#[derive(Debug, Args)]
#[command(after_help = "JSON:
  commit, tree, parents, message
  author, committer                       name, email, seconds, zone

Examples:
  irmin log
  irmin log main~10 -n 5
  irmin log -- greeting/en farewell         the commits that changed one of these
  irmin log topic -n 1 -- greeting/en       the one that last modified it")]
pub struct Log {
    /// Where to begin
    #[arg(default_value = "HEAD")]
    pub name: String,
    /// Show no more than so many commits
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Only commits that changed what is at one of these paths
    #[arg(last = true, value_name = "PATH")]
    pub paths: Vec<OsString>,
}

/// `irmin branches`.
#[derive(Debug, Args)]
#[command(after_help = "JSON:
  branch, commit, subject, current        one of the list
  branch, commit, tree                    what was made or deleted

Examples:
  irmin branches
  irmin branches --create topic --at v1.0
  irmin branches --delete topic")]
pub struct Branches {
    /// Make this branch; fails if there is one of this name
    #[arg(long, value_name = "BRANCH")]
    pub create: Option<String>,
    /// The commit that the new branch begins at
    #[arg(long, value_name = "NAME", default_value = "HEAD", requires = "create")]
    pub at: String,
    /// Delete this branch; fails if it has commits that the current one lacks
    #[arg(long, value_name = "BRANCH", conflicts_with = "create")]
    pub delete: Option<String>,
    /// Delete it in any case
    #[arg(long, requires = "delete")]
    pub force: bool,
}

/// `irmin lcas`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 if there is none: the histories are unrelated.

JSON:
  commit

Examples:
  irmin lcas main topic
  irmin lcas v1.0 main~3"
)]
pub struct Lcas {
    /// A commit
    pub a: String,
    /// Another one
    pub b: String,
}

/// `irmin merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Files are merged line by line; what both sides changed in the same place is a conflict, and so is
a file where the other side has a directory. Renamed files and directories are followed, and the
paths in conflict are those of `git merge-tree`: a file that is in a directory's way is PATH~NAME,
with the name of its side. --json has the reason, and what the three sides have there.

Prints the id of the commit that the branch is at afterwards. On a conflict the branch stays where
it is; the paths in conflict are printed, one a line, and the exit code is 1. --dry-run changes
nothing at all: it prints the id of the merged tree, or the paths in conflict.

JSON:
  commit, tree, branch                    what the branch holds now; with --dry-run only the tree
  path, why, base, ours, theirs           a conflict, where each side is null or mode, id

Examples:
  irmin merge topic
  irmin merge topic --branch release -m 'Release the topic'
  irmin merge --dry-run main topic"
)]
pub struct Merge {
    /// The commit to merge; with --dry-run the two sides, OURS and THEIRS
    #[arg(required = true, num_args = 1..=2, value_name = "NAME")]
    pub names: Vec<String>,
    /// Only tell what the merge would give
    #[arg(long, conflicts_with_all = ["branch", "message", "author"])]
    pub dry_run: bool,
    /// The branch to merge into [default: the current one]
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// What the commit says.
    #[command(flatten)]
    pub says: Says,
}

/// `irmin diff`.
#[derive(Debug, Args)]
#[command(
    after_help = "A is for a file that was added, D for one that was deleted, M for other contents or another mode,
T for a file that became a link or module or the other way round. Exits with 0 in any case.

JSON:
  status, path, old, new                  old and new are null or mode, id

Examples:
  irmin diff main~1                         what the last commit changed
  irmin diff v1.0 main --json"
)]
pub struct Diff {
    /// The older commit
    pub old: String,
    /// The newer commit
    #[arg(default_value = "HEAD")]
    pub new: String,
}

/// `irmin watch`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first line is where the branch is now, and every further one is a move of it, with its position
and the ids of the commits before and after (- for none); the files that differ follow, as in diff.
Moves are noticed whoever makes them, git included, at once where the system tells of changed files
and else within a tenth of a second. Who reads slowly skips states in between, and always gets the
last one.

JSON:
  sequence, branch, commit                where it is now
  sequence, old, new, changes             a move
  status, path, old, new                  one of its changes: old and new are null or mode, id

Examples:
  irmin watch
  irmin watch main greeting --json
  irmin watch --count 1                     wait for one change"
)]
pub struct Watch {
    /// The branch [default: the current one]
    pub branch: Option<String>,
    /// Only changes at or below this path
    pub path: Option<OsString>,
    /// Begin after what an earlier watch has told, not with what the branch is now
    #[arg(long, value_name = "SEQUENCE:ID")]
    pub after: Option<After>,
    /// End after so many changes
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
}

/// Up to where a watch has told.
#[derive(Debug, Clone, Copy)]
pub struct After(pub Position);

impl FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<After, Self::Err> {
        let read = || {
            let (sequence, id) = text.split_once(':')?;
            let head = match id {
                "-" => None,
                id => Some(id.parse().ok()?),
            };
            let sequence = sequence.parse().ok()?;
            Some(After(Position { sequence, head }))
        };
        read().ok_or("write it as SEQUENCE:ID with a full id, or SEQUENCE:- for no commit")
    }
}

const DOT: &str = "JSON:
  commit, parents, names, subject

Examples:
  irmin dot | dot -Tsvg > history.svg
  irmin dot main topic -n 100";

const SVG: &str = "JSON:
  svg                                     the whole image

Examples:
  irmin svg > history.svg                   drawn by irmin itself, for light and dark pages
  irmin svg main topic -n 100 > history.svg";

/// `irmin dot`, `irmin svg`.
#[derive(Debug, Args)]
pub struct Graph {
    /// Where to begin [default: all branches and tags]
    pub names: Vec<String>,
    /// Show no more than so many commits
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub limit: Option<usize>,
}

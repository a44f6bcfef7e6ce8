//! Arguments of the commands that look after a store as a whole.

use std::path::PathBuf;

use clap::Args;

use super::StoreFormat;

/// `irmin gc`.
#[derive(Debug, Args)]
#[command(
    after_help = "In a Git repository everything goes into one pack, and what no name leads to stays for two weeks,
as with git gc; Git and other programs may be at work beside it. In a native store old versions are
compressed, and what no name leads to is gone.

JSON:
  packed, dropped                         how many objects
  kept, packs, commits                    Git: objects kept for now, packs gone, commits indexed
  segments, moved                         native: segments gone, bytes moved for that

Examples:
  irmin gc
  irmin gc --json"
)]
pub struct Gc {}

/// `irmin fsck`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints one finding a line, and exits with 1 if there is any: bytes that are not what an id says,
objects that mean nothing or would do harm where they are checked out, and objects that a name
leads to and that are missing. What no name leads to may be incomplete, as in Git.

JSON:
  finding, id, what                       id is null where it is no object

Examples:
  irmin fsck
  irmin fsck --repair                       save what can be read of a damaged native store"
)]
pub struct Fsck {
    /// Move what can be read out of damaged segments; what cannot be read is gone then
    #[arg(long)]
    pub repair: bool,
}

/// `irmin export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is a bundle as `git bundle` makes it: git verifies, clones and fetches from it. A name with
^ before it is what the receiver has already; only what is new since then goes into the file.
Bundles of native stores are for irmin only.

JSON:
  objects, bytes, names                   how many went into the file

Examples:
  irmin export notes.bundle                 all branches and tags
  irmin export week.bundle main '^main~20'
  git clone notes.bundle"
)]
pub struct Export {
    /// The file, which is written anew; a pipe or device such as /dev/stdout is written to
    pub file: PathBuf,
    /// Branches and tags [default: all]
    pub names: Vec<String>,
}

/// `irmin import`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints a line for each name that was made or moved, as `irmin fetch` does. A name that would lose
commits stays, and the exit code is 1, unless there is --force. All names move, or none.

JSON:
  name, status, old, new, why             why is null unless it stays

Examples:
  irmin import notes.bundle
  git bundle create - --all | irmin import /dev/stdin"
)]
pub struct Import {
    /// The bundle
    pub file: PathBuf,
    /// Move names also if they lose commits
    #[arg(long)]
    pub force: bool,
}

/// `irmin convert`.
#[derive(Debug, Args)]
#[command(
    after_help = "All that names lead to is converted: commits with their signatures and unknown headers, tags, modes,
links and modules. Converted back, a Git repository has the same ids again, bit for bit. What a
native store has no place for is kept in headers of its commits, for that way back: modes of old
programs such as 100664, directories without entries, and the parents at which a shallow history is
cut off; in the native store it begins there. Refused are, with the object's id, trees that are not
in Git's order, directories more than 2048 deep, and what is odd where no commit leads to it. Names
that stand for others (refs/remotes/origin/HEAD) are left out.

FROM is only read. Names appear last and all at once, so that who looks sees nothing or all. On an
error, and when a signal ends it, the new store is removed. One that was killed leaves a folder
which the next run names; it does not go on where that ended.

JSON:
  commits, names                          how many were converted

Examples:
  irmin convert notes.git notes             Git to native
  irmin convert notes back.git --bare       native to Git (SHA-1)
  irmin convert notes new.git --bare --format git-sha256"
)]
pub struct Convert {
    /// The store that is there, which is only read
    pub from: PathBuf,
    /// The folder of the new store
    pub to: PathBuf,
    /// Its kind [default: native for a Git repository, git-sha1 for a native store]
    #[arg(long, value_enum)]
    pub format: Option<StoreFormat>,
    /// Make the folder itself the store
    #[arg(long)]
    pub bare: bool,
}

//! Arguments of the commands that look after a store as a whole.

use clap::Args;

/// `irmin gc`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  irmin gc
  irmin gc --json")]
pub struct Gc {}

/// `irmin fsck`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints one finding a line, and exits with 1 if there is any: bytes that are not what an id says,
objects that mean nothing or would do harm where they are checked out, and objects that a name
leads to and that are missing. What no name leads to may be incomplete, as in Git.

Examples:
  irmin fsck
  irmin fsck --repair                       save what can be read of a damaged native store"
)]
pub struct Fsck {
    /// Move what can be read out of damaged segments; what cannot be read is gone then
    #[arg(long)]
    pub repair: bool,
}

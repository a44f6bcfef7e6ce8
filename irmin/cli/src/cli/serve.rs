//! Arguments of the commands that answer others.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `irmin serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the address as soon as it answers, and ends at SIGINT or SIGTERM with 0, after requests
under way are done. Git finds the repository at URL/NAME.git (clone, fetch, push), programs find the
JSON interface at URL/api/v1; the book's page on sync tells of it.

Where a Git repository has hooks, or settings of pushes, git's own receive-pack takes pushes, so that
they hold.

Without tokens everybody who reaches the port may do everything, so that an address of another
interface than the loopback one needs --tokens or --open-to-all. Tokens go over the network as they
are unless there is TLS.

JSON:
  url, git, api                           where it answers

Examples:
  irmin serve
  irmin serve --listen 127.0.0.1:0 --read-only
  irmin token tokens --read main --write 'ada/*'
  irmin serve --listen 0.0.0.0:8443 --tokens tokens --tls-cert cert.pem --tls-key key.pem"
)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// What the repository is called in URLs [default: the name of its folder]
    #[arg(long)]
    pub name: Option<String>,
    /// Who may do what: a file that `irmin token` makes
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Let everybody who reaches the address do everything
    #[arg(long, conflicts_with = "tokens")]
    pub open_to_all: bool,
    /// Change nothing for anybody
    #[arg(long)]
    pub read_only: bool,
    /// Take only pushes that move branches forwards
    #[arg(long)]
    pub only_forwards: bool,
    /// The certificate, in PEM, with those between it and its root behind it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Let web pages of this origin, such as `https://app.example.org`, use the JSON interface; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Answer to this host name too, for a proxy in front of a loopback address; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// `irmin token`.
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the new token, and adds it to the file, which is made if it is not there and which only its
owner may read. With Git the token is the password, under any user name. A PATTERN is a branch
(main), a beginning (ada/*), all names (*), or one of full names (refs/tags/*).

JSON:
  token

Examples:
  irmin token tokens --write '*'
  irmin token tokens --read main --read 'refs/tags/*' --write 'ada/*'"
)]
pub struct Token {
    /// The file that `irmin serve --tokens` is given
    pub file: PathBuf,
    /// Names that it may read; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub read: Vec<String>,
    /// Names that it may read and write; may be repeated
    #[arg(long, value_name = "PATTERN", required_unless_present = "read")]
    pub write: Vec<String>,
}

pub const UPLOAD_PACK: &str = "For the far side of an ssh connection: Git is told to run it there.

Examples:
  irmin upload-pack notes                   what the far side runs
  git clone --upload-pack 'irmin upload-pack' host:notes";

pub const RECEIVE_PACK: &str = "For the far side of an ssh connection: Git is told to run it there. A push to a Git repository is
taken by git's own receive-pack if git is installed, so that its hooks run and its settings
receive.* hold; if it is not, a repository with any of these is not pushed to.

Examples:
  irmin receive-pack notes                  what the far side runs
  git push --receive-pack 'irmin receive-pack' host:notes main";

/// `irmin upload-pack`, `irmin receive-pack`.
#[derive(Debug, Args)]
pub struct Pipe {
    /// The repository, or the folder that holds it
    pub folder: PathBuf,
}

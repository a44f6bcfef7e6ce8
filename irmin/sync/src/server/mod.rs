//! The server's side: `upload-pack`, which answers clone and fetch, and `receive-pack`, which takes
//! pushes.
//!
//! Both are functions over bytes: what a client says is read, what it is answered is written, and
//! nothing else is opened or waited for. So the same code answers over HTTP (each request on its
//! own, [`Session::Stateless`]) and over the standard streams of ssh or between two stores in one
//! process ([`Session::Stateful`]).
//!
//! **What a client is told and given.** Names that the [`Gate`] does not let it read are not
//! advertised. It may want what a readable name points to, and commits in the histories of
//! readable names; nothing else, whether it is in the store or not. What it says that it has counts
//! only if it may read it.
//!
//! **What a push can do.** Objects are taken in first. A name moves only after every object that
//! came was checked, all that the new commit leads to is here, the name may be written, and it still
//! points to where the client believes; otherwise the report says which of it failed. What came with
//! a refused push stays unreferenced, until it is collected.

mod advertise;
mod fetch;
mod hidden;
mod history;
mod negotiate;
mod pass_on;
mod receive;
mod send;
mod shallow;
mod upload;

use std::io::{self, Read, Write};

use irmin::{BackendError, Format, HistoryError, Id, ReadError, RefName, Repo};
use irmin_packfile::{PackError, PackStore};

pub use advertise::advertise;
pub use hidden::Veil;
pub use pass_on::{decline, pass_on};
pub use receive::receive_pack;
pub use upload::upload_pack;

use crate::capabilities::format_name;
use crate::pktline::{PacketError, Writer};
use crate::walk::WalkError;

/// What is served, to whom.
pub struct Host<'a> {
    /// The store, as names and histories are asked for and moved.
    pub repo: &'a Repo,
    /// The same store, as packs go in and out.
    pub store: &'a dyn PackStore,
    /// Which names the client may read and write.
    pub gate: &'a dyn Gate,
    /// How pushes are judged.
    pub policy: Policy,
}

/// Which names a client may read and write.
pub trait Gate {
    /// Whether it may read all names, and so all objects.
    fn reads_all(&self) -> bool;
    /// Whether it may read this name.
    fn may_read(&self, name: &RefName) -> bool;
    /// Whether it may move, make and delete this name.
    fn may_write(&self, name: &RefName) -> bool;
}

/// The gate that lets everybody do everything.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Gate for Open {
    fn reads_all(&self) -> bool {
        true
    }

    fn may_read(&self, _: &RefName) -> bool {
        true
    }

    fn may_write(&self, _: &RefName) -> bool {
        true
    }
}

/// How pushes are judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Whether the store has a work tree. Then a push to the branch that is checked out there is
    /// refused (Git's `receive.denyCurrentBranch`): the files would not follow.
    pub has_work_tree: bool,
    /// Whether branches only go forwards (Git's `receive.denyNonFastForwards`).
    pub only_forwards: bool,
}

/// Which service a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// `git-upload-pack` or `git-receive-pack`.
    pub fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }

    /// The service of this name.
    pub fn from_name(name: &str) -> Option<Service> {
        [Service::UploadPack, Service::ReceivePack]
            .into_iter()
            .find(|service| service.name() == name)
    }
}

/// The protocol's version, as the client asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The first, which says nothing of versions.
    #[default]
    V0,
    /// The first, which says so.
    V1,
    /// The second.
    V2,
}

impl Version {
    /// Reads what a client puts into `GIT_PROTOCOL` or the header `Git-Protocol`: keys with colons
    /// between them, of which the greatest `version` counts.
    pub fn from_text(text: &str) -> Version {
        let versions = text
            .split(':')
            .filter_map(|key| match key.strip_prefix("version=") {
                Some("1") => Some(Version::V1),
                Some("2") => Some(Version::V2),
                _ => None,
            });
        versions
            .max_by_key(|version| *version as u8)
            .unwrap_or_default()
    }
}

/// Whether a client's requests come one by one or in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Each request stands for itself (HTTP).
    Stateless,
    /// One conversation, which begins with the advertisement (standard streams, ssh).
    Stateful,
}

/// The most lines of one request.
const LINES_MAX: usize = 1_000_000;
/// The most bytes of all its lines: as many long ids as lines, and room for words.
const BYTES_MAX: u64 = 128 << 20;

/// A conversation that came to no good end. The client was told, where it could be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The client says what the protocol does not know or this server does not do.
    #[error("{what}")]
    Request {
        /// What.
        what: String,
    },
    /// The client is gone.
    #[error("the connection to the client broke: {0}")]
    Io(#[from] io::Error),
    /// The client went away before it was done.
    #[error("the client ended the conversation before it was done")]
    Ended,
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// What went wrong while a pack was sent, of which the client was told in its own way.
    #[error(transparent)]
    Told(Box<ServerError>),
    /// What is to be sent could not be found.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A pack could not be written or taken in.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl From<BackendError> for ServerError {
    fn from(error: BackendError) -> ServerError {
        ServerError::Read(error.into())
    }
}

impl From<PacketError> for ServerError {
    fn from(error: PacketError) -> ServerError {
        match error {
            PacketError::Io(error) => ServerError::Io(error),
            PacketError::Ended | PacketError::Cut => ServerError::Ended,
            error => ServerError::Request {
                what: error.to_string(),
            },
        }
    }
}

/// A whole conversation with one client, as over ssh: tells it the names ([`advertise`]), and answers
/// what it then asks for, which may be nothing. Waits for what it says.
///
/// # Errors
/// [`ServerError`]. The client was told, if it is still there.
pub fn converse(
    host: &Host<'_>,
    service: Service,
    version: Version,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let told = advertise(host, service, version, out);
    let answered = told.and_then(|()| match service {
        Service::UploadPack => upload_pack(host, version, Session::Stateful, input, out),
        Service::ReceivePack => receive_pack(host, input, out),
    });
    // Also what the client is told of an error.
    let flushed = out.flush();
    answered?;
    Ok(flushed?)
}

fn refused<T>(what: impl Into<String>) -> Result<T, ServerError> {
    Err(ServerError::Request { what: what.into() })
}

impl Host<'_> {
    fn format(&self) -> Format {
        self.repo.format()
    }

    /// The names that the client may read, by name.
    fn names(&self) -> Result<Vec<(RefName, Id)>, ServerError> {
        let mut names = self.repo.backend().heads("refs/")?;
        if !self.gate.reads_all() {
            names.retain(|(name, _)| self.gate.may_read(name));
        }
        Ok(names)
    }

    /// What `HEAD` stands for: the branch, unless it is detached, and the commit. Nothing where that is
    /// not for this client.
    fn head(&self) -> Result<Head, ServerError> {
        let backend = self.repo.backend();
        let branch = backend.default_branch()?;
        let at_branch = backend.head(&branch)?;
        let itself = backend.head(&RefName::new("HEAD").expect("a good name"))?;
        let id = itself.or(at_branch);
        let is_detached = itself.is_some() && itself != at_branch;
        let may_read = match is_detached {
            true => self.gate.reads_all(),
            false => self.gate.may_read(&branch),
        };
        Ok(match may_read {
            false => Head {
                branch: None,
                id: None,
            },
            true => Head {
                branch: (!is_detached).then_some(branch),
                id,
            },
        })
    }
}

/// See [`Host::head`].
struct Head {
    branch: Option<RefName>,
    id: Option<Id>,
}

/// How a client takes a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bands {
    /// Its bytes and nothing else.
    None,
    /// In packets of at most 1000 bytes, with progress and errors between them.
    Small,
    /// The same in packets of at most 65,520 bytes.
    Large,
}

impl Bands {
    /// What a client with these capabilities can do.
    fn of(options: &[String]) -> Bands {
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        match (has("side-band-64k"), has("side-band")) {
            (true, _) => Bands::Large,
            (_, true) => Bands::Small,
            _ => Bands::None,
        }
    }
}

/// Where answers go.
type Out<'a> = Writer<&'a mut dyn Write>;

/// Tells the client of an error, if it is still there, in the way that every version knows.
fn tell(result: Result<(), ServerError>, out: &mut Out<'_>) -> Result<(), ServerError> {
    match &result {
        Ok(()) | Err(ServerError::Told(_)) => {}
        Err(error) => {
            // It is what the caller is told that counts.
            let _ = out.error(&error.to_string()).and_then(|()| out.flush());
        }
    }
    result
}

/// Reads an id that stands in a line.
fn id(host: &Host<'_>, text: &str) -> Result<Id, ServerError> {
    match text.parse::<Id>() {
        Ok(id) if id.as_bytes().len() == host.format().id_len() => Ok(id),
        _ => refused(format!(
            "{text:?} is no object id of this store's format, {}",
            format_name(host.format())
        )),
    }
}

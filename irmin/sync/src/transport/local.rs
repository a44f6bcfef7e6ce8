//! A store of this process: the server's side runs in a thread of its own.

use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use irmin::{BackendError, Repo};
use irmin_git::Git;
use irmin_pack::{Files, Pack};
use irmin_packfile::PackStore;

use super::pushes::hides_names;
use super::stream::Peer;
use super::{Connection, Program, Service, Settings, Stream, Taker, Transport};
use crate::error::SyncError;
use crate::server::{self, Host, Open, Policy, Version};

/// A store that this process has open, or opens for each conversation.
pub struct Local {
    shown: String,
    store: Store,
    policy: Policy,
    /// Who takes pushes, with the way to git's own server.
    pushes: (Taker, Option<Program>),
    /// Whether git's own server is asked for the names too, as some may be hidden.
    hides: bool,
}

enum Store {
    Open(Arc<dyn PackStore>),
    /// A native store in this folder. Who writes to it has it alone, and who fetches reads beside.
    Native(PathBuf),
}

impl Store {
    fn open(&self, service: Service) -> Result<Arc<dyn PackStore>, BackendError> {
        Ok(match (self, service) {
            (Store::Open(store), _) => store.clone(),
            (Store::Native(folder), Service::UploadPack) => {
                Arc::new(Pack::open_read(Files::open_read(folder)?)?)
            }
            (Store::Native(folder), Service::ReceivePack) => {
                Arc::new(Pack::open(Files::open(folder)?)?)
            }
        })
    }
}

impl Local {
    /// This store. `shown` is how messages call it.
    pub fn new(shown: &str, store: Arc<dyn PackStore>, policy: Policy) -> Local {
        Local {
            shown: shown.into(),
            store: Store::Open(store),
            policy,
            pushes: (Taker::Ours, None),
            hides: false,
        }
    }

    /// The store in this folder: a Git repository, its work tree, or a store of `irmin-pack`. `None` if
    /// it is none that can be opened here. Who takes pushes to a Git repository says [`Taker`].
    pub fn open(path: &Path, settings: &Settings) -> Option<Local> {
        let shown = path.display().to_string();
        // It is read once, mostly in the order in which it lies.
        let options = irmin_git::Options {
            cache: 4 << 20,
            ..irmin_git::Options::default()
        };
        if let Ok(git) = Git::open_with(path, &options) {
            let has_work_tree = git.path().file_name().is_some_and(|name| name == ".git");
            let policy = Policy {
                has_work_tree,
                ..Policy::default()
            };
            let pushes = (Taker::of(git.path()), Some(Program::git(path, settings)));
            let hides = hides_names(git.path());
            let local = Local::new(&shown, Arc::new(git), policy);
            return Some(Local {
                pushes,
                hides,
                ..local
            });
        }
        let is_segment = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".seg");
        let mut entries = std::fs::read_dir(path).ok()?;
        if !entries.any(|entry| entry.is_ok_and(|entry| is_segment(&entry.file_name()))) {
            return None;
        }
        Some(Local {
            shown,
            store: Store::Native(path.into()),
            policy: Policy::default(),
            pushes: (Taker::Ours, None),
            hides: false,
        })
    }
}

impl Transport for Local {
    fn url(&self) -> String {
        self.shown.clone()
    }

    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError> {
        match (service, self.hides, &mut self.pushes) {
            (Service::UploadPack, true, (_, Some(program)))
            | (Service::ReceivePack, _, (Taker::Git, Some(program))) => {
                return program.connect(service, version);
            }
            (Service::ReceivePack, _, (Taker::Nobody(why), _)) => {
                return Err(SyncError::Connect(why.clone()));
            }
            _ => {}
        }
        let failed = |error| SyncError::Connect(format!("{}: {error}", self.shown));
        let (their_input, write) = io::pipe().map_err(failed)?;
        let (read, their_output) = io::pipe().map_err(failed)?;
        let opened = self.store.open(service);
        let store =
            opened.map_err(|error| SyncError::Connect(format!("{}: {error}", self.shown)))?;
        let policy = self.policy;
        let version = Version::from_text(&format!("version={version}"));
        let thread = std::thread::Builder::new()
            .name(service.name().into())
            .spawn(move || {
                let host = Host {
                    repo: &Repo::new(store.clone()),
                    store: &*store,
                    gate: &Open,
                    policy,
                };
                let mut input = BufReader::new(their_input);
                let mut output = BufWriter::with_capacity(1 << 16, their_output);
                // The client is told of errors; whether it hears them is its own affair.
                let _ = server::converse(&host, service, version, &mut input, &mut output);
            })
            .map_err(failed)?;
        let thread = Thread(Some(thread));
        Ok(Box::new(Stream::new(read, write).holding(thread)))
    }
}

struct Thread(Option<JoinHandle<()>>);

impl Peer for Thread {
    fn last_words(&mut self) -> Option<String> {
        None
    }

    fn wait(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Its pipes are closed by now, so that it ends.
        self.wait();
    }
}

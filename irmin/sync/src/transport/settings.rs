//! How servers are reached.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::command::Ssh;
use super::pushes::is_installed;
use super::{Connection, Daemon, Http, Local, Program, Service, Transport, Url};
use crate::error::SyncError;

/// Who we are, for a server that asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password, or a token in its place.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token alone (`Authorization: Bearer`).
    Bearer(String),
}

impl fmt::Debug for Credentials {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Basic { user, .. } => write!(f, "Basic({user})"),
            Credentials::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// Asked for credentials: gets the URL, without secrets, and the user that it names.
pub type AskCredentials = Arc<dyn Fn(&str, Option<&str>) -> Option<Credentials> + Send + Sync>;

/// What is called at the other end where the server is a program, if it is not Git's own: lines for the
/// shell there, behind which the path is put (`git-upload-pack` and `git-receive-pack` unless set).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// What answers clones and fetches (`remote.NAME.uploadpack`).
    pub upload_pack: Option<String>,
    /// What takes pushes (`remote.NAME.receivepack`).
    pub receive_pack: Option<String>,
}

impl Calls {
    pub(super) fn of(&self, service: Service) -> Option<&str> {
        match service {
            Service::UploadPack => self.upload_pack.as_deref(),
            Service::ReceivePack => self.receive_pack.as_deref(),
        }
    }

    /// These, and `irmin` where they say nothing.
    fn or_irmin(&self) -> Calls {
        let or = |call: &Option<String>, irmin: &str| call.clone().or(Some(irmin.into()));
        Calls {
            upload_pack: or(&self.upload_pack, "irmin upload-pack"),
            receive_pack: or(&self.receive_pack, "irmin receive-pack"),
        }
    }
}

/// How servers are reached. [`Settings::from_env`] does as Git does.
#[derive(Clone)]
pub struct Settings {
    /// How long a connection may take to be made; 30 s unless set.
    pub connect: Duration,
    /// How long a server may do nothing while we wait for it; 5 minutes unless set.
    pub idle: Duration,
    /// A shell's command line for ssh (`GIT_SSH_COMMAND`, `core.sshCommand`).
    pub ssh_command: Option<String>,
    /// A program for ssh, called without a shell (`GIT_SSH`); `ssh` if neither is set.
    pub ssh_program: Option<String>,
    /// What is called at the other end, over ssh and in a folder of this machine.
    pub calls: Calls,
    /// Certificates that servers are checked with instead of the machine's (`GIT_SSL_CAINFO`), in PEM.
    pub certificates: Option<PathBuf>,
    /// Told to an HTTP server from the first request on. Goes only to the host of the URL.
    pub credentials: Option<Credentials>,
    /// Asked when an HTTP server wants to know who we are.
    pub ask: Option<AskCredentials>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            ssh_command: None,
            ssh_program: None,
            calls: Calls::default(),
            certificates: None,
            credentials: None,
            ask: None,
        }
    }
}

impl Settings {
    /// The default with what Git's environment variables say.
    pub fn from_env() -> Settings {
        let text = |name| env::var(name).ok().filter(|text| !text.is_empty());
        Settings {
            ssh_command: text("GIT_SSH_COMMAND"),
            ssh_program: text("GIT_SSH"),
            certificates: text("GIT_SSL_CAINFO").map(PathBuf::from),
            ..Settings::default()
        }
    }

    pub(super) fn ssh(&self) -> Ssh {
        match (&self.ssh_command, &self.ssh_program) {
            (Some(line), _) => Ssh::Line(line.clone()),
            (None, Some(program)) => Ssh::Program(program.into()),
            (None, None) => Ssh::Program("ssh".into()),
        }
    }
}

/// The way to the store at a URL. Nothing is connected yet, but a folder of this machine is opened.
///
/// A path is opened by this process where that is possible; pushes to a Git repository there go to
/// whom [`Taker`](super::Taker) says. `file://` asks git's own server for a Git
/// repository, as Git does, if git is installed; and so does what cannot be opened here. Over ssh, and in
/// a folder, [`Calls`] go before all that.
///
/// # Errors
/// [`SyncError::Invalid`] for what is no URL, [`SyncError::Connect`] for a folder that is not there.
pub fn connect(url: &str, settings: &Settings) -> Result<Box<dyn Transport>, SyncError> {
    Ok(match url.parse::<Url>()? {
        Url::Http { base, user } => Box::new(Http::new(base, user, settings)?),
        Url::Ssh {
            host,
            port,
            path,
            by_irmin,
        } => {
            let mut settings = settings.clone();
            if by_irmin {
                settings.calls = settings.calls.or_irmin();
            }
            Box::new(Program::ssh(&host, port, &path, &settings)?)
        }
        Url::Git { host, port, path } => Box::new(Daemon::new(&host, port, &path, settings)),
        Url::Path(path) => called(path, false, settings)?,
        Url::File(path) => called(path, true, settings)?,
    })
}

/// The way to a folder of this machine, by the programs that the settings call, if they do.
fn called(
    path: PathBuf,
    by_git: bool,
    settings: &Settings,
) -> Result<Box<dyn Transport>, SyncError> {
    if settings.calls == Calls::default() || !path.exists() {
        return folder(path, by_git, settings);
    }
    Ok(Box::new(Called {
        program: Program::git(&path, settings),
        path,
        by_git,
        settings: settings.clone(),
        usual: None,
    }))
}

/// A way by a program for services that are called by one, and the usual way for the others, which is
/// opened when it is used: it may lock the store.
struct Called {
    program: Program,
    path: PathBuf,
    by_git: bool,
    settings: Settings,
    usual: Option<Box<dyn Transport>>,
}

impl Transport for Called {
    fn url(&self) -> String {
        self.program.url()
    }

    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError> {
        if self.settings.calls.of(service).is_some() {
            return self.program.connect(service, version);
        }
        let usual = folder(self.path.clone(), self.by_git, &self.settings)?;
        self.usual.insert(usual).connect(service, version)
    }
}

fn folder(
    path: PathBuf,
    by_git: bool,
    settings: &Settings,
) -> Result<Box<dyn Transport>, SyncError> {
    if !path.exists() {
        let shown = path.display();
        return Err(SyncError::Connect(format!("there is nothing at {shown}")));
    }
    if by_git && is_installed("git") && irmin_git::Git::open(&path).is_ok() {
        return Ok(Box::new(Program::git(path, settings)));
    }
    Ok(match Local::open(&path, settings) {
        Some(local) => Box::new(local),
        None => Box::new(Program::git(path, settings)),
    })
}

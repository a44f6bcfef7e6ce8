//! Servers that are programs: git's own on this machine, and over ssh.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::stream::{Peer, Stream};
use super::timed::Timed;
use super::{Calls, Connection, Service, Settings, Transport};
use crate::error::SyncError;
use crate::text::clean;

/// A server that is a program: its input and output are the conversation, as over ssh.
pub struct Program {
    shown: String,
    kind: Kind,
    /// What calls the services there, for a shell, where it is not git's own.
    calls: Calls,
    limit: Duration,
}

enum Kind {
    /// `git upload-pack PATH`, or `sh -c "UPLOAD-PACK 'PATH'"`.
    Git { path: OsString },
    /// `ssh [-p PORT] HOST "git-upload-pack 'PATH'"`.
    Ssh {
        ssh: Ssh,
        host: String,
        port: Option<u16>,
        path: String,
    },
}

/// How ssh is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ssh {
    /// A line for the shell (`GIT_SSH_COMMAND`).
    Line(String),
    /// A program (`GIT_SSH`, or `ssh`).
    Program(OsString),
}

/// What tells git of a repository (`git rev-parse --local-env-vars`).
const OURS: [&str; 17] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_QUARANTINE_PATH",
];

/// Git, for another repository than the one that the environment tells of.
pub fn git_elsewhere() -> Command {
    let mut git = Command::new("git");
    forget_ours(&mut git);
    git
}

/// What is said of our own repository is not meant for another one, as in Git.
fn forget_ours(command: &mut Command) {
    for name in OURS {
        command.env_remove(name);
    }
}

impl Program {
    /// Git's own server on a repository of this machine, or what the settings call instead.
    pub fn git(path: impl Into<OsString>, settings: &Settings) -> Program {
        let mut path: OsString = path.into();
        if path.as_encoded_bytes().starts_with(b"-") {
            // No program takes that for an option.
            path = Path::new(".").join(path).into();
        }
        Program {
            shown: path.to_string_lossy().into_owned(),
            kind: Kind::Git { path },
            calls: settings.calls.clone(),
            limit: settings.idle,
        }
    }

    /// A server on another machine, over ssh. `host` may have `user@` before it.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] for a host or path that begins with `-`: ssh or git there would take it for
    /// an option.
    pub fn ssh(
        host: &str,
        port: Option<u16>,
        path: &str,
        settings: &Settings,
    ) -> Result<Program, SyncError> {
        let bare = host.rsplit_once('@').map_or(host, |(_, bare)| bare);
        for (what, text) in [("host", host), ("host", bare), ("path", path)] {
            if text.starts_with('-') || text.is_empty() || text.contains('\0') {
                return Err(SyncError::Invalid(format!(
                    "{text:?} is no {what} that is given to ssh: it is empty or begins with -"
                )));
            }
        }
        let shown = match port {
            Some(port) => format!("ssh://{host}:{port}/{}", path.trim_start_matches('/')),
            None => format!("{host}:{path}"),
        };
        Ok(Program {
            shown,
            kind: Kind::Ssh {
                ssh: settings.ssh(),
                host: host.into(),
                port,
                path: path.into(),
            },
            calls: settings.calls.clone(),
            limit: settings.idle,
        })
    }

    fn command(&self, service: Service, version: u8) -> Command {
        let mut command = match &self.kind {
            Kind::Git { path } => {
                let mut command;
                match self.calls.of(service) {
                    Some(call) => {
                        command = Command::new("sh");
                        forget_ours(&mut command);
                        command.arg("-c").arg(format!("{call} \"$@\"")).arg(call);
                    }
                    None => {
                        command = git_elsewhere();
                        let name = service.name().trim_start_matches("git-");
                        command.args([name, "--"]);
                    }
                }
                command.arg(path);
                command
            }
            Kind::Ssh {
                ssh,
                host,
                port,
                path,
            } => {
                let (mut command, is_openssh) = match ssh {
                    // The shell puts what follows behind the line, as Git does.
                    Ssh::Line(line) => {
                        let mut command = Command::new("sh");
                        command.arg("-c").arg(format!("{line} \"$@\"")).arg(line);
                        let program = line.split_whitespace().next().unwrap_or_default();
                        (command, is_openssh(program))
                    }
                    Ssh::Program(program) => (
                        Command::new(program),
                        is_openssh(&program.to_string_lossy()),
                    ),
                };
                if is_openssh && version > 0 {
                    command.args(["-o", "SendEnv=GIT_PROTOCOL"]);
                }
                if let Some(port) = port {
                    command.arg("-p").arg(port.to_string());
                }
                command.arg(host);
                let call = self.calls.of(service).unwrap_or(service.name());
                command.arg(format!("{call} {}", quoted(path)));
                command
            }
        };
        if version > 0 {
            command.env("GIT_PROTOCOL", format!("version={version}"));
        } else {
            command.env_remove("GIT_PROTOCOL");
        }
        command
    }
}

fn is_openssh(program: &str) -> bool {
    program.rsplit('/').next() == Some("ssh")
}

/// The path as one word of a shell, as Git quotes it.
fn quoted(path: &str) -> String {
    let mut quoted = String::from("'");
    for c in path.chars() {
        match c {
            '\'' | '!' => {
                quoted.push_str("'\\");
                quoted.push(c);
                quoted.push('\'');
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

impl Transport for Program {
    fn url(&self) -> String {
        self.shown.clone()
    }

    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError> {
        let mut command = self.command(service, version);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| SyncError::Connect(format!("{program} does not start: {error}")))?;
        let limit = self.limit;
        let write = Timed {
            pipe: child.stdin.take().expect("it is a pipe"),
            limit,
        };
        let read = Timed {
            pipe: child.stdout.take().expect("it is a pipe"),
            limit,
        };
        let complaints = Complaints::collect(child.stderr.take().expect("it is a pipe"));
        Ok(Box::new(Stream::new(read, write).holding(Running {
            program,
            child,
            complaints,
        })))
    }
}

/// What a program says on its error stream, the last of it.
struct Complaints {
    last: Arc<Mutex<Vec<u8>>>,
    /// Ends when nobody can say anything any more.
    open: Receiver<()>,
}

const LAST_WORDS: usize = 2000;
/// How long the last words of a program that has ended are waited for: what it started may live on, and
/// hold its error stream.
const PATIENCE: Duration = Duration::from_millis(500);

impl Complaints {
    fn collect(mut from: ChildStderr) -> Complaints {
        let last = Arc::new(Mutex::new(Vec::new()));
        let into = last.clone();
        let (end, open) = channel::<()>();
        std::thread::spawn(move || {
            let _end = end;
            let mut part = [0; 512];
            while let Ok(length @ 1..) = from.read(&mut part) {
                let mut last = into.lock().expect("nobody panics with it");
                last.extend_from_slice(&part[..length]);
                let surplus = last.len().saturating_sub(LAST_WORDS);
                last.drain(..surplus);
            }
        });
        Complaints { last, open }
    }
}

/// A program that answers.
struct Running {
    program: String,
    child: Child,
    complaints: Complaints,
}

impl Peer for Running {
    fn last_words(&mut self) -> Option<String> {
        let _ = self.child.kill();
        let status = self.child.wait().ok()?;
        let _ = self.complaints.open.recv_timeout(PATIENCE);
        let last = self.complaints.last.lock().expect("nobody panics with it");
        let said = clean(&last, LAST_WORDS);
        Some(if said.trim().is_empty() {
            format!("{} ends without a word ({status})", self.program)
        } else {
            format!("{} says: {}", self.program, said.trim())
        })
    }

    fn wait(&mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it was not waited for, the conversation was broken off.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths_that_would_be_options_are_refused() {
        let settings = Settings::default();
        for (host, path) in [
            ("-oProxyCommand=x", "p"),
            ("u@-oProxyCommand=x", "p"),
            ("h", "-x"),
            ("", "p"),
            ("h", ""),
        ] {
            assert!(
                Program::ssh(host, None, path, &settings).is_err(),
                "{host} {path}"
            );
        }
        assert_eq!(quoted("a'b!c d"), "'a'\\''b'\\!'c d'");
    }
}

//! What went wrong, what to do about it, and the exit code that says so.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};

use irmin::merge::MergeError;
use irmin::{
    BackendError, CommitError, HistoryError, Id, PathError, ReadError, RefNameError, RevisionError,
    UpdateError, WriteError,
};
use irmin_sync::SyncError;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, Report};

use crate::output::harmless;

/// What a command gives.
pub type Result<T> = std::result::Result<T, Failure>;

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Failure {
    /// The answer is no: something is not there, is of another kind or stands in the way.
    #[error("{what}")]
    No {
        /// What, and where it was looked for.
        what: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
    /// A command line that is wrong whatever the repository holds.
    #[error("{what}")]
    Usage {
        /// Which.
        what: String,
        /// What to type instead.
        #[help]
        help: Option<String>,
    },
    /// What was asked could not be found out or done.
    #[error("{what}")]
    Broken {
        /// What happened, to what.
        what: String,
        /// What to do.
        #[help]
        help: Option<String>,
    },
    /// Nobody reads what is written.
    #[error("nobody reads the output")]
    Closed,
}

impl Failure {
    /// The answer is no.
    pub fn no(what: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure::No {
            what: what.into(),
            help: Some(help.into()),
        }
    }

    /// A command line that is wrong whatever the repository holds.
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure::Usage {
            what: what.into(),
            help: Some(help.into()),
        }
    }

    /// What was asked could not be found out or done. The store's own errors say what to do.
    pub fn broken(what: impl ToString) -> Failure {
        Failure::Broken {
            what: what.to_string(),
            help: None,
        }
    }

    /// The same, and what to do.
    pub fn broken_with(what: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure::Broken {
            what: what.into(),
            help: Some(help.into()),
        }
    }

    /// The same where a command gives another meaning to 1.
    pub fn no_answer(self) -> Failure {
        match self {
            Failure::No { what, help } => Failure::Broken { what, help },
            failure => failure,
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Closed => 0,
            Failure::No { .. } => 1,
            Failure::Usage { .. } => 2,
            Failure::Broken { .. } => 3,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::broken(format_args!("the output could not be written: {error}")),
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Failure {
        Failure::broken(error)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Failure {
        Failure::Usage {
            what: error.to_string(),
            help: None,
        }
    }
}

impl From<RefNameError> for Failure {
    fn from(error: RefNameError) -> Failure {
        Failure::Usage {
            what: error.to_string(),
            help: None,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::Path(error) => error.into(),
            error => Failure::broken(error),
        }
    }
}

impl From<RevisionError> for Failure {
    fn from(error: RevisionError) -> Failure {
        match error {
            RevisionError::NoCommitYet { name } => Failure::no(
                format!("{name} has no commit yet"),
                "make the first one with `irmin set PATH VALUE`",
            ),
            RevisionError::Unknown { name } => Failure::broken_with(
                format!("no branch, tag or commit is called {name}"),
                "`irmin branches` lists the branches",
            ),
            RevisionError::Ambiguous { name, ids } => {
                let ids: Vec<_> = ids.iter().map(Id::to_string).collect();
                Failure::broken_with(
                    format!("{name} may mean any of several objects"),
                    format!("give more digits of one:\n{}", ids.join("\n")),
                )
            }
            RevisionError::NoParent {
                name,
                commit,
                number,
            } => Failure::broken_with(
                format!("{name} means no commit: {commit} has no parent {number}"),
                "see what is before it with `irmin log`",
            ),
            RevisionError::NotCommit { name, kind } => Failure::broken_with(
                format!("{name} is a {kind}, and no commit"),
                "give a branch, a tag or a commit's id",
            ),
            RevisionError::Suffix { name } => Failure::usage(
                format!("{name} is no name of a commit"),
                "give a branch, a tag, HEAD or an id, with ~3, ^2 or ^{} behind it",
            ),
            RevisionError::Read(error) => error.into(),
            error => Failure::broken(error),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Failure {
        let what = error.to_string();
        match error {
            WriteError::Read(error) => error.into(),
            WriteError::NotFound { .. }
            | WriteError::FileInTheWay { .. }
            | WriteError::DirInTheWay { .. } => Failure::No { what, help: None },
            _ => Failure::broken(what),
        }
    }
}

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Failure {
        Failure::broken(error)
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        match error {
            CommitError::Write(error) => error.into(),
            error => Failure::broken(error),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Failure {
        Failure::broken(error)
    }
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Failure {
        match error {
            MergeError::Commit(error) => error.into(),
            error => Failure::broken(error),
        }
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Failure {
        let what = error.to_string();
        match error {
            SyncError::NoSuchName { .. } => Failure::No { what, help: None },
            SyncError::Unauthorized { .. } => Failure::broken_with(
                what,
                "set IRMIN_TOKEN to a token, or set up git credential for this server",
            ),
            SyncError::Format { .. } => {
                Failure::broken_with(what, "`irmin convert` makes a store of the other format")
            }
            SyncError::Connect(_) | SyncError::Remote { .. } => Failure::broken_with(
                what,
                "check the address, and that the repository is there and you may read it",
            ),
            _ => Failure::broken(what),
        }
    }
}

/// A text without its middle, if it is longer than anybody reads: a path may have a million bytes.
fn shortened(text: &str) -> Cow<'_, str> {
    const KEPT: usize = 400;
    if text.len() <= 3 * KEPT {
        return text.into();
    }
    let (front, back) = (text.floor_char_boundary(KEPT), text.len() - KEPT);
    let back = text.ceil_char_boundary(back);
    format!("{} … {}", &text[..front], &text[back..]).into()
}

/// Writes a failure to standard error: drawn on a terminal, plain lines elsewhere.
pub fn print(mut failure: Failure) {
    if let Failure::No { what, help }
    | Failure::Usage { what, help }
    | Failure::Broken { what, help } = &mut failure
    {
        *what = harmless(&shortened(what));
        *help = help.as_deref().map(harmless);
    }
    let terminal = io::stderr().is_terminal();
    let report = Report::new(failure);
    let mut text = String::new();
    if terminal {
        let theme = match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            true => GraphicalTheme::unicode_nocolor(),
            false => GraphicalTheme::unicode(),
        };
        let handler = GraphicalReportHandler::new_themed(theme);
        if handler.render_report(&mut text, report.as_ref()).is_err() {
            text.clear();
        }
    }
    if text.is_empty() {
        text = format!("error: {report}\n");
        if let Some(help) = report.help() {
            text += &format!("  help: {}\n", help.to_string().replace('\n', "\n        "));
        }
    }
    use io::Write as _;
    let _ = io::stderr().write_all(text.as_bytes());
}

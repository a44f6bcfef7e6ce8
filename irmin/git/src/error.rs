//! Errors of the file system, told as the store's.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use irmin::BackendError;

pub(crate) type Result<T, E = BackendError> = std::result::Result<T, E>;

/// What became of doing `what` to `path`.
pub(crate) fn io<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> BackendError + 'a {
    move |error| {
        let what = format!("{what} {}", path.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackendError::Full { what },
            _ => BackendError::Io {
                what,
                source: Arc::new(error),
            },
        }
    }
}

/// `path` holds something that it must not hold.
pub(crate) fn corrupt(path: &Path, wrong: impl Display) -> BackendError {
    BackendError::Corrupt {
        what: format!("{} ({wrong})", path.display()),
    }
}

/// Nothing is damaged, but this is not for us.
pub(crate) fn refused(what: impl Display) -> BackendError {
    BackendError::Refused {
        what: what.to_string(),
    }
}

/// Whether the error only says that there is no such file.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}

/// `None` where there is no such file.
pub(crate) fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

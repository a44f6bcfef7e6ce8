//! Answers, and what went wrong as JSON.

use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use irmin::merge::MergeError;
use irmin::{
    BackendError, CommitError, HistoryError, Id, MoveError, PathError, ReadError, RefNameError,
    RevisionError, UpdateError, WriteError,
};
use serde_json::{Value, json};

use crate::body::Body;

/// Why a request is not answered as it wishes: a status, what happened, and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    error: String,
    hint: String,
    /// Further members of the answer.
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem {
            status,
            error: error.into(),
            hint: hint.into(),
            more: Vec::new(),
        }
    }

    /// The request itself is wrong.
    pub(crate) fn wrong(error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, error, hint)
    }

    pub(crate) fn absent(error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, error, hint)
    }

    pub(crate) fn forbidden(error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, error, hint)
    }

    pub(crate) fn busy(error: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error,
            "try again in a moment",
        )
    }

    /// A branch that is elsewhere than the request expects.
    pub(crate) fn moved(name: &str, found: Option<Id>) -> Problem {
        let place = found.map_or("it is not there".into(), |id| format!("it is at {id}"));
        Problem::new(
            StatusCode::CONFLICT,
            format!("{name} is not where the request expects it: {place}"),
            "read it again, and repeat the change on what is there now",
        )
        .with("found", found.map(|id| id.to_string()).into())
    }

    pub(crate) fn with(mut self, key: &'static str, value: Value) -> Problem {
        self.more.push((key, value));
        self
    }

    /// What happened.
    pub(crate) fn text(&self) -> &str {
        &self.error
    }

    /// The JSON that tells of it.
    pub(crate) fn value(&self) -> Value {
        let mut value = json!({ "error": self.error, "hint": self.hint });
        for (key, more) in &self.more {
            value[*key] = more.clone();
        }
        value
    }

    pub(crate) fn answer(&self) -> Response<Body> {
        let mut answer = json(self.status, &self.value());
        let headers = answer.headers_mut();
        match self.status {
            // Git asks for a password only if it may be sent so.
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"irmin\", charset=\"UTF-8\""),
                );
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}

/// An answer of JSON. It is not to be kept: the next may be another.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut text = value.to_string();
    text.push('\n');
    with_type(status, "application/json", Body::Whole(text.into()))
}

/// An answer of this media type.
pub(crate) fn with_type(status: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Adds an object's id as the entity tag.
pub(crate) fn tagged(mut answer: Response<Body>, id: &Id) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{id}\"")) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

const TRY_LATER: &str = "try again; if it stays so, ask whoever runs the server";

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Problem {
        let (status, hint) = match &error {
            BackendError::Full { .. } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "make room where the store is",
            ),
            BackendError::Locked { .. } => (StatusCode::SERVICE_UNAVAILABLE, TRY_LATER),
            BackendError::Refused { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "the store cannot hold this",
            ),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, TRY_LATER),
        };
        Problem::new(status, error.to_string(), hint)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Backend(error) => error.into(),
            ReadError::Path(error) => error.into(),
            error => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
                TRY_LATER,
            ),
        }
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Problem {
        Problem::wrong(
            error.to_string(),
            "a path is names with single slashes between them, such as greeting/en",
        )
    }
}

impl From<RefNameError> for Problem {
    fn from(error: RefNameError) -> Problem {
        Problem::wrong(
            error.to_string(),
            "give a branch's short name, such as main",
        )
    }
}

impl From<RevisionError> for Problem {
    fn from(error: RevisionError) -> Problem {
        match error {
            RevisionError::Read(error) => error.into(),
            error => Problem::absent(error.to_string(), "GET /api/v1/branches lists the branches"),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Problem {
        match error {
            WriteError::Read(error) => error.into(),
            error => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                error.to_string(),
                "nothing was changed",
            ),
        }
    }
}

impl From<UpdateError> for Problem {
    fn from(error: UpdateError) -> Problem {
        match error {
            UpdateError::Moved { name, found } => Problem::moved(name.short(), found),
            UpdateError::Backend(error) => error.into(),
            error => Problem::new(
                StatusCode::CONFLICT,
                error.to_string(),
                "choose another name or commit",
            ),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Problem {
        match error {
            CommitError::Update(error) => error.into(),
            CommitError::Write(error) => error.into(),
            error => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
                TRY_LATER,
            ),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Problem {
        match error {
            HistoryError::Read(error) => error.into(),
            error => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                error.to_string(),
                "the store here does not hold enough of the history",
            ),
        }
    }
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Problem {
        match error {
            MoveError::Update(error) => error.into(),
            MoveError::Read(error) => error.into(),
            error => Problem::new(
                StatusCode::CONFLICT,
                error.to_string(),
                "merge the two first",
            ),
        }
    }
}

impl From<MergeError> for Problem {
    fn from(error: MergeError) -> Problem {
        match error {
            MergeError::History(error) => error.into(),
            MergeError::Commit(error) => error.into(),
            error => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                error.to_string(),
                "only commits that have a common ancestor can be merged",
            ),
        }
    }
}

//! The requests and their answers.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use irmin::{Commit, Event, Watch};
use mirage_http::{Done, Error, Exchange, Handler, Request, Status};
use mirage_kit::device::{Flow, Sleep};

use crate::request::{Conditions, decode, parameter, text};
use crate::store::{MOST, Refused, Store};

/// Who watches hears something at least so often, so that a connection that died is noticed.
const SILENCE: Duration = Duration::from_secs(15);

/// Answers requests from a store.
pub struct Api<S> {
    store: Rc<Store>,
    sleep: S,
}

/// An answer without a stream.
struct Answer {
    status: Status,
    fields: &'static [(&'static str, &'static str)],
    tag: Option<String>,
    commit: Option<String>,
    content: Bytes,
}

impl<S: Sleep> Api<S> {
    /// The API of this store.
    pub fn new(store: Rc<Store>, sleep: S) -> Api<S> {
        Api { store, sleep }
    }
}

impl<S: Sleep> Handler for Api<S> {
    async fn handle(
        &self,
        request: &Request<'_>,
        mut exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        let content = exchange.content().await?;
        let now = exchange.wall();
        let path = request.path();
        if path == "/watch" && request.method() == "GET" {
            let below = parameter(request.query(), "path").unwrap_or_default();
            return match self.store.watch(&below) {
                Ok(watch) => self.tell(watch, &below, exchange).await,
                Err(refused) => send(exchange, refused.into()).await,
            };
        }
        let answer = match path.strip_prefix("/keys/") {
            Some(key) => self.key(request, key, content.into(), now).await,
            None => self.page(request),
        };
        send(exchange, answer.unwrap_or_else(Answer::from)).await
    }
}

impl<S: Sleep> Api<S> {
    async fn key(
        &self,
        request: &Request<'_>,
        key: &str,
        content: Bytes,
        now: Option<Duration>,
    ) -> Result<Answer, Refused> {
        let path = decode(key).ok_or_else(|| Refused::Wrong("a % lacks its digits".into()))?;
        if path.iter().any(u8::is_ascii_control) {
            return Err(Refused::Wrong("a key holds no control characters".into()));
        }
        let conditions = Conditions::of(request);
        let changed = match request.method() {
            "GET" | "HEAD" => return self.get(request, &path, &conditions),
            "PUT" => self.store.put(&path, content, &conditions, now).await?,
            "DELETE" => self.store.delete(&path, &conditions, now).await?,
            _ => return Ok(not_allowed(&[("Allow", "GET, HEAD, PUT, DELETE")])),
        };
        let mut status = match changed.existed {
            true => Status::NO_CONTENT,
            false => Status::CREATED,
        };
        match parameter(request.query(), "async") {
            Some(_) => status = Status::ACCEPTED,
            None => self.store.durable().await?,
        }
        Ok(Answer {
            commit: Some(changed.id.to_string()),
            ..Answer::new(status, "")
        })
    }

    fn get(
        &self,
        request: &Request<'_>,
        path: &[u8],
        conditions: &Conditions<'_>,
    ) -> Result<Answer, Refused> {
        let at = text(request.query(), "at");
        let dir = match path {
            [] => Some(path),
            _ => path.strip_suffix(b"/"),
        };
        if let Some(dir) = dir {
            let names = self.store.list(dir, at.as_deref())?;
            return Ok(Answer::new(Status::OK, names.ok_or(Refused::Missing)?));
        }
        let value = self.store.get(path, at.as_deref())?;
        let value = value.ok_or(Refused::Missing)?;
        let tag = self.store.tag(&value)?;
        let status = match conditions.has(&tag) {
            true => Status::NOT_MODIFIED,
            false => Status::OK,
        };
        Ok(Answer {
            fields: &[("Content-Type", "application/octet-stream")],
            tag: Some(tag),
            ..Answer::new(status, value)
        })
    }

    fn page(&self, request: &Request<'_>) -> Result<Answer, Refused> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Ok(not_allowed(&[("Allow", "GET, HEAD")]));
        }
        let query = request.query();
        let text = match request.path() {
            "/" => format!("{}\n", self.store.figures()),
            "/check" => self.store.check()?,
            "/log" => {
                let limit = match text(query, "limit") {
                    None => 100,
                    Some(text) => text
                        .parse()
                        .map_err(|_| Refused::Wrong(format!("limit {text:?} is no number")))?,
                };
                self.store.log(parameter(query, "path").as_deref(), limit)?
            }
            _ => {
                let text = "there is /keys/PATH, /log, /watch, /check and /\n";
                return Ok(Answer::new(Status::NOT_FOUND, text));
            }
        };
        Ok(Answer::new(Status::OK, text))
    }

    /// Sends an event for each key that changes, until the client goes.
    async fn tell(
        &self,
        mut watch: Watch,
        below: &[u8],
        exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        let mut stream = exchange
            .answer(Status::OK)
            .field("Content-Type", "text/event-stream")
            .field("Cache-Control", "no-store")
            .stream(None)?;
        stream.write(b": watching\n\n").await?;
        loop {
            let next = poll_fn(|context| Pin::new(&mut watch).poll_next(context));
            let text = match self.sleep.timeout(SILENCE, next).await {
                None => ":\n\n".to_string(),
                Some(Some(Ok(event))) => told(&event, below),
                Some(Some(Err(_)) | None) => return stream.finish(),
            };
            stream.write(text.as_bytes()).await?;
        }
    }
}

/// An event for each key that differs: what happened to it, and after which change.
fn told(event: &Event, below: &[u8]) -> String {
    let commit = event.after().map(|commit| commit.id().to_string());
    let commit = commit.unwrap_or_default();
    let path = String::from_utf8_lossy(below);
    let slash = if path.is_empty() { "" } else { "/" };
    let mut text = String::new();
    for changed in event.changes().flatten().take(MOST) {
        let what = match changed.new {
            Some(_) => "put",
            None => "delete",
        };
        text += &format!(
            "event: {what}\nid: {commit}\ndata: {path}{slash}{}\n\n",
            changed.path
        );
    }
    if text.is_empty() {
        // The path itself is a key, or was.
        let is_gone = |after: &Commit| matches!(after.tree().entry(below), Ok(None));
        let what = match event.after().is_none_or(is_gone) {
            true => "delete",
            false => "put",
        };
        text = format!("event: {what}\nid: {commit}\ndata: {path}\n\n");
    }
    text
}

impl Answer {
    fn new(status: Status, content: impl Into<Bytes>) -> Answer {
        Answer {
            status,
            fields: &[("Content-Type", "text/plain; charset=utf-8")],
            tag: None,
            commit: None,
            content: content.into(),
        }
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Answer {
        let status = match &refused {
            Refused::Wrong(_) => Status::BAD_REQUEST,
            Refused::Missing => Status::NOT_FOUND,
            Refused::Changed => Status::PRECONDITION_FAILED,
            Refused::InTheWay(_) => Status::CONFLICT,
            // Insufficient Storage (RFC 4918 §11.5).
            Refused::Full(_) => Status::new(507).unwrap_or(Status::SERVICE_UNAVAILABLE),
            Refused::Disk(_) => Status::SERVICE_UNAVAILABLE,
            Refused::Damaged(_) => Status::INTERNAL_SERVER_ERROR,
        };
        Answer::new(status, format!("{refused}\n"))
    }
}

fn not_allowed(fields: &'static [(&'static str, &'static str)]) -> Answer {
    Answer {
        fields,
        ..Answer::new(Status::METHOD_NOT_ALLOWED, "")
    }
}

async fn send(
    exchange: Exchange<'_, impl Flow, impl Sleep>,
    answer: Answer,
) -> Result<Done, Error> {
    let mut head = exchange.answer(answer.status);
    for (name, value) in answer.fields {
        head = head.field(name, value);
    }
    if let Some(tag) = &answer.tag {
        head = head.field("ETag", tag);
    }
    if let Some(commit) = &answer.commit {
        head = head.field("Commit", commit);
    }
    head.send(&answer.content).await
}

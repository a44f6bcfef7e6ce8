//! The JSON interface, `/api/v1`.

mod branches;
mod call;
mod commits;
mod contents;
mod history;
mod merge;
mod value;
mod watch;

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ALLOW, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use irmin_sync::capabilities::format_name;
use serde_json::{Value, json};

use crate::answer::{self, Problem};
use crate::body::{Body, Sink};
use crate::shared::{Answered, Shared};
use crate::tokens::Access;
pub(crate) use call::is_readable;
use call::{Call, Query, unescaped};
pub(crate) use value::{difference, id, side};

/// Values that are sent as they are found, one JSON object a line. The first problem is the last line,
/// and then the answer is cut off.
struct Lines<'a> {
    to: &'a mut Sink,
    left: usize,
}

impl Lines<'_> {
    /// Sends a value. `false`: no more are wanted.
    fn put(&mut self, value: &Value) -> Result<bool, Problem> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let gone = |_| Problem::wrong("the client is gone", "");
        writeln!(self.to, "{value}").map_err(gone)?;
        Ok(self.left > 0)
    }

    /// Sends values up to the limit.
    fn all(
        &mut self,
        values: impl IntoIterator<Item = Result<Value, Problem>>,
    ) -> Result<(), Problem> {
        for value in values {
            if !self.put(&value?)? {
                break;
            }
        }
        Ok(())
    }
}

/// What makes the lines of a long answer.
type Fill = Box<dyn FnOnce(&Shared, &mut Lines<'_>) -> Result<(), Problem> + Send>;

/// What a handler found.
enum Found {
    Answer(Response<Body>),
    /// At most so many lines.
    Lines(usize, Fill),
}

impl Found {
    fn lines(
        limit: usize,
        fill: impl FnOnce(&Shared, &mut Lines<'_>) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Found, Problem> {
        Ok(Found::Lines(limit, Box::new(fill)))
    }

    fn json(value: &Value) -> Result<Found, Problem> {
        Ok(Found::Answer(answer::json(StatusCode::OK, value)))
    }
}

/// Answers a request whose path begins with `/api/`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    access: Access,
    parts: Parts,
    body: Bytes,
) -> Answered {
    let rest = parts
        .uri
        .path()
        .strip_prefix("/api/v1")
        .unwrap_or("/unknown");
    let (what, rest) = rest
        .strip_prefix('/')
        .unwrap_or(rest)
        .split_once('/')
        .unwrap_or((rest.trim_start_matches('/'), ""));
    let (what, rest) = (what.to_string(), unescaped(rest)?);
    let query = Query::new(parts.uri.query().unwrap_or_default())?;
    if what == "watch" && parts.method == Method::GET {
        return watch::watch(shared, access, query, &parts.headers).await;
    }
    let Parts {
        method, headers, ..
    } = parts;
    let found = shared.call(move |shared| {
        let call = Call {
            shared,
            access: &access,
            method,
            what: &what,
            rest,
            query,
            body,
        };
        handle(&call, &headers)
    });
    match found.await? {
        Found::Answer(answer) => Ok(answer),
        Found::Lines(limit, fill) => {
            let body = shared.stream(move |shared, to| {
                let problem = fill(shared, &mut Lines { to, left: limit }).err();
                let Some(problem) = problem else {
                    return Ok(());
                };
                writeln!(to, "{}", problem.value())?;
                to.flush()?;
                Err(io::ErrorKind::Other.into())
            })?;
            Ok(answer::with_type(
                StatusCode::OK,
                "application/x-ndjson",
                body,
            ))
        }
    }
}

fn handle(call: &Call<'_>, headers: &HeaderMap) -> Result<Found, Problem> {
    let has_rest = !call.rest.is_empty();
    let method = if call.method == Method::HEAD {
        "GET"
    } else {
        call.method.as_str()
    };
    match (method, call.what, has_rest) {
        ("GET", "", false) => about(call),
        ("GET", "branches", false) => branches::list(call),
        ("GET", "branches", true) => branches::get(call),
        ("PUT", "branches", true) => branches::put(call),
        ("DELETE", "branches", true) => branches::delete(call),
        ("GET", "contents", true) => contents::get(call, headers.get(IF_NONE_MATCH)),
        ("GET", "list", _) => contents::list(call),
        ("GET", "tree", _) => contents::tree(call),
        ("POST", "commits", false) => commits::post(call),
        ("GET", "commits", true) => history::commit(call),
        ("GET", "log", false) => history::log(call),
        ("GET", "lcas", false) => history::lcas(call),
        ("GET", "diff", false) => history::diff(call),
        ("GET", "merge", false) => merge::try_it(call),
        ("POST", "merge", false) => merge::post(call),
        (_, what, has_rest) => {
            let allowed = match (what, has_rest) {
                ("branches", true) => "GET, HEAD, PUT, DELETE",
                ("commits", false) => "POST",
                ("merge", false) => "GET, HEAD, POST",
                ("" | "branches" | "log" | "lcas" | "diff" | "watch", false)
                | ("contents" | "commits", true)
                | ("list" | "tree", _) => "GET, HEAD",
                _ => {
                    return Err(Problem::absent(
                        "nothing is at this address",
                        "GET /api/v1 tells what there is",
                    ));
                }
            };
            let problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} is not possible here", call.method),
                format!("possible: {allowed}"),
            );
            let mut answer = problem.answer();
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allowed));
            Ok(Found::Answer(answer))
        }
    }
}

fn about(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let default = call.shared.repo.backend().default_branch()?;
    let default = call
        .access
        .may_read(&default)
        .then(|| default.short().to_string());
    Found::json(&json!({
        "name": call.shared.options.name,
        "format": format_name(call.shared.repo.format()),
        "default_branch": default,
        "git": format!("/{}.git", call.shared.options.name),
        "endpoints": [
            "GET branches?prefix&limit", "GET branches/NAME", "PUT branches/NAME {commit, expect}",
            "DELETE branches/NAME?expect", "GET contents/PATH?at", "GET list/PATH?at&from&limit",
            "GET tree/PATH?at&limit", "POST commits {branch, expect?, message, author, edits}",
            "GET commits/REVISION", "GET log?at&path&limit", "GET lcas?a&b",
            "GET diff?old&new&path&limit", "GET merge?ours&theirs",
            "POST merge {branch, theirs, message, author, resolve?}", "GET watch?branch&prefix",
        ],
    }))
}

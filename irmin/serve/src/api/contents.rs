//! Contents: values, directories and whole trees.

use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use irmin::{Kind, Mode, Tree};
use serde_json::Value;

use super::call::Call;
use super::{Found, value};
use crate::answer::{self, Problem};
use crate::body::Body;

/// `GET contents/PATH`
pub(super) fn get(call: &Call<'_>, if_none_match: Option<&HeaderValue>) -> Result<Found, Problem> {
    call.query.only(&["at"])?;
    let tree = call.commit_at("at")?.tree();
    let path = call.path()?;
    let entry = tree.entry(&path)?;
    let entry = entry.ok_or_else(|| {
        Problem::absent(
            format!("nothing is at {path}"),
            "GET /api/v1/list lists what is there",
        )
    })?;
    if matches!(entry.mode(), Mode::Dir | Mode::Module) {
        let what = value::kind(entry.mode());
        return Err(Problem::absent(
            format!("{path} is a {what}, and has no contents"),
            "GET /api/v1/list/PATH lists a directory",
        ));
    }
    let known = |id: &irmin::Id| {
        let text = if_none_match
            .and_then(|tags| tags.to_str().ok())
            .unwrap_or_default();
        text == "*"
            || text
                .split(',')
                .any(|tag| tag.trim().trim_start_matches("W/").trim_matches('"') == id.to_string())
    };
    let unchanged = |id: &irmin::Id| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        Ok(Found::Answer(answer::tagged(answer, id)))
    };
    // Where the id is at hand the contents are not even read.
    if let Some(id) = entry.id().filter(known) {
        return unchanged(&id);
    }
    let contents = tree.contents(&entry)?;
    let id = match entry.id() {
        Some(id) => id,
        None => {
            let id = call.shared.repo.format().id(Kind::Blob, &contents);
            let id = id.map_err(|error| {
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    error.to_string(),
                    "read another version",
                )
            })?;
            if known(&id) {
                return unchanged(&id);
            }
            id
        }
    };
    let mut answer = answer::with_type(
        StatusCode::OK,
        "application/octet-stream",
        Body::Whole(contents),
    );
    // A browser neither guesses a type nor runs what a store holds.
    let headers = answer.headers_mut();
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static("sandbox"),
    );
    headers.insert(
        "x-irmin-kind",
        HeaderValue::from_static(value::kind(entry.mode())),
    );
    Ok(Found::Answer(answer::tagged(answer, &id)))
}

/// The directory that the URL names.
fn dir(call: &Call<'_>) -> Result<Tree, Problem> {
    let tree = call.commit_at("at")?.tree();
    let path = call.path()?;
    tree.dir(&path)?.ok_or_else(|| {
        Problem::absent(
            format!("no directory is at {path}"),
            "GET /api/v1/list lists the root",
        )
    })
}

/// `GET list/PATH`
pub(super) fn list(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["at", "from", "limit"])?;
    let dir = dir(call)?;
    let from = call.query.bytes("from").unwrap_or_default().to_vec();
    Found::lines(call.query.limit()?, move |_, lines| {
        let entries = if from.is_empty() {
            dir.list()
        } else {
            dir.list_from(&from)
        };
        lines.all(entries.map(|entry| {
            let (name, entry) = entry?;
            let mut value = value::entry(&entry, || dir.contents(&entry).ok());
            value::put(&mut value, "name", &name);
            Ok(value)
        }))
    })
}

/// `GET tree/PATH`
pub(super) fn tree(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["at", "limit"])?;
    let dir = dir(call)?;
    let prefix = call.path()?;
    Found::lines(call.query.limit()?, move |_, lines| {
        lines.all(dir.walk().map(|file| -> Result<Value, Problem> {
            let (path, entry) = file?;
            let mut value = value::entry(&entry, || dir.contents(&entry).ok());
            value::put(&mut value, "path", &value::below(&prefix, path.as_bytes()));
            Ok(value)
        }))
    })
}

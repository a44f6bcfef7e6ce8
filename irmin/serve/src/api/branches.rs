//! Branches: list, look, move, make and delete.

use hyper::StatusCode;
use irmin::{Id, RefEdit, RefName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, DOCUMENTED, unknown};
use super::{Found, value};
use crate::answer::{self, Problem};

fn line(name: &RefName, head: Id) -> Value {
    json!({ "branch": name.short(), "commit": head.to_string() })
}

/// `GET branches`
pub(super) fn list(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["prefix", "limit"])?;
    let prefix = format!(
        "refs/heads/{}",
        call.query.text("prefix")?.unwrap_or_default()
    );
    let access = call.access.clone();
    Found::lines(call.query.limit()?, move |shared, lines| {
        let heads = shared.repo.backend().heads(&prefix)?;
        let readable = heads.into_iter().filter(|(name, _)| access.may_read(name));
        lines.all(readable.map(|(name, head)| Ok(line(&name, head))))
    })
}

/// `GET branches/NAME`
pub(super) fn get(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let name = call.branch_name()?;
    let head = call
        .shared
        .repo
        .backend()
        .head(&name)?
        .ok_or_else(|| unknown(name.short()))?;
    let answer = answer::json(StatusCode::OK, &line(&name, head));
    Ok(Found::Answer(answer::tagged(answer, &head)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    commit: String,
    expect: Value,
}

/// `PUT branches/NAME`
pub(super) fn put(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let wanted: Move = call.json()?;
    let name = call.writable(std::str::from_utf8(&call.rest).unwrap_or_default())?;
    let expect = match &wanted.expect {
        Value::Null => None,
        Value::String(text) => Some(expected(text)?),
        _ => {
            return Err(Problem::wrong(
                "expect is neither an id nor null",
                DOCUMENTED,
            ));
        }
    };
    let commit = call.commit(&wanted.commit)?;
    let edit = RefEdit {
        name: name.clone(),
        expect: expect.into(),
        new: Some(commit.id()),
    };
    call.shared.repo.update(&[edit])?;
    call.shared.repo.flush()?;
    let status = if expect.is_none() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(Found::Answer(answer::json(
        status,
        &line(&name, commit.id()),
    )))
}

/// `DELETE branches/NAME`
pub(super) fn delete(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["expect"])?;
    let name = call.writable(std::str::from_utf8(&call.rest).unwrap_or_default())?;
    let expect = expected(call.query.needed("expect")?)?;
    let edit = RefEdit {
        name: name.clone(),
        expect: Some(expect).into(),
        new: None,
    };
    call.shared.repo.update(&[edit])?;
    call.shared.repo.flush()?;
    Found::json(&json!({ "branch": name.short(), "commit": value::id(None) }))
}

/// An id that a branch is expected at.
pub(super) fn expected(text: &str) -> Result<Id, Problem> {
    let id = text.parse();
    id.map_err(|_| {
        Problem::wrong(
            format!("{text:?} is no id"),
            "give all digits of the commit's id that the branch was at",
        )
    })
}

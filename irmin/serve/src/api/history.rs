//! History: commits, logs, common ancestors and differences.

use hyper::StatusCode;
use irmin::Id;
use serde_json::json;

use super::call::Call;
use super::{Found, value};
use crate::answer::{self, Problem};

/// `GET commits/REVISION`
pub(super) fn commit(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let commit = call.commit(std::str::from_utf8(&call.rest).unwrap_or_default())?;
    let answer = answer::json(StatusCode::OK, &value::commit(&commit));
    Ok(Found::Answer(answer::tagged(answer, &commit.id())))
}

/// `GET log`
pub(super) fn log(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["at", "path", "limit"])?;
    let from = call.commit_at("at")?;
    let path = call.query.path("path")?;
    Found::lines(call.query.limit()?, move |_, lines| {
        let log = if path.is_root() {
            from.log()
        } else {
            from.log_of(path)
        };
        lines.all(log.map(|commit| Ok(value::commit(&commit?))))
    })
}

/// `GET lcas`
pub(super) fn lcas(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["a", "b"])?;
    let [a, b] = [call.query.needed("a")?, call.query.needed("b")?];
    let lcas = call.shared.repo.lcas(&call.commit(a)?, &call.commit(b)?)?;
    let lcas: Vec<_> = lcas.iter().map(Id::to_string).collect();
    Found::json(&json!({ "lcas": lcas }))
}

/// `GET diff`
pub(super) fn diff(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["old", "new", "path", "limit"])?;
    let [old, new] = [call.query.needed("old")?, call.query.needed("new")?];
    let path = call.query.path("path")?;
    let mut trees = Vec::new();
    for side in [old, new] {
        let tree = call.commit(side)?.tree();
        let entry = tree.entry(&path)?;
        if let Some(file) = entry.as_ref().filter(|entry| !entry.is_dir()) {
            let hint = format!(
                "it is a {} at {side}; compare the directory that it is in",
                value::kind(file.mode())
            );
            return Err(Problem::wrong(format!("{path} is no directory"), hint));
        }
        trees.push(
            tree.dir(&path)?
                .unwrap_or_else(|| call.shared.repo.empty_tree()),
        );
    }
    Found::lines(call.query.limit()?, move |_, lines| {
        let [old, new] = [&trees[0], &trees[1]];
        lines.all(
            old.diff(new)
                .map(|difference| Ok(value::difference(&difference?, &path, new))),
        )
    })
}

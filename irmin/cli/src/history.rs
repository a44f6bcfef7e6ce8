//! `irmin log`, `lcas`: what was before what.

use irmin::{Commit, Signature};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use crate::cli::{Lcas, Log};
use crate::failure::Result;
use crate::output::{Output, harmless, put};
use crate::place::Place;
use crate::tree::path;

/// `irmin log`.
pub fn log(place: &Place, log: &Log, out: &mut Output) -> Result<u8> {
    let paths = log.paths.iter().map(|typed| path(typed));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    let commits = place.resolve(&log.name)?.log_of_any(paths);
    let mut is_first = true;
    for commit in commits.take(log.limit.unwrap_or(usize::MAX)) {
        let commit = commit?;
        if out.json {
            out.value(&commit_value(&commit))?;
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.line("")?;
        }
        show(&commit, out)?;
    }
    Ok(0)
}

/// As `git log` shows it.
fn show(commit: &Commit, out: &mut Output) -> Result<()> {
    out.line(format_args!("commit {}", commit.id()))?;
    if commit.parents().len() > 1 {
        let parents = commit
            .parents()
            .iter()
            .map(|id| id.to_string()[..7].to_string());
        out.line(format_args!(
            "Merge: {}",
            parents.collect::<Vec<_>>().join(" ")
        ))?;
    }
    let author = &commit.data().author;
    let text = |bytes| harmless(&String::from_utf8_lossy(bytes));
    out.line(format_args!(
        "Author: {} <{}>",
        text(author.name()),
        text(author.email())
    ))?;
    out.line(format_args!("Date:   {}", date(author)))?;
    out.line("")?;
    for line in harmless(commit.message().trim_end()).lines() {
        out.line(format_args!("    {line}").to_string().trim_end())?;
    }
    Ok(())
}

/// The time of a signature in its own zone, as ISO 8601.
pub fn date(signature: &Signature) -> String {
    let zone = String::from_utf8_lossy(signature.zone()).into_owned();
    let number: i32 = zone.parse().unwrap_or(0);
    let seconds = 60 * (number / 100 * 60 + number % 100);
    let offset = Offset::from_seconds(seconds).unwrap_or(Offset::UTC);
    match Timestamp::from_second(signature.seconds()) {
        Ok(time) => time
            .to_zoned_datetime(TimeZone::fixed(offset))
            .strftime("%Y-%m-%d %H:%M:%S %z")
            .to_string(),
        Err(_) => format!("{} seconds after 1970", signature.seconds()),
    }
}

fn commit_value(commit: &Commit) -> Value {
    let who = |signature: &Signature| {
        let mut who = json!({ "seconds": signature.seconds() });
        put(&mut who, "name", signature.name());
        put(&mut who, "email", signature.email());
        put(&mut who, "zone", signature.zone());
        who
    };
    let parents = commit.parents().iter().map(ToString::to_string);
    let mut value = json!({
        "commit": commit.id().to_string(),
        "tree": commit.tree().id().to_string(),
        "parents": parents.collect::<Vec<_>>(),
        "author": who(&commit.data().author),
        "committer": who(&commit.data().committer),
    });
    let message = commit.data().message.as_deref();
    put(&mut value, "message", message.unwrap_or_default());
    value
}

/// `irmin lcas`.
pub fn lcas(place: &Place, lcas: &Lcas, out: &mut Output) -> Result<u8> {
    let a = place.commit(&lcas.a)?;
    let b = place.commit(&lcas.b)?;
    let ids = place.repo.lcas(&a, &b)?;
    for id in &ids {
        match out.json {
            true => out.value(&json!({ "commit": id.to_string() }))?,
            false => out.line(id)?,
        }
    }
    Ok(u8::from(ids.is_empty()))
}

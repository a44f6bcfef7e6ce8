//! Transactions: edits that become one commit.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use irmin::{Branch, Commit, CommitError, Info, Mode, Signature, TreeEdit, UpdateError};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::branches::expected;
use super::call::Call;
use super::value::{given, given_path};
use super::{Found, value};
use crate::answer::{self, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    branch: String,
    /// Outside: whether it is given; inside: null for a branch that is not there.
    #[serde(default, deserialize_with = "there")]
    expect: Option<Option<String>>,
    message: String,
    author: Person,
    edits: Vec<Edit>,
}

pub(super) fn there<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Who makes a commit. Without a time it is now, in UTC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    name: String,
    email: String,
    time: Option<i64>,
    /// Minutes east of Greenwich.
    offset: Option<i16>,
}

/// The last second of the year 9999: what all of Git's tools can show.
const TIME_MAX: i64 = 253_402_300_799;

impl Person {
    /// What a commit says of this person; only what `git fsck` takes.
    pub(super) fn info(&self, message: &str) -> Result<Info, Problem> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs() as i64);
        let (time, offset) = (self.time.unwrap_or(now), self.offset.unwrap_or(0));
        if !(0..=TIME_MAX).contains(&time) || !(-1440..=1440).contains(&offset) {
            return Err(Problem::wrong(
                "the author's time is out of range",
                "give seconds since 1970, up to the year 9999, and at most 1440 minutes of offset",
            ));
        }
        let who = |time| Signature::new(&self.name, &self.email, time, offset);
        let (author, committer) = (who(time), who(now));
        if author.name().is_empty() || author.email().is_empty() {
            return Err(Problem::wrong(
                "the author has no name or no email address",
                "give both, of more than punctuation",
            ));
        }
        let message = message.into();
        Ok(Info {
            author,
            committer,
            message,
        })
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Edit {
    Set {
        path: Option<String>,
        path_hex: Option<String>,
        text: Option<String>,
        text_hex: Option<String>,
        kind: Option<FileKind>,
    },
    Remove {
        path: Option<String>,
        path_hex: Option<String>,
    },
    Rename {
        path: Option<String>,
        path_hex: Option<String>,
        to: Option<String>,
        to_hex: Option<String>,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileKind {
    File,
    Executable,
    Link,
}

impl Edit {
    fn apply(&self, edit: &mut TreeEdit) -> Result<(), Problem> {
        match self {
            Edit::Set {
                path,
                path_hex,
                text,
                text_hex,
                kind,
            } => {
                let path = given_path("path", path, path_hex)?;
                let contents = given("text", text, text_hex)?;
                let contents = contents.ok_or_else(|| {
                    Problem::wrong(format!("no contents for {path}"), "give text, or text_hex")
                })?;
                match kind {
                    None => edit.set(&path, contents)?,
                    Some(FileKind::File) => edit.set_mode(&path, Mode::File, contents)?,
                    Some(FileKind::Executable) => {
                        edit.set_mode(&path, Mode::Executable, contents)?
                    }
                    Some(FileKind::Link) => edit.set_mode(&path, Mode::Link, contents)?,
                }
            }
            Edit::Remove { path, path_hex } => {
                let path = given_path("path", path, path_hex)?;
                if !edit.remove(&path)? {
                    return Err(Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        format!("nothing is at {path}"),
                        "nothing was changed",
                    ));
                }
            }
            Edit::Rename {
                path,
                path_hex,
                to,
                to_hex,
            } => {
                edit.rename(
                    given_path("path", path, path_hex)?,
                    given_path("to", to, to_hex)?,
                )?;
            }
        }
        Ok(())
    }
}

/// `POST commits`
pub(super) fn post(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let request: Request = call.json()?;
    let name = call.writable(&request.branch)?;
    let branch = call.shared.repo.named(name);
    let info = request.author.info(&request.message)?;
    let expect = match &request.expect {
        Some(Some(id)) => Some(Some(expected(id)?)),
        Some(None) => Some(None),
        None => None,
    };
    loop {
        let mut transaction = branch.transaction()?;
        let base = transaction.base().map(Commit::id);
        if let Some(expect) = expect
            && expect != base
        {
            return Err(Problem::moved(branch.name().short(), base));
        }
        request
            .edits
            .iter()
            .try_for_each(|edit| edit.apply(&mut transaction))?;
        match transaction.commit(&info) {
            // Somebody else was first, and any head will do.
            Err(CommitError::Update(UpdateError::Moved { .. })) if expect.is_none() => {}
            result => return made(call, &branch, &result?, base),
        }
    }
}

/// Tells of a commit once it survives a loss of power. Where nothing changed, none was made.
pub(super) fn made(
    call: &Call<'_>,
    branch: &Branch,
    commit: &Commit,
    before: Option<irmin::Id>,
) -> Result<Found, Problem> {
    call.shared.repo.flush()?;
    let status = if before == Some(commit.id()) {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let value = json!({
        "branch": branch.name().short(),
        "commit": commit.id().to_string(),
        "tree": commit.tree().id().to_string(),
        "before": value::id(before),
    });
    Ok(Found::Answer(answer::tagged(
        answer::json(status, &value),
        &commit.id(),
    )))
}

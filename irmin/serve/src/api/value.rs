//! Commits, entries and contents as JSON. Bytes that are no UTF-8 stand in hexadecimal digits under
//! the key with `_hex` behind it.

use bytes::Bytes;
use irmin::merge::{Conflict, Three, Why};
use irmin::{Commit, Difference, Entry, Id, Mode, Path, Signature};
use serde_json::{Value, json};

use super::call::DOCUMENTED;
use crate::answer::Problem;

/// Adds bytes to an object: as `key` if they are text, else as `key_hex`.
pub(crate) fn put(object: &mut Value, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object[key] = text.into(),
        Err(_) => object[format!("{key}_hex")] = hex(bytes).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that a request gives as `key` or `key_hex`; `None` if it gives neither.
pub(crate) fn given(
    key: &str,
    text: &Option<String>,
    digits: &Option<String>,
) -> Result<Option<Bytes>, Problem> {
    match (text, digits) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        (None, Some(digits)) => {
            let value = |b: u8| char::from(b).to_digit(16);
            let pairs = digits.as_bytes().chunks(2);
            let bytes = pairs.map(|pair| match pair {
                [high, low] => Some((value(*high)? << 4 | value(*low)?) as u8),
                _ => None,
            });
            let bytes: Option<Vec<u8>> = bytes.collect();
            let wrong = || {
                Problem::wrong(
                    format!("{key}_hex is not pairs of hexadecimal digits"),
                    DOCUMENTED,
                )
            };
            Ok(Some(bytes.ok_or_else(wrong)?.into()))
        }
        (Some(_), Some(_)) => Err(Problem::wrong(
            format!("{key} and {key}_hex are both given"),
            "give one of them",
        )),
    }
}

/// The same as a path that must be there.
pub(crate) fn given_path(
    key: &str,
    text: &Option<String>,
    digits: &Option<String>,
) -> Result<Path, Problem> {
    let bytes = given(key, text, digits)?;
    let bytes = bytes.ok_or_else(|| Problem::wrong(format!("{key} is missing"), DOCUMENTED))?;
    Ok(Path::new(bytes)?)
}

/// An id, or null.
pub(crate) fn id(id: Option<Id>) -> Value {
    id.map(|id| id.to_string()).into()
}

/// What an entry is.
pub(crate) fn kind(mode: Mode) -> &'static str {
    match mode {
        Mode::File => "file",
        Mode::Executable => "executable",
        Mode::Link => "link",
        Mode::Module => "module",
        Mode::Dir => "directory",
    }
}

/// What stands at a path: kind and id; small contents of the native format have no id, and stand here.
pub(crate) fn entry(entry: &Entry, contents: impl FnOnce() -> Option<Bytes>) -> Value {
    let mut value = json!({ "kind": kind(entry.mode()), "id": id(entry.id()) });
    if entry.id().is_none()
        && let Some(contents) = contents()
    {
        put(&mut value, "text", &contents);
    }
    value
}

/// A side of a difference or conflict: null where nothing is.
pub(crate) fn side(side: Option<&Entry>, tree: &irmin::Tree) -> Value {
    side.map_or(Value::Null, |there| {
        entry(there, || tree.contents(there).ok())
    })
}

/// What differs at a path, which is below `prefix`.
pub(crate) fn difference(difference: &Difference, prefix: &Path, tree: &irmin::Tree) -> Value {
    let [old, new] = [&difference.old, &difference.new].map(|entry| side(entry.as_ref(), tree));
    let mut value = json!({ "old": old, "new": new });
    put(
        &mut value,
        "path",
        &below(prefix, difference.path.as_bytes()),
    );
    value
}

/// A path below another.
pub(crate) fn below(prefix: &Path, path: &[u8]) -> Vec<u8> {
    match (prefix.is_root(), path.is_empty()) {
        (true, _) => path.into(),
        (_, true) => prefix.as_bytes().into(),
        _ => [prefix.as_bytes(), b"/", path].concat(),
    }
}

/// A commit with all that it says.
pub(crate) fn commit(commit: &Commit) -> Value {
    let data = commit.data();
    let mut value = json!({
        "commit": commit.id().to_string(),
        "tree": data.tree.to_string(),
        "parents": data.parents.iter().map(Id::to_string).collect::<Vec<_>>(),
        "author": signature(&data.author),
        "committer": signature(&data.committer),
    });
    put(
        &mut value,
        "message",
        data.message.as_deref().unwrap_or_default(),
    );
    value
}

fn signature(signature: &Signature) -> Value {
    let mut value = json!({ "time": signature.seconds() });
    put(&mut value, "name", signature.name());
    put(&mut value, "email", signature.email());
    put(&mut value, "zone", signature.zone());
    value
}

/// A conflict, with what the three sides have at the path.
pub(crate) fn conflict(conflict: &Conflict, tree: &irmin::Tree) -> Value {
    let (why, detail) = match &conflict.why {
        Why::FileAndDirectory => (
            "file-and-directory",
            "one side has a file where the other has a directory",
        ),
        Why::Mode => ("mode", "both sides changed what it is"),
        Why::Refused(detail) => ("contents", detail.as_str()),
        Why::Renamed(detail) => ("renamed", detail.as_str()),
    };
    let Three { base, ours, theirs } = &conflict.entries;
    let [base, ours, theirs] = [base, ours, theirs].map(|one| side(one.as_ref(), tree));
    let mut value =
        json!({ "why": why, "detail": detail, "base": base, "ours": ours, "theirs": theirs });
    put(&mut value, "path", conflict.path.as_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_go_there_and_back_as_digits() {
        let mut value = json!({});
        put(&mut value, "a", "ü".as_bytes());
        put(&mut value, "b", b"\xff\x00");
        assert_eq!(value, json!({ "a": "ü", "b_hex": "ff00" }));
        let digits = |text: &str| given("b", &None, &Some(text.into()));
        assert_eq!(digits("Ff00").unwrap().unwrap(), &b"\xff\0"[..]);
        assert!(digits("f").is_err() && digits("zz").is_err() && digits("é").is_err());
        assert!(given("b", &Some(String::new()), &Some(String::new())).is_err());
        assert!(given("b", &None, &None).unwrap().is_none());
    }
}

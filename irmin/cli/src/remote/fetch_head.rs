//! `FETCH_HEAD`: what was fetched last, as Git writes it for `git merge FETCH_HEAD`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use irmin_sync::Fetched;

use crate::failure::{Failure, Result};
use crate::place::{Kind, Place, shown};

/// Which of what was fetched is meant to be merged.
pub enum Merged {
    /// All that was asked for.
    All,
    /// The first.
    First,
    /// This one, by its full name.
    Name(String),
    /// Nothing.
    Nothing,
}

/// The file; in a native store there is none.
pub struct FetchHead(Option<PathBuf>);

impl FetchHead {
    /// Empties it: what was fetched before is not what is fetched now.
    pub fn begin(place: &Place) -> Result<FetchHead> {
        let Kind::Git(_) = place.kind else {
            return Ok(FetchHead(None));
        };
        let file = FetchHead(Some(place.folder.join("FETCH_HEAD")));
        file.write(|path| fs::write(path, ""))?;
        Ok(file)
    }

    /// Adds what was fetched from this URL: first what is to be merged.
    pub fn add(&self, place: &Place, fetched: &Fetched, url: &str, merged: &Merged) -> Result<()> {
        let url = shortened(url);
        let mut lines = [String::new(), String::new()];
        for (at, one) in fetched.heads.iter().enumerate() {
            let (id, name) = (one.id.to_string(), one.name.as_ref());
            let is_meant = one.was_asked_for
                && match merged {
                    Merged::All => true,
                    Merged::First => at == 0,
                    Merged::Name(meant) => name.is_some_and(|name| name.as_str() == meant),
                    Merged::Nothing => false,
                };
            let is_merged = is_meant && place.repo.peel(&one.id).is_ok();
            let mark = if is_merged { "" } else { "not-for-merge" };
            let what = what(name.map_or(&id, |name| name.as_str()));
            lines[usize::from(!is_merged)] += &format!("{id}\t{mark}\t{what}{url}\n");
        }
        self.write(|path| {
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            file.write_all(lines.concat().as_bytes())
        })
    }

    fn write(&self, write: impl FnOnce(&PathBuf) -> io::Result<()>) -> Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        write(path).map_err(|error| {
            Failure::broken(format_args!("{} cannot be written: {error}", shown(path)))
        })
    }
}

/// `branch 'main' of `; nothing for `HEAD`.
fn what(name: &str) -> String {
    if name == "HEAD" {
        return String::new();
    }
    let kinds = [
        ("refs/heads/", "branch "),
        ("refs/tags/", "tag "),
        ("refs/remotes/", "remote-tracking branch "),
        ("", ""),
    ];
    let found = kinds
        .iter()
        .find_map(|(prefix, kind)| Some((kind, name.strip_prefix(prefix)?)));
    found.map_or(String::new(), |(kind, short)| {
        format!("{kind}'{short}' of ")
    })
}

/// The URL without user, slashes at its end and `.git`, as Git shortens it.
pub fn shortened(url: &str) -> String {
    let anonymous = anonymous(url);
    let url = anonymous.trim_end_matches('/');
    let url = match url.strip_suffix(".git") {
        Some(before) if before.len() > 1 => before,
        _ => url,
    };
    url.replace('\n', "\\n")
}

fn anonymous(url: &str) -> String {
    let Some((before, rest)) = url.split_once('@') else {
        return url.into();
    };
    match before.split_once("://") {
        Some((scheme, user)) if !user.contains('/') => format!("{scheme}://{rest}"),
        // user@host:path
        None if !before.contains('/') && rest.contains(':') => rest.into(),
        _ => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_without_what_is_nobody_elses_business() {
        for (url, short) in [
            ("/a/b.git/", "/a/b"),
            ("../x/.git", "../x/"),
            (".git", ".git"),
            ("a.git", "a.git"),
            ("ab.git", "ab"),
            ("https://u:p@h/x.git", "https://h/x"),
            ("https://h/x@y", "https://h/x@y"),
            ("ada@h:notes.git", "h:notes"),
            ("/a@b:c", "/a@b:c"),
        ] {
            assert_eq!(shortened(url), short, "{url}");
        }
    }
}

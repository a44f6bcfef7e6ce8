//! Changes to a repository's configuration, as `git config` makes them and under the lock that it takes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::{common, scan};
use crate::failure::{Failure, Result};

/// Adds a section.
pub fn append(repository: &Path, section: &str, sub: &str, lines: &[(&str, String)]) -> Result<()> {
    change(repository, |text| {
        let mut added = if text.is_empty() || text.ends_with(b"\n") {
            String::new()
        } else {
            "\n".into()
        };
        added += &head(section, sub);
        for (key, value) in lines {
            added += &line(key, value);
        }
        text.extend(added.into_bytes());
        Ok(())
    })
}

/// Gives keys of a section these values. A key that is there is replaced where it is; all else in the
/// file, comments too, stays as it is.
pub fn set(repository: &Path, section: &str, sub: &str, lines: &[(&str, &str)]) -> Result<()> {
    change(repository, |text| {
        for (key, value) in lines {
            *text = with(text, (section, sub, key), value)?;
        }
        Ok(())
    })
}

/// The file with another value of a key.
fn with(text: &[u8], (section, sub, key): (&str, &str, &str), value: &str) -> Result<Vec<u8>> {
    let wrong = |what: String| {
        let what = format!("the repository's configuration {what}");
        Failure::broken_with(what, "correct it, or change it with git config")
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong("is not UTF-8".into()))?;
    let parts = scan(text).map_err(|line| wrong(format!("is wrong in line {line}")))?;
    let section_name = format!("{section}.{sub}");
    let full = format!("{section_name}.{key}");
    let is_key = |entry: &Option<(String, String)>| entry.as_ref().is_some_and(|e| e.0 == full);
    let mut there = parts.iter().filter(|part| is_key(&part.entry));
    let in_section = parts.iter().rfind(|part| part.section == section_name);
    let (before, after) = match (there.next(), in_section) {
        (Some(old), _) => {
            if there.next().is_some() {
                return Err(wrong(format!("has several values of {full}")));
            }
            let before =
                text[..old.range.start].trim_end_matches([' ', '\t', '\r', '\x0b', '\x0c']);
            (before.len(), old.range.end)
        }
        // Behind the last that the section says.
        (None, Some(last)) => {
            let end = last.range.end;
            let is_line = text[..end].ends_with('\n') || !text[end..].starts_with('\n');
            let end = if is_line { end } else { end + 1 };
            (end, end)
        }
        (None, None) => (text.len(), text.len()),
    };
    let mut changed = text[..before].to_string();
    if !changed.is_empty() && !changed.ends_with('\n') {
        changed.push('\n');
    }
    if in_section.is_none() {
        changed += &head(section, sub);
    }
    changed += &line(key, value);
    changed += &text[after..];
    Ok(changed.into())
}

fn head(section: &str, sub: &str) -> String {
    let sub = sub.replace('\\', "\\\\").replace('"', "\\\"");
    format!("[{section} \"{sub}\"]\n")
}

fn line(key: &str, value: &str) -> String {
    let is_quoted =
        value.starts_with(' ') || value.ends_with(' ') || value.contains([';', '#', '\r']);
    let quote = if is_quoted { "\"" } else { "" };
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    let value = value.replace('\n', "\\n").replace('\t', "\\t");
    format!("\t{key} = {quote}{value}{quote}\n")
}

/// Changes the file under its lock: what is there is whole at any time.
fn change(repository: &Path, change: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let folder = common(repository);
    let (path, lock) = (folder.join("config"), folder.join("config.lock"));
    let broken = |error: io::Error| {
        Failure::broken(format_args!(
            "{} cannot be written: {error}",
            lock.display()
        ))
    };
    // Nobody else writes from here on, so that what is read is what is there.
    let mut file = File::create_new(&lock).map_err(broken)?;
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => text,
    };
    let changed = text.map_err(broken).and_then(|mut text| {
        change(&mut text)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        written
            .and_then(|()| match fs::metadata(&path) {
                // It stays as readable as it was.
                Ok(found) => file.set_permissions(found.permissions()),
                Err(_) => Ok(()),
            })
            .and_then(|()| fs::rename(&lock, &path))
            .map_err(broken)
    });
    if changed.is_err() {
        let _ = fs::remove_file(&lock);
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_key_is_set_as_git_sets_it_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("config"), folder.path().join("theirs"));
        for text in [
            "",
            "[core]\n\tbare = true",
            "# first\n[branch \"main\"]\n\tremote = old ; why\n\tmerge = refs/heads/x\n\n# last\n",
            "[branch \"main\"] remote = a\n[core]\n\tx = y\n[Branch \"main\"]\n    other = b # c\n[z]\n",
            "[branch \"main\"]\n[branch \"Main\"]\n\tremote = theirs\n",
            "[branch \"main\"]\n\trebase\n; a note\n\n[core]\n\tx = \"a # b\" \\\n  c\n",
            "\u{feff}[branch \"main\"]\r\n\tREMOTE = x\\\n y\r\n\tmerge = z\r\n",
            "[branch \"main\"]\n\tx = \"open\\n\"",
        ] {
            for value in ["origin", "a b", " a;b\\\"\tc\n"] {
                fs::write(&ours, text).unwrap();
                fs::write(&theirs, text).unwrap();
                let lines = [("remote", value), ("merge", "refs/heads/main")];
                set(folder.path(), "branch", "main", &lines).unwrap();
                for (key, value) in lines {
                    let mut git = Command::new("git");
                    git.arg("config").arg("-f").arg(&theirs);
                    git.args([&format!("branch.main.{key}"), value]);
                    assert!(git.status().unwrap().success(), "{text:?}");
                }
                let read = |path| fs::read_to_string(path).unwrap();
                assert_eq!(read(&ours), read(&theirs), "{text:?} {value:?}");
            }
        }
        // What would be two values afterwards is left to its owner.
        let twice = "[branch \"main\"]\n\tmerge = a\n\tmerge = b\n";
        fs::write(&ours, twice).unwrap();
        assert!(set(folder.path(), "branch", "main", &[("merge", "c")]).is_err());
        assert_eq!(fs::read_to_string(&ours).unwrap(), twice);
        assert!(!folder.path().join("config.lock").exists());
    }
}

//! Objects of strangers, looked at before they are believed.

use alloc::string::ToString;

use hashbrown::HashSet;

use crate::path::check_new_name;
use crate::raw::{CommitData, Malformed, TagData, TreeEntries, git_order};
use crate::tree::page::Page;
use crate::{Format, Kind, Object};

/// Checks an object that somebody else made: that it is well-formed, and does no harm where it is
/// checked out. Of what `git fsck` finds these are refused: bytes that are no object of the kind,
/// entries out of order or twice, entries without an object, and names such as `.git` and `..`. What is
/// merely odd, as old programs wrote it, is not.
///
/// What it refers to is not looked at.
///
/// # Errors
/// [`Malformed`], which says what is wrong.
pub fn check_object(format: Format, object: &Object) -> Result<(), Malformed> {
    let wrong = |what: &str| Malformed {
        kind: object.kind,
        what: what.into(),
    };
    let bad_name = |name: &[u8]| {
        check_new_name(name).map_err(|error| Malformed {
            kind: Kind::Tree,
            what: error.to_string(),
        })
    };
    match object.kind {
        Kind::Blob => {}
        Kind::Tree if format.is_git() => {
            let mut names = HashSet::new();
            let mut last = None;
            for entry in TreeEntries::new(format, &object.data) {
                let entry = entry?;
                bad_name(entry.name)?;
                let is_dir = entry.mode == crate::Mode::Dir;
                if last.is_some_and(|(name, was_dir)| {
                    git_order(name, was_dir, entry.name, is_dir).is_ge()
                }) {
                    return Err(wrong("its entries are not in order"));
                }
                if !names.insert(entry.name) {
                    return Err(wrong("a name stands in it twice"));
                }
                if entry.id.as_bytes().iter().all(|&b| b == 0) {
                    return Err(wrong("an entry has no object"));
                }
                last = Some((entry.name, is_dir));
            }
        }
        Kind::Tree => {
            let page = Page::parse(format, object.data.clone())?;
            if page.level == 0 {
                (0..page.len()).try_for_each(|at| bad_name(page.name(at)))?;
            }
        }
        Kind::Commit => drop(CommitData::decode(format, &object.data)?),
        Kind::Tag => {
            TagData::decode(format, &object.data)?;
            let mut lines = object.data.split(|&b| b == b'\n').skip(2);
            if !lines.next().is_some_and(|line| line.starts_with(b"tag ")) {
                return Err(wrong("it has no name after its type"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::raw::{Mode, push_entry};

    #[test]
    fn what_would_do_harm_in_a_checkout_is_refused_and_what_is_odd_is_not() {
        let format = Format::GitSha1;
        let id = format.id(Kind::Blob, b"x").unwrap();
        let tree = |entries: &[(Mode, &str)]| {
            let mut data = Vec::new();
            entries
                .iter()
                .for_each(|(mode, name)| push_entry(&mut data, *mode, name.as_bytes(), &id));
            check_object(format, &Object::new(format, Kind::Tree, data).unwrap())
        };
        let (file, dir) = (Mode::File, Mode::Dir);
        tree(&[]).unwrap();
        tree(&[(file, "a"), (file, "a.b"), (dir, "ab")]).unwrap();
        for bad in [
            &[(file, "b"), (file, "a")][..],
            &[(file, "a"), (file, "a")],
            &[(file, "a"), (file, "a.b"), (dir, "a")],
            &[(file, ".git")],
            &[(dir, "GIT~1")],
            &[(dir, "..")],
            &[(dir, ".")],
        ] {
            tree(bad).unwrap_err();
        }
        let object = |kind, text: &str| Object::new(format, kind, Vec::from(text)).unwrap();
        let padded = [b"0100644 a\0", id.as_bytes()].concat();
        check_object(format, &Object::new(format, Kind::Tree, padded).unwrap()).unwrap();
        let nothing = [b"100644 a\0", &[0; 20][..]].concat();
        check_object(format, &Object::new(format, Kind::Tree, nothing).unwrap()).unwrap_err();
        let tag = "object e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\ntype blob\n";
        check_object(format, &object(Kind::Tag, tag)).unwrap_err();
        check_object(
            format,
            &object(Kind::Tag, &(tag.to_string() + "tag v1\n\nm")),
        )
        .unwrap();
        check_object(format, &object(Kind::Commit, "tree x")).unwrap_err();
        check_object(Format::Native, &object(Kind::Tree, "nonsense")).unwrap_err();
    }
}

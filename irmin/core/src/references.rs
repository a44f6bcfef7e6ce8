//! What an object refers to: the one walk of collectors, copies and checks.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::raw::{CommitData, Malformed, Mode, TagData, TreeEntries};
use crate::tree::page::Page;
use crate::{BackendError, Format, Id, Kind, Object};

/// One id that an object refers to, and what it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The kind that the object says it has.
    pub kind: Kind,
    /// Which object.
    pub id: Id,
    /// Its name in a directory; empty for what has none.
    pub name: &'a [u8],
}

/// Adds what an object refers to, see [`links`].
///
/// # Errors
/// As [`links`]; what was added until then is right.
pub fn references(
    format: Format,
    object: &Object,
    is_shallow: &dyn Fn(&Id) -> bool,
    into: &mut Vec<Id>,
) -> Result<(), BackendError> {
    links(format, object, is_shallow, &mut |link| into.push(link.id))
}

/// Shows what an object refers to, and a store that has the object has to have too: of a tree its
/// pages, directories and contents (not modules, which are commits of other repositories), of a
/// commit its tree and, unless it `is_shallow`, its parents, of a tag its target, of a blob nothing.
///
/// An id may come more than once. Where a tree was written by another program its order is not
/// checked, as in Git.
///
/// # Errors
/// [`BackendError::Corrupt`] if the object's bytes mean nothing.
pub fn links(
    format: Format,
    object: &Object,
    is_shallow: &dyn Fn(&Id) -> bool,
    visit: &mut dyn FnMut(Link<'_>),
) -> Result<(), BackendError> {
    show(format, object, is_shallow, visit).map_err(|malformed| BackendError::Corrupt {
        what: object.id.to_string() + " (" + &malformed.to_string() + ")",
    })
}

fn show(
    format: Format,
    object: &Object,
    is_shallow: &dyn Fn(&Id) -> bool,
    visit: &mut dyn FnMut(Link<'_>),
) -> Result<(), Malformed> {
    let mut nameless = |kind, id| {
        visit(Link {
            kind,
            id,
            name: b"",
        })
    };
    match object.kind {
        Kind::Blob => {}
        Kind::Tree if format.is_git() => {
            for entry in TreeEntries::new(format, &object.data) {
                let entry = entry?;
                if entry.mode != Mode::Module {
                    visit(Link {
                        kind: kind_of(entry.mode),
                        id: entry.id,
                        name: entry.name,
                    });
                }
            }
        }
        Kind::Tree => pages(format, object.data.clone(), visit)?,
        Kind::Commit => {
            let (tree, parents) = CommitData::decode_links(format, &object.data)?;
            nameless(Kind::Tree, tree);
            if !is_shallow(&object.id) {
                for parent in parents {
                    nameless(Kind::Commit, parent);
                }
            }
        }
        Kind::Tag => {
            let tag = TagData::decode(format, &object.data)?;
            nameless(tag.kind, tag.target);
        }
    }
    Ok(())
}

fn kind_of(mode: Mode) -> Kind {
    if mode == Mode::Dir {
        Kind::Tree
    } else {
        Kind::Blob
    }
}

fn pages(format: Format, data: Bytes, visit: &mut dyn FnMut(Link<'_>)) -> Result<(), Malformed> {
    let page = Page::parse(format, data)?;
    for at in 0..page.len() {
        if page.level > 0 {
            visit(Link {
                kind: Kind::Tree,
                id: page.child(at).0,
                name: b"",
            });
            continue;
        }
        let entry = page.entry(at);
        if let Some(id) = entry.id().filter(|_| entry.mode != Mode::Module) {
            visit(Link {
                kind: kind_of(entry.mode),
                id,
                name: page.name(at),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::{Backend, Info, Memory, Repo, Signature};

    #[test]
    fn all_that_was_written_and_nothing_else_is_reached_from_the_head() {
        for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
            let backend = alloc::sync::Arc::new(Memory::new(format));
            let repo = Repo::new(backend.clone());
            let main = repo.branch("main").unwrap();
            let info = Info::new(Signature::new("A", "a@b", 1, 0), "m\n");
            for round in 0..3 {
                main.change(&info, |edit| {
                    for n in 0..2000 {
                        let contents = alloc::format!("{n} {round}").repeat(n % 300);
                        edit.set(alloc::format!("d{}/{n}", n % 2), contents)?;
                    }
                    Ok(())
                })
                .unwrap();
            }
            let head = main.head().unwrap().unwrap();
            let reached = |is_shallow: &dyn Fn(&Id) -> bool| {
                let mut open = alloc::vec![head.id()];
                let mut seen = BTreeSet::new();
                while let Some(id) = open.pop() {
                    if seen.insert(id) {
                        let object = backend.read(&id).unwrap().expect("it is here");
                        references(format, &object, is_shallow, &mut open).unwrap();
                    }
                }
                seen
            };
            let all: BTreeSet<Id> = backend.ids("", usize::MAX).unwrap().into_iter().collect();
            assert_eq!(reached(&|_| false), all, "{format:?}");
            let cut = reached(&|id| *id == head.id());
            assert!(
                cut.len() < all.len() && !cut.contains(&head.parents()[0]),
                "{format:?}: a shallow commit's parents are left out"
            );
        }
    }

    #[test]
    fn modules_are_not_asked_for_and_nonsense_is_damage() {
        let format = Format::GitSha1;
        let id = format.id(Kind::Blob, b"x").unwrap();
        let entry = |mode: &str, name: &str| {
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_bytes()].concat()
        };
        let object = |kind, data: Vec<u8>| Object::new(format, kind, data).unwrap();
        let mut into = Vec::new();
        // Out of order too, as old programs wrote it.
        let tree = [
            entry("160000", "m"),
            entry("100644", "b"),
            entry("40000", "a"),
        ]
        .concat();
        references(format, &object(Kind::Tree, tree), &|_| false, &mut into).unwrap();
        assert_eq!(into, [id, id]);
        for kind in [Kind::Tree, Kind::Commit, Kind::Tag] {
            let nonsense = object(kind, b"tree x".to_vec());
            let result = references(format, &nonsense, &|_| false, &mut into);
            assert!(
                matches!(result, Err(BackendError::Corrupt { .. })),
                "{kind}"
            );
        }
    }
}

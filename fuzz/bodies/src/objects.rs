//! Objects of the store, in Git's formats and the native one, and the names that lead to them.

use std::sync::Arc;

use irmin::raw::{CommitData, TagData, TreeEntries};
use irmin::{
    Backend, Format, Info, Kind, Memory, Object, RefName, Repo, Signature, check_object, references,
};

/// The first byte chooses the format, the second what the rest is.
pub fn objects(input: &[u8]) {
    let [format, what, rest @ ..] = input else {
        return;
    };
    let format = [Format::GitSha1, Format::GitSha256, Format::Native][usize::from(format % 3)];
    let kinds = [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag];
    match kinds.get(usize::from(what % 5)) {
        Some(kind) => object(format, *kind, rest),
        None => name(format, &String::from_utf8_lossy(rest)),
    }
}

/// What is read is written back the same, and nothing that uses it panics or has no end.
fn object(format: Format, kind: Kind, data: &[u8]) {
    let Ok(object) = Object::new(format, kind, data.to_vec()) else {
        return;
    };
    let mut links = Vec::new();
    let linked = references(format, &object, &|_| false, &mut links).is_ok();
    if check_object(format, &object).is_ok() {
        assert!(linked, "what is sound says what it refers to");
    }
    match kind {
        Kind::Commit => {
            let commit = CommitData::decode(format, data);
            if let Ok(commit) = &commit {
                assert_eq!(commit.encode(), data, "bit for bit");
                let (tree, parents) = CommitData::decode_links(format, data).expect("a part of it");
                assert_eq!((tree, &parents), (commit.tree, &commit.parents));
                assert_eq!(links, [&[tree][..], &parents].concat());
            }
        }
        Kind::Tag => {
            if let Ok(tag) = TagData::decode(format, data) {
                assert_eq!(links, [tag.target]);
            }
        }
        Kind::Tree if format.is_git() => {
            let entries: Result<Vec<_>, _> = TreeEntries::new(format, data).collect();
            if let Ok(entries) = entries {
                let again: Vec<u8> = entries
                    .iter()
                    .flat_map(|entry| entry.bytes)
                    .copied()
                    .collect();
                assert_eq!(again, data, "bit for bit");
            }
        }
        _ => {}
    }
    let backend = Arc::new(Memory::new(format));
    backend
        .write(std::slice::from_ref(&object))
        .expect("memory takes it");
    let repo = Repo::new(backend);
    let tree = repo.tree(&object.id);
    let listed = tree.list().take_while(Result::is_ok).count();
    let _ = (tree.len(), tree.get("a"), tree.walk().take(1000).count());
    let mut edit = tree.edit();
    if edit.set("a", "contents").is_ok()
        && let Ok(new) = edit.finish()
    {
        assert_eq!(
            new.get("a").expect("made here").expect("set here"),
            "contents"
        );
        assert!(new.diff(&tree).take(1000).count() > 0 || listed > 0);
    }
    let _ = repo.resolve(&object.id.to_string());
    if let Ok(commit) = repo.commit(&object.id) {
        let _ = (commit.log().take(1000).count(), repo.lcas(&commit, &commit));
    }
}

/// A name keeps the rules, and one that resolves leads to a commit that is here.
fn name(format: Format, text: &str) {
    for name in [RefName::new(text), RefName::branch(text)]
        .into_iter()
        .flatten()
    {
        let name = name.as_str();
        assert!(
            !name.contains("..") && !name.contains("//") && !name.ends_with('/'),
            "{name}"
        );
        assert!(
            name.split('/')
                .all(|part| !part.starts_with('.') && !part.ends_with(".lock")),
            "{name}"
        );
    }
    let repo = Repo::new(Memory::new(format));
    let main = repo.branch("main").expect("a name");
    let info = |n| Info::new(Signature::new("Ada", "ada@example.org", n, 0), "m\n");
    let commits: Vec<_> = (0..3)
        .map(|n| {
            main.change(&info(n), |edit| edit.set("a", n.to_string()))
                .expect("commits")
        })
        .collect();
    if let Ok(found) = repo.resolve(text) {
        assert!(commits.contains(&found), "{text}");
    }
}

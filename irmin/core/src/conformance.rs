//! What every backend keeps, as a suite: each sentence of [`Backend`]'s contract that can be seen
//! from outside. A backend's own tests call [`check`] (and, where it persists, [`check_reopened`]).

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::raw::{CommitData, Signature};
use crate::{Backend, Expect, Format, Id, Kind, Object, RefEdit, RefName, UpdateError};

/// Checks a backend. `fresh` makes a new, empty store each time it is called.
///
/// # Panics
/// At the first promise that is not kept, with a message that names it.
pub fn check<B: Backend>(fresh: &mut dyn FnMut() -> B) {
    objects_are_read_back(&fresh());
    abbreviated_ids_are_found(&fresh());
    names_move_only_when_expected(&fresh());
    several_names_move_together_or_not_at_all(&fresh());
    a_name_is_no_directory_of_another(&fresh());
    a_name_points_only_to_what_is_here(&fresh());
    names_are_listed_in_order(&fresh());
    the_generation_changes_with_every_move(&fresh());
}

/// Checks that what was flushed is there for who opens the store again: `reopen` drops the value it
/// is given and opens the same store.
///
/// # Panics
/// At the first promise that is not kept.
pub fn check_reopened<B: Backend>(store: B, reopen: &mut dyn FnMut(B) -> B) {
    let objects = sample(store.format());
    store.write(&objects).expect("writes");
    store
        .update(&[set("refs/heads/kept", Expect::Missing, objects[0].id)])
        .expect("updates");
    store.flush().expect("flushes");
    let store = reopen(store);
    for object in &objects {
        assert_eq!(
            store.read(&object.id).expect("reads").as_ref(),
            Some(object),
            "an object survives reopening"
        );
    }
    assert_eq!(
        store.head(&name("refs/heads/kept")).expect("reads"),
        Some(objects[0].id),
        "a name survives reopening"
    );
    store.update(&[delete("refs/heads/kept")]).expect("deletes");
    store.flush().expect("flushes");
    let store = reopen(store);
    assert_eq!(
        store.head(&name("refs/heads/kept")).expect("reads"),
        None,
        "a deletion survives reopening"
    );
}

/// Moves one name from several threads' `attempts` at once. Give it to as many threads as you like,
/// then call [`counted`] with the sum of what they returned.
///
/// Each success appends one commit to `refs/heads/race`; the returned number is how many succeeded.
///
/// # Panics
/// If an update fails for another reason than that the name has moved.
pub fn race(store: &dyn Backend, writer: u32, attempts: u32) -> u32 {
    let mut won = 0;
    for attempt in 0..attempts {
        let head = store.head(&name("refs/heads/race")).expect("reads");
        let [tree, object] = commit(
            store.format(),
            head.as_slice(),
            &alloc::format!("{writer} {attempt}"),
        );
        store.write(&[tree, object.clone()]).expect("writes");
        match store.update(&[set("refs/heads/race", head.into(), object.id)]) {
            Ok(()) => won += 1,
            Err(UpdateError::Moved { .. }) => {}
            Err(other) => panic!("a lost race is `Moved`, not: {other}"),
        }
    }
    won
}

/// Checks that exactly `won` updates of [`race`] are in the chain.
///
/// # Panics
/// If one was lost, or one that failed is there.
pub fn counted(store: &dyn Backend, won: u32) {
    let mut head = store.head(&name("refs/heads/race")).expect("reads");
    let mut length = 0;
    while let Some(id) = head {
        length += 1;
        let data = store
            .read(&id)
            .expect("reads")
            .expect("every link can be read")
            .data;
        head = CommitData::decode(store.format(), &data)
            .expect("is a commit")
            .parents
            .first()
            .copied();
    }
    assert_eq!(
        length, won,
        "every acknowledged update is in the chain, and no other"
    );
}

fn objects_are_read_back(store: &dyn Backend) {
    let objects = sample(store.format());
    for object in &objects {
        assert_eq!(
            store.read(&object.id).expect("reads"),
            None,
            "what was not written is not here"
        );
        assert!(
            !store.contains(&object.id).expect("answers"),
            "what was not written is not here"
        );
    }
    store.write(&objects).expect("writes");
    store
        .write(&objects[..2])
        .expect("what is here may be written again");
    store.write(&[]).expect("nothing may be written");
    for object in &objects {
        assert_eq!(
            store.read(&object.id).expect("reads").as_ref(),
            Some(object),
            "what was written is read back"
        );
        assert!(
            store.contains(&object.id).expect("answers"),
            "what was written is here"
        );
    }
    store.flush().expect("flushes");
    for object in &objects {
        assert_eq!(
            store.read(&object.id).expect("reads").as_ref(),
            Some(object),
            "a flush changes nothing"
        );
    }
}

fn abbreviated_ids_are_found(store: &dyn Backend) {
    let objects = sample(store.format());
    store.write(&objects).expect("writes");
    let mut all: Vec<Id> = objects.iter().map(|object| object.id).collect();
    all.sort();
    assert_eq!(
        store.ids("", 1000).expect("lists"),
        all,
        "the empty prefix lists everything in order"
    );
    assert_eq!(
        store.ids("", 3).expect("lists"),
        all[..3],
        "no more than the limit"
    );
    for id in &all {
        let hex = id.to_string();
        assert_eq!(
            store.ids(&hex, 9).expect("lists"),
            [*id],
            "a whole id finds itself"
        );
        let seven: Vec<Id> = all
            .iter()
            .filter(|other| other.begins_with(&hex[..3]))
            .copied()
            .collect();
        assert_eq!(
            store.ids(&hex[..3], 1000).expect("lists"),
            seven,
            "an odd number of digits"
        );
    }
}

fn names_move_only_when_expected(store: &dyn Backend) {
    let [a, b] = two(store);
    let main = name("refs/heads/main");
    let moved = |expect, new| match store.update(&[RefEdit {
        name: main.clone(),
        expect,
        new,
    }]) {
        Ok(()) => true,
        Err(UpdateError::Moved { found, .. }) => {
            assert_eq!(
                found,
                store.head(&main).expect("reads"),
                "the error says what was found"
            );
            false
        }
        Err(other) => panic!("an expectation that fails is `Moved`, not: {other}"),
    };
    assert!(!moved(Expect::Is(a), Some(b)), "there is nothing yet");
    assert!(
        !moved(Expect::Is(a), None),
        "there is nothing to delete yet"
    );
    assert!(moved(Expect::Any, None), "deleting nothing does nothing");
    assert!(moved(Expect::Missing, Some(a)), "the first value");
    assert!(!moved(Expect::Missing, Some(b)), "there is a value now");
    assert!(!moved(Expect::Is(b), Some(b)), "it is another value");
    assert_eq!(
        store.head(&main).expect("reads"),
        Some(a),
        "a failed update moves nothing"
    );
    assert!(
        moved(Expect::Is(a), Some(b))
            && moved(Expect::Any, Some(a))
            && moved(Expect::Is(a), Some(a))
    );
    assert!(!moved(Expect::Is(b), None) && moved(Expect::Is(a), None));
    assert_eq!(
        store.head(&main).expect("reads"),
        None,
        "a deleted name is gone"
    );
    assert!(moved(Expect::Missing, Some(b)), "and can be made again");
}

fn several_names_move_together_or_not_at_all(store: &dyn Backend) {
    let [a, b] = two(store);
    store
        .update(&[
            set("refs/heads/x", Expect::Missing, a),
            set("refs/tags/y", Expect::Missing, a),
        ])
        .expect("updates");
    let both = [
        set("refs/heads/x", Expect::Is(a), b),
        set("refs/tags/y", Expect::Is(b), b),
    ];
    let error = store.update(&both).expect_err("the second does not hold");
    assert!(matches!(error, UpdateError::Moved { name, .. } if name.as_str() == "refs/tags/y"));
    assert_eq!(
        store.head(&name("refs/heads/x")).expect("reads"),
        Some(a),
        "all or nothing"
    );
    let rename = [
        delete("refs/heads/x"),
        set("refs/heads/z", Expect::Missing, a),
    ];
    store.update(&rename).expect("a rename is one update");
    assert_eq!(store.head(&name("refs/heads/x")).expect("reads"), None);
    assert_eq!(store.head(&name("refs/heads/z")).expect("reads"), Some(a));
    let twice = [
        set("refs/heads/z", Expect::Any, b),
        set("refs/heads/z", Expect::Any, a),
    ];
    assert!(
        matches!(store.update(&twice), Err(UpdateError::Clash { .. })),
        "one edit a name"
    );
    store.update(&[]).expect("no edit at all is fine");
}

fn a_name_is_no_directory_of_another(store: &dyn Backend) {
    let [a, _] = two(store);
    let clashes = |edits: &[RefEdit]| matches!(store.update(edits), Err(UpdateError::Clash { .. }));
    store
        .update(&[set("refs/heads/d/e", Expect::Missing, a)])
        .expect("updates");
    store
        .update(&[set("refs/heads/d-e", Expect::Missing, a)])
        .expect("no clash: another name");
    assert!(
        clashes(&[set("refs/heads/d", Expect::Missing, a)]),
        "a directory is in the way"
    );
    assert!(
        clashes(&[set("refs/heads/d/e/f", Expect::Missing, a)]),
        "a name is in the way"
    );
    assert!(
        clashes(&[
            set("refs/heads/n", Expect::Any, a),
            set("refs/heads/n/m", Expect::Any, a)
        ]),
        "both new"
    );
    store
        .update(&[
            delete("refs/heads/d/e"),
            set("refs/heads/d", Expect::Missing, a),
        ])
        .expect("it went away");
    assert_eq!(store.head(&name("refs/heads/d")).expect("reads"), Some(a));
}

fn a_name_points_only_to_what_is_here(store: &dyn Backend) {
    let missing = Object::new(store.format(), Kind::Blob, &b"not written"[..])
        .expect("no attack")
        .id;
    let error = store
        .update(&[set("refs/heads/m", Expect::Any, missing)])
        .expect_err("no such object");
    assert!(matches!(error, UpdateError::NoSuchObject { id, .. } if id == missing));
    assert_eq!(store.head(&name("refs/heads/m")).expect("reads"), None);
}

fn names_are_listed_in_order(store: &dyn Backend) {
    let [a, b] = two(store);
    for (at, id) in [
        ("refs/heads/b", b),
        ("refs/heads/a/x", a),
        ("refs/tags/t", b),
        ("refs/heads/a-b", a),
    ] {
        store
            .update(&[set(at, Expect::Missing, id)])
            .expect("updates");
    }
    let listed = |prefix: &str| -> Vec<_> {
        store
            .heads(prefix)
            .expect("lists")
            .into_iter()
            .map(|(name, id)| (name.as_str().to_string(), id))
            .collect()
    };
    let heads = [
        ("refs/heads/a-b", a),
        ("refs/heads/a/x", a),
        ("refs/heads/b", b),
    ];
    let heads: Vec<_> = heads.map(|(name, id)| (name.to_string(), id)).into();
    assert_eq!(listed("refs/heads/"), heads);
    assert_eq!(
        listed("refs/heads/a"),
        heads[..2],
        "a prefix of text, not of parts"
    );
    assert_eq!(listed("refs/").len(), 4);
    assert_eq!(listed("refs/none/"), []);
}

fn the_generation_changes_with_every_move(store: &dyn Backend) {
    let [a, b] = two(store);
    let mut last = store.generation().expect("answers");
    let mut steps = |edit: RefEdit| {
        store.update(&[edit]).expect("updates");
        let now = store.generation().expect("answers");
        assert_ne!(now, last, "a move changes the generation");
        last = now;
    };
    steps(set("refs/heads/g", Expect::Missing, a));
    steps(set("refs/heads/g", Expect::Is(a), b));
    steps(delete("refs/heads/g"));
}

/// Valid objects of every kind and of several sizes: a Git repository checks what it keeps.
fn sample(format: Format) -> Vec<Object> {
    let object = |kind, data: Vec<u8>| Object::new(format, kind, data).expect("no attack");
    let mut objects: Vec<Object> = (0..20u32)
        .map(|n| {
            object(
                Kind::Blob,
                (0..n.pow(4))
                    .map(|i| (i.wrapping_mul(2654435761) >> (n % 25)) as u8)
                    .collect(),
            )
        })
        .collect();
    let [tree, commit] = commit(format, &[], "message\n");
    let tag = alloc::format!(
        "object {}\ntype commit\ntag v1\ntagger {WHO}\n\nmessage\n",
        commit.id
    );
    objects.splice(0..0, [commit, tree, object(Kind::Tag, tag.into_bytes())]);
    objects
}

fn two(store: &dyn Backend) -> [Id; 2] {
    let [tree, a] = commit(store.format(), &[], "a\n");
    let [_, b] = commit(store.format(), &[], "b\n");
    let ids = [a.id, b.id];
    store.write(&[tree, a, b]).expect("writes");
    ids
}

const WHO: &str = "A <a@b> 1429538400 +0200";

/// The empty tree and a commit of it.
fn commit(format: Format, parents: &[Id], message: &str) -> [Object; 2] {
    let tree = Object::new(format, Kind::Tree, crate::raw::empty_tree(format)).expect("no attack");
    let who = Signature::from_bytes(WHO.as_bytes()).expect("one line");
    let data = CommitData {
        tree: tree.id,
        parents: parents.into(),
        author: who.clone(),
        committer: who,
        headers: vec![],
        message: Some(message.into()),
    };
    let commit = Object::new(format, Kind::Commit, data.encode()).expect("no attack");
    [tree, commit]
}

fn name(name: &str) -> RefName {
    RefName::new(name).expect("a good name")
}

fn set(at: &str, expect: Expect, new: Id) -> RefEdit {
    RefEdit {
        name: name(at),
        expect,
        new: Some(new),
    }
}

fn delete(at: &str) -> RefEdit {
    RefEdit {
        name: name(at),
        expect: Expect::Any,
        new: None,
    }
}

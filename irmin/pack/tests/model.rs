//! Whatever is done, the engine answers as the backend in memory does; also after it was opened again.

use irmin::{Backend, Expect, Format, Id, Kind, Memory, Object, RefEdit, RefName};
use irmin_pack::{MIN_SEGMENT, Pack, Ram};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, u16)>),
    Update(Vec<(u8, Option<u8>, u8)>),
    Reopen,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let object = (any::<u8>(), prop_oneof![0..300u16, 0..30_000u16]);
    let edit = (0..12u8, prop::option::of(any::<u8>()), 0..3u8);
    prop_oneof![
        4 => prop::collection::vec(object, 0..5).prop_map(Step::Write),
        4 => prop::collection::vec(edit, 0..4).prop_map(Step::Update),
        1 => Just(Step::Reopen),
        1 => Just(Step::Flush),
    ]
}

fn object(n: u8, len: u16) -> Object {
    let kind = [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag][usize::from(n % 4)];
    Object::new(Format::GitSha1, kind, vec![n; usize::from(len)]).unwrap()
}

fn names(n: u8) -> RefName {
    let names = [
        "a", "a/b", "a/c", "b", "b/c/d", "b/c", "c", "d", "e", "f", "g", "h",
    ];
    RefName::branch(names[usize::from(n)]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_engine_does_what_memory_does(steps in prop::collection::vec(step(), 1..40)) {
        let memory = Memory::new(Format::GitSha1);
        let storage = Arc::new(Ram::default());
        let mut pack = Pack::create_with(storage.clone(), Format::GitSha1, MIN_SEGMENT).unwrap();
        let mut all: Vec<Id> = Vec::new();
        for step in steps {
            match step {
                Step::Write(objects) => {
                    let objects: Vec<Object> =
                        objects.into_iter().map(|(n, len)| object(n, len)).collect();
                    memory.write(&objects).unwrap();
                    pack.write(&objects).unwrap();
                    all.extend(objects.iter().map(|object| object.id));
                }
                Step::Update(edits) => {
                    let pick = |n: u8| all.get(usize::from(n) % all.len().max(1)).copied();
                    let edits: Vec<RefEdit> = edits
                        .into_iter()
                        .map(|(name, new, expect)| RefEdit {
                            name: names(name),
                            expect: match expect {
                                0 => Expect::Missing,
                                1 => memory.head(&names(name)).unwrap().into(),
                                _ => Expect::Any,
                            },
                            new: new.and_then(pick),
                        })
                        .collect();
                    let (ours, theirs) = (pack.update(&edits), memory.update(&edits));
                    prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
                }
                Step::Reopen => {
                    drop(pack);
                    pack = Pack::open(storage.clone()).unwrap();
                }
                Step::Flush => pack.flush().unwrap(),
            }
            prop_assert_eq!(pack.heads("refs/heads/").unwrap(), memory.heads("refs/heads/").unwrap());
            prop_assert_eq!(pack.heads("refs/heads/b").unwrap(), memory.heads("refs/heads/b").unwrap());
        }
        for id in &all {
            prop_assert_eq!(pack.read(id).unwrap(), memory.read(id).unwrap());
        }
        for prefix in ["", "0", "a7", "abc", "zz"] {
            prop_assert_eq!(pack.ids(prefix, 7).unwrap(), memory.ids(prefix, 7).unwrap());
        }
        let report = pack.check().unwrap();
        prop_assert!(report.is_sound(), "{:?}", report);
    }
}

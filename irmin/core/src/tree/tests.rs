use alloc::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use crate::{Format, Memory, Mode, Path, Repo, Tree, WriteError};

const FORMATS: [Format; 3] = [Format::GitSha1, Format::GitSha256, Format::Native];

type Model = BTreeMap<String, Bytes>;

fn repo(format: Format) -> Repo {
    Repo::new(Memory::new(format))
}

fn built(repo: &Repo, model: &Model) -> Tree {
    let mut edit = repo.empty_tree().edit();
    for (path, contents) in model {
        edit.set(path, contents.clone()).unwrap();
    }
    edit.finish().unwrap()
}

fn read(tree: &Tree) -> Model {
    tree.walk()
        .map(|file| {
            let (path, entry) = file.unwrap();
            (path.to_string(), tree.contents(&entry).unwrap())
        })
        .collect()
}

/// Paths at which a file and a directory of one name meet now and then.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a.c"), Just("a0"), Just("b-")];
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn edits() -> impl Strategy<Value = Vec<(String, Option<u16>)>> {
    prop::collection::vec((path(), prop::option::weighted(0.7, any::<u16>())), 0..30)
}

/// What an edit does to a plain map. `false` where a file or directory is in the way.
fn edit_model(model: &mut Model, path: &str, value: Option<Bytes>) -> bool {
    let inside = path.to_string() + "/";
    match value {
        Some(value) => {
            let above = path
                .match_indices('/')
                .any(|(at, _)| model.contains_key(&path[..at]));
            if above || model.keys().any(|key| key.starts_with(&inside)) {
                return false;
            }
            model.insert(path.to_string(), value);
        }
        None => model.retain(|key, _| key != path && !key.starts_with(&inside)),
    }
    true
}

fn contents(value: u16) -> Bytes {
    // Some stand in a page, some in a blob.
    Bytes::from(value.to_string().repeat(usize::from(value) % 300))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_is_the_map_that_its_edits_make(steps in prop::collection::vec(edits(), 1..4)) {
        for format in FORMATS {
            let repo = repo(format);
            let (mut tree, mut model) = (repo.empty_tree(), Model::new());
            for edits in &steps {
                let (old, before) = (tree.clone(), model.clone());
                let mut edit = tree.edit();
                for (path, value) in edits {
                    let value = value.map(contents);
                    let result = match value.clone() {
                        Some(value) => edit.set(path, value).is_ok(),
                        None => edit.remove(path).is_ok(),
                    };
                    prop_assert_eq!(result, edit_model(&mut model, path, value), "{:?} {}", format, path);
                    prop_assert_eq!(edit.get(path).unwrap(), model.get(path).cloned());
                }
                tree = edit.finish().unwrap();
                prop_assert_eq!(&read(&tree), &model);
                prop_assert_eq!(&read(&old), &before, "the old tree is as it was");
                prop_assert_eq!(tree.id(), built(&repo, &model).id(), "equal contents have equal ids");
                let mut changed = BTreeMap::new();
                for difference in old.diff(&tree) {
                    let difference = difference.unwrap();
                    let contents = |tree: &Tree, entry: Option<crate::Entry>| {
                        entry.map(|entry| tree.contents(&entry).unwrap())
                    };
                    let sides = (contents(&old, difference.old), contents(&tree, difference.new));
                    prop_assert!(sides.0 != sides.1);
                    let twice = changed.insert(difference.path.to_string(), sides);
                    // A file that became a directory (or back) is told once for each.
                    prop_assert!(twice.is_none());
                }
                let keys = before.keys().chain(model.keys());
                let expected: BTreeMap<_, _> = keys
                    .filter(|key| before.get(*key) != model.get(*key))
                    .map(|key| (key.clone(), (before.get(key).cloned(), model.get(key).cloned())))
                    .collect();
                prop_assert_eq!(changed, expected, "{:?}", format);
            }
        }
    }

    #[test]
    fn a_large_native_directory_has_the_pages_of_its_contents(
        start in prop::collection::btree_set(0u32..4000, 0..1500),
        steps in prop::collection::vec(prop::collection::vec((0u32..4000, any::<bool>(), 0u16..90), 1..40), 1..6),
    ) {
        let repo = repo(Format::Native);
        let name = |n: u32| alloc::format!("key-{n:06}");
        let mut model: Model = start.into_iter().map(|n| (name(n), Bytes::from(n.to_string().repeat(9)))).collect();
        let mut tree = built(&repo, &model);
        for step in steps {
            let mut edit = tree.edit();
            let before = model.clone();
            for (n, put, size) in step {
                if put {
                    let value = Bytes::from("v".repeat(size.into()));
                    edit.set(name(n), value.clone()).unwrap();
                    model.insert(name(n), value);
                } else {
                    edit.remove(name(n)).unwrap();
                    model.remove(&name(n));
                }
            }
            let new = edit.finish().unwrap();
            prop_assert_eq!(new.id(), built(&repo, &model).id(), "whatever the order, the pages are the same");
            prop_assert_eq!(&read(&new), &model);
            prop_assert_eq!(new.len().unwrap(), model.len() as u64);
            let changed: Vec<_> = tree.diff(&new).map(|one| one.unwrap().path.to_string()).collect();
            let expected: Vec<_> = {
                let keys: alloc::collections::BTreeSet<_> = before.keys().chain(model.keys()).collect();
                keys.into_iter().filter(|key| before.get(*key) != model.get(*key)).cloned().collect()
            };
            prop_assert_eq!(changed, expected);
            let from = name(2000);
            let listed: Vec<_> = new.list_from(&from).map(|entry| entry.unwrap().0).collect();
            let expected: Vec<_> = model.range(from..).map(|(key, _)| Bytes::from(key.clone())).collect();
            prop_assert_eq!(listed, expected);
            tree = new;
        }
    }

    #[test]
    fn bytes_that_are_no_page_are_refused(data in prop::collection::vec(any::<u8>(), 0..200), format in 0..3usize) {
        let format = FORMATS[format];
        if let Ok(page) = super::page::Page::parse(format, data.into()) {
            for at in 0..page.len() {
                let _ = page.name(at);
                if page.level == 0 {
                    let _ = page.entry(at);
                } else {
                    let _ = page.child(at);
                }
            }
        }
    }
}

#[test]
fn renames_move_files_and_directories_with_what_changed_inside() {
    for format in FORMATS {
        let repo = repo(format);
        let mut edit = repo.empty_tree().edit();
        for path in ["a/x", "a/y/z", "b"] {
            edit.set(path, path.as_bytes().to_vec()).unwrap();
        }
        let mut edit = edit.finish().unwrap().edit();
        edit.set("a/new", "n").unwrap();
        edit.rename("a", "c/d").unwrap();
        edit.rename("b", "a").unwrap();
        let tree = edit.finish().unwrap();
        let paths: Vec<_> = read(&tree).into_keys().collect();
        assert_eq!(paths, ["a", "c/d/new", "c/d/x", "c/d/y/z"]);
        let mut edit = tree.edit();
        assert!(matches!(
            edit.rename("none", "x"),
            Err(WriteError::NotFound { .. })
        ));
        assert!(matches!(
            edit.rename("c", "c/d/e"),
            Err(WriteError::FileInTheWay { .. })
        ));
        assert!(matches!(
            edit.rename("a", "c"),
            Err(WriteError::DirInTheWay { .. })
        ));
        assert!(matches!(
            edit.rename("c", "a/b"),
            Err(WriteError::FileInTheWay { .. })
        ));
        assert_eq!(edit.finish().unwrap(), tree, "what failed changed nothing");
        edit.remove("").unwrap();
        assert_eq!(edit.finish().unwrap(), repo.empty_tree());
    }
}

#[test]
fn modes_are_kept_by_writes_and_links_are_no_files() {
    for format in FORMATS {
        let repo = repo(format);
        let mut edit = repo.empty_tree().edit();
        edit.set_mode("run", Mode::Executable, "1").unwrap();
        edit.set_mode("to", Mode::Link, "run").unwrap();
        edit.set("run", "2").unwrap();
        assert_eq!(edit.mode("run").unwrap(), Some(Mode::Executable));
        assert!(matches!(
            edit.set("run/x", ""),
            Err(WriteError::FileInTheWay { .. })
        ));
        assert!(matches!(
            edit.set_mode("d", Mode::Dir, ""),
            Err(WriteError::DirInTheWay { .. })
        ));
        let tree = edit.finish().unwrap();
        assert_eq!(tree.entry("to").unwrap().unwrap().mode(), Mode::Link);
        assert_eq!(tree.get("to").unwrap().unwrap(), "run");
        assert_eq!(tree.get("to/x").unwrap(), None);
        for bad in [".git/config", "a/../b", "a//b", ".GIT"] {
            assert!(tree.edit().set(bad, "").is_err(), "{bad}");
        }
    }
}

#[test]
fn the_deepest_path_is_written_read_and_compared() {
    for format in FORMATS {
        let repo = repo(format);
        let path = "d/".repeat(Path::MAX_DEPTH - 1) + "f";
        let mut edit = repo.empty_tree().edit();
        edit.set(&path, "deep").unwrap();
        assert!(edit.set("d/".repeat(Path::MAX_DEPTH) + "f", "").is_err());
        let tree = edit.finish().unwrap();
        assert_eq!(tree.get(&path).unwrap().unwrap(), "deep");
        assert_eq!(tree.walk().count(), 1);
        assert_eq!(repo.empty_tree().diff(&tree).count(), 1);
        let mut edit = tree.edit();
        assert!(edit.remove(&path).unwrap());
        assert_eq!(
            edit.finish().unwrap(),
            repo.empty_tree(),
            "empty directories are none"
        );
    }
}

#[test]
fn a_change_in_a_large_directory_makes_few_pages_and_a_difference_reads_few() {
    let repo = repo(Format::Native);
    let mut edit = repo.empty_tree().edit();
    for n in 0..100_000 {
        edit.set(alloc::format!("{n:06}"), n.to_string()).unwrap();
    }
    let tree = edit.finish().unwrap();
    let mut edit = tree.edit();
    edit.set("050000", "other").unwrap();
    let (_, new, _) = edit.build().unwrap();
    assert!(new.len() < 8, "{} objects for one change", new.len());
    assert!(new.iter().map(|object| object.data.len()).sum::<usize>() < 32 << 10);
    let changed = edit.finish().unwrap();
    let differences: Vec<_> = tree.diff(&changed).map(Result::unwrap).collect();
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].path.to_string(), "050000");
}

/// Several levels of pages, whole ranges gone and come: more than the random maps above reach.
#[test]
fn pages_of_three_levels_are_those_of_the_contents_after_removals_of_whole_ranges() {
    let repo = repo(Format::Native);
    let mut seed = 1u64;
    let mut random = move |limit: u32| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % u64::from(limit)) as u32
    };
    let name = |n: u32| alloc::format!("{n:08}");
    let value = |n: u32| Bytes::from("x".repeat(n as usize % 50));
    let mut model: Model = (0..20_000).map(|n| (name(n * 7), value(n))).collect();
    let mut tree = built(&repo, &model);
    for _ in 0..4 {
        let mut edit = tree.edit();
        let mut change = |model: &mut Model, n: u32, put: bool| {
            if put {
                edit.set(name(n), value(n + 1)).unwrap();
                model.insert(name(n), value(n + 1));
            } else {
                edit.remove(name(n)).unwrap();
                model.remove(&name(n));
            }
        };
        for _ in 0..20 {
            let n = random(140_000);
            let put = random(2) == 0;
            change(&mut model, n, put);
        }
        let (start, length) = (random(140_000), random(9_000));
        for n in start..start + length {
            change(&mut model, n, false);
        }
        for n in start + length / 3..start + length / 2 {
            change(&mut model, n, true);
        }
        let new = edit.finish().unwrap();
        assert_eq!(new.id(), built(&repo, &model).id());
        assert_eq!(tree.diff(&new).count(), new.diff(&tree).count());
        tree = new;
    }
    let mut edit = tree.edit();
    for key in model.keys().skip(1) {
        edit.remove(key).unwrap();
    }
    let one: Model = model.into_iter().take(1).collect();
    assert_eq!(
        edit.finish().unwrap().id(),
        built(&repo, &one).id(),
        "down to a single leaf"
    );
}

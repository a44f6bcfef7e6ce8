use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    Contents, Format, Journal, Journals, Latest, Latests, Memory, Signature, Tallies, Tally,
};

const FORMATS: [Format; 3] = [Format::GitSha1, Format::GitSha256, Format::Native];

fn info(n: usize) -> Info {
    Info::new(
        Signature::new("A", "a@b", n as i64, 0),
        alloc::format!("{n}\n"),
    )
}

fn tree(repo: &Repo, files: &BTreeMap<String, u8>) -> Tree {
    let mut edit = repo.empty_tree().edit();
    for (path, value) in files {
        let _ = edit.set(path, alloc::vec![b'0' + value]);
    }
    edit.finish().unwrap()
}

fn files() -> impl Strategy<Value = BTreeMap<String, u8>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("a.c"), Just("d")];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    prop::collection::btree_map(path, 0u8..3, 0..8)
}

fn laws<T, M>(merger: &M, base: &T, a: &T, b: &T, is_idempotent: bool) -> Result<(), TestCaseError>
where
    T: Clone + PartialEq + core::fmt::Debug,
    M: Merger<T>,
{
    prop_assert_eq!(
        merger.merge(Some(base), base, a).ok(),
        Some(a.clone()),
        "ours changed nothing"
    );
    prop_assert_eq!(
        merger.merge(Some(base), a, base).ok(),
        Some(a.clone()),
        "theirs changed nothing"
    );
    prop_assert_eq!(
        merger.merge(Some(base), a, b).ok(),
        merger.merge(Some(base), b, a).ok()
    );
    prop_assert_eq!(merger.merge(None, a, b).ok(), merger.merge(None, b, a).ok());
    if is_idempotent {
        prop_assert_eq!(
            merger.merge(Some(base), a, a).ok(),
            Some(a.clone()),
            "both alike"
        );
        prop_assert_eq!(
            merger.merge(None, a, a).ok(),
            Some(a.clone()),
            "both alike, from nothing"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn numbers_sets_and_registers_keep_the_laws(
        n in any::<[i64; 3]>(),
        sets in prop::array::uniform3(prop::collection::btree_set(0u8..6, 0..5)),
        registers in prop::array::uniform3((0u64..3, 0u8..3)),
    ) {
        laws(&equal(), &n[0], &n[1], &n[2], true)?;
        laws(&counter(), &n[0], &n[1], &n[2], false)?;
        laws(&set(), &sets[0], &sets[1], &sets[2], true)?;
        let [a, b, c] = registers.map(|(time, value)| Register { time, value });
        laws(&last_writer(), &a, &b, &c, true)?;
        let logs = sets.map(|set| set.into_iter().collect::<Vec<u8>>());
        let grown: Vec<Vec<u8>> = logs
            .iter()
            .map(|log| log.iter().chain(&logs[0]).copied().collect::<BTreeSet<u8>>().into_iter().collect())
            .collect();
        laws(&log(), &logs[0], &grown[1], &grown[2], true)?;
    }

    #[test]
    fn what_is_put_together_keeps_the_laws(
        maps in prop::array::uniform3(prop::collection::btree_map(0u8..4, (any::<i64>(), 0u8..2), 0..4)),
        options in prop::array::uniform3(prop::option::of(any::<i64>())),
    ) {
        let is_idempotent = false;
        laws(&map(pair(counter(), equal())), &maps[0], &maps[1], &maps[2], is_idempotent)?;
        laws(&optional(counter()), &options[0], &options[1], &options[2], is_idempotent)?;
        laws(&map(equal()), &maps[0], &maps[1], &maps[2], true)?;
        laws(&pair(optional(equal()), equal()), &(options[0], 1), &(options[1], 2), &(options[2], 2), true)?;
    }

    #[test]
    fn merges_of_trees_keep_the_laws(base in files(), a in files(), b in files()) {
        for format in FORMATS {
            let repo = Repo::new(Memory::new(format));
            let [base, a, b] = [&base, &a, &b].map(|files| tree(&repo, files));
            let merged = |base: &Tree, a: &Tree, b: &Tree| a.merge(base, b, &NoRule).unwrap();
            prop_assert_eq!(merged(&base, &base, &a).tree().unwrap(), a.clone());
            prop_assert_eq!(merged(&base, &a, &base).tree().unwrap(), a.clone());
            prop_assert_eq!(merged(&base, &a, &a).tree().unwrap(), a.clone());
            let (one, other) = (merged(&base, &a, &b), merged(&base, &b, &a));
            let paths = |merge: &Merge| -> Vec<Path> {
                merge.conflicts().iter().map(|conflict| conflict.path.clone()).collect()
            };
            prop_assert_eq!(paths(&one), paths(&other));
            if one.conflicts().is_empty() {
                prop_assert_eq!(one.tree().unwrap(), other.tree().unwrap());
            }
        }
    }

    #[test]
    fn a_side_that_changed_nothing_does_not_matter_where_renames_are_followed(
        base in files(), a in files(),
    ) {
        for format in FORMATS {
            let repo = Repo::new(Memory::new(format));
            let [base, a] = [&base, &a].map(|files| tree(&repo, files));
            let rule = FollowRenames::new(files_as_git);
            let merged = |base: &Tree, a: &Tree, b: &Tree| a.merge(base, b, &rule).unwrap();
            prop_assert_eq!(merged(&base, &base, &a).tree().unwrap(), a.clone());
            prop_assert_eq!(merged(&base, &a, &base).tree().unwrap(), a.clone());
            prop_assert_eq!(merged(&base, &a, &a).tree().unwrap(), a.clone());
        }
    }

    /// Devices change their own copy and merge each other's, in any order; once all have met, all
    /// have the same.
    #[test]
    fn containers_converge_in_any_order_of_gossip(
        steps in prop::collection::vec((0usize..3, 0usize..3, 0u8..4), 1..25),
    ) {
        let repo = Repo::new(Memory::new(Format::Native));
        let rule = |path: &Path, values: Three<Option<&Bytes>>| match path.as_bytes() {
            b"count" => typed(Tallies).merge(path, values),
            b"journal" => typed(Journals).merge(path, values),
            _ => typed(Latests).merge(path, values),
        };
        let start = repo.commit_tree(&repo.empty_tree(), &[], &info(0)).unwrap();
        let devices: Vec<Branch> = (0..3).map(|n| repo.branch(&n.to_string()).unwrap()).collect();
        devices.iter().for_each(|device| device.set_head(&start).unwrap());
        let mut sum = 0;
        for (n, (device, other, amount)) in steps.iter().enumerate() {
            let device = &devices[*device];
            if *amount > 0 {
                let read = |edit: &TreeEdit, path| edit.get(path).unwrap().unwrap_or_default();
                device.change(&info(n + 1), |edit| {
                    let mut count = Tally::from_contents(&read(edit, "count")).unwrap();
                    count.add(device.name().short(), i64::from(*amount));
                    edit.set("count", count.to_contents().unwrap())?;
                    let mut journal = Journal::from_contents(&read(edit, "journal")).unwrap();
                    journal.add(7, &n.to_string());
                    edit.set("journal", journal.to_contents().unwrap())?;
                    let mut latest = Latest::default();
                    latest.set(u64::from(*amount), device.name().short(), n.to_string());
                    edit.set("latest", latest.to_contents().unwrap())
                }).unwrap();
                sum += i128::from(*amount);
            } else {
                device.merge(&devices[*other].head().unwrap().unwrap(), &rule, &info(1000 + n)).unwrap();
            }
        }
        for (n, (into, from)) in [(0, 1), (0, 2), (1, 0), (2, 0)].into_iter().enumerate() {
            let from = devices[from].head().unwrap().unwrap();
            devices[into].merge(&from, &rule, &info(2000 + n)).unwrap();
        }
        let trees: Vec<Tree> = devices.iter().map(|device| device.tree().unwrap()).collect();
        prop_assert!(trees[0] == trees[1] && trees[1] == trees[2]);
        let count = trees[0].get("count").unwrap().unwrap_or_default();
        prop_assert_eq!(Tally::from_contents(&count).unwrap().value(), sum);
    }

    #[test]
    fn containers_read_what_they_wrote_and_refuse_the_rest(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = (Tally::from_contents(&bytes), Journal::from_contents(&bytes), Latest::from_contents(&bytes));
        let mut tally = Tally::default();
        tally.add("a b", -3);
        tally.add("c", 5);
        prop_assert_eq!(Tally::from_contents(&tally.to_contents().unwrap()), Ok(tally));
        let mut journal = Journal::default();
        journal.add(3, &String::from_utf8_lossy(&bytes));
        prop_assert_eq!(Journal::from_contents(&journal.to_contents().unwrap()), Ok(journal));
        let mut latest = Latest::default();
        latest.set(9, "me too", bytes);
        prop_assert_eq!(Latest::from_contents(&latest.to_contents().unwrap()), Ok(latest));
    }
}

fn edited(base: &Tree, edits: &[(&str, Option<&str>)]) -> Tree {
    let mut edit = base.edit();
    for (path, contents) in edits {
        match contents {
            Some(contents) => edit.set(path, contents.as_bytes().to_vec()).unwrap(),
            None => drop(edit.remove(path).unwrap()),
        }
    }
    edit.finish().unwrap()
}

#[test]
fn conflicts_say_where_and_why_and_can_be_resolved() {
    for format in FORMATS {
        let repo = Repo::new(Memory::new(format));
        let base = edited(
            &repo.empty_tree(),
            &[("x", Some("0")), ("y", Some("0")), ("d/e", Some("0"))],
        );
        let ours = edited(
            &base,
            &[
                ("x", Some("1")),
                ("y", None),
                ("new", Some("1")),
                ("f/g", Some("1")),
            ],
        );
        let theirs = edited(
            &base,
            &[
                ("x", Some("2")),
                ("y", Some("2")),
                ("f", Some("2")),
                ("d/h", Some("2")),
            ],
        );
        let mut merge = ours.merge(&base, &theirs, &NoRule).unwrap();
        let told: Vec<(String, Why)> = merge
            .conflicts()
            .iter()
            .map(|one| (one.path.to_string(), one.why.clone()))
            .collect();
        let refused = || Why::Refused("both sides changed it".into());
        assert_eq!(told[0], ("f".into(), Why::FileAndDirectory));
        assert_eq!(told[1], ("x".into(), refused()));
        assert_eq!(told[2], ("y".into(), refused()));
        let error = merge.tree().unwrap_err().to_string();
        assert_eq!(error, "3 conflicts to decide, the first at f");
        assert!(merge.resolve("f", Some("file".into())).unwrap());
        assert!(merge.resolve("x", Some("3".into())).unwrap());
        assert!(merge.resolve("y", None).unwrap());
        let merged = merge.tree().unwrap();
        let paths: Vec<String> = merged
            .walk()
            .map(|file| file.unwrap().0.to_string())
            .collect();
        assert_eq!(paths, ["d/e", "d/h", "f", "new", "x"]);
        assert_eq!(merged.get("f").unwrap().unwrap(), "file");
    }
}

#[test]
fn a_merge_writes_and_moves_nothing_until_it_is_committed() {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main").unwrap();
    let set = |n: usize, path: &str| {
        main.change(&info(n), |edit| edit.set(path, n.to_string()))
            .unwrap()
    };
    let base = set(1, "a");
    let ours = set(2, "b");
    let side = edited(&base.tree(), &[("c", Some("3"))]);
    let theirs = repo.commit_tree(&side, &[&base], &info(3)).unwrap();
    let objects = repo.backend().ids("", usize::MAX).unwrap();
    let merge = repo.try_merge(&ours, &theirs, &NoRule).unwrap();
    let tree = merge.tree().unwrap();
    assert_eq!(tree.walk().count(), 3);
    assert_eq!(repo.backend().ids("", usize::MAX).unwrap(), objects);
    assert_eq!(main.head().unwrap().unwrap(), ours);
    let merged = main.commit_merge(&merge, &info(4)).unwrap();
    assert_eq!(
        (merged.tree(), merged.parents()),
        (tree, &[ours.id(), theirs.id()][..])
    );
    assert!(matches!(
        main.commit_merge(&merge, &info(5)),
        Err(MergeError::Commit(CommitError::Update(
            UpdateError::Moved { .. }
        )))
    ));
    assert_eq!(
        main.merge(&theirs, &NoRule, &info(6)).unwrap(),
        merged,
        "what is in already needs no commit"
    );
    let other = repo.branch("other").unwrap();
    other.set_head(&theirs).unwrap();
    assert_eq!(
        other.merge(&merged, &NoRule, &info(7)).unwrap(),
        merged,
        "a fast-forward needs none either"
    );
    assert!(matches!(
        main.fast_forward(&theirs),
        Err(crate::MoveError::NotForwards { .. })
    ));
    let stranger = repo.commit_tree(&side, &[], &info(8)).unwrap();
    assert!(matches!(
        repo.try_merge(&merged, &stranger, &NoRule),
        Err(MergeError::Unrelated)
    ));
}

#[test]
fn several_common_ancestors_are_merged_first() {
    let repo = Repo::new(Memory::new(Format::Native));
    let commit = |n: usize, tree: &Tree, parents: &[&Commit]| {
        repo.commit_tree(tree, parents, &info(n)).unwrap()
    };
    let base = commit(0, &edited(&repo.empty_tree(), &[("n", Some("0"))]), &[]);
    let rule = typed::<i64, _>(counter());
    let set = |tree: &Tree, n: i64| edited(tree, &[("n", Some(&n.to_string()))]);
    let mut a = commit(1, &set(&base.tree(), 1), &[&base]);
    let mut b = commit(2, &set(&base.tree(), 10), &[&base]);
    let mut sum = 11;
    // Each merges the other's last state and counts on: the lines cross again and again.
    for n in 0..100 {
        let ab = repo.try_merge(&a, &b, &rule).unwrap().tree().unwrap();
        assert_eq!(ab, repo.try_merge(&b, &a, &rule).unwrap().tree().unwrap());
        assert_eq!(ab.get("n").unwrap().unwrap(), sum.to_string().as_bytes());
        let next = commit(10 + n, &set(&ab, sum + 1), &[&a, &b]);
        b = commit(1000 + n, &set(&ab, sum + 2), &[&b, &a]);
        a = next;
        sum += 3;
        assert_eq!(repo.lcas(&a, &b).unwrap().len(), 2);
    }
}

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::merge::{FollowRenames, Merge, Why, files_as_git};
use crate::{Format, Memory, Repo, Tree};

const FORMATS: [Format; 3] = [Format::GitSha1, Format::GitSha256, Format::Native];

fn text(name: &str, changed: usize) -> String {
    let line = |n| match n == changed {
        true => "changed\n".into(),
        false => format!("{name} {n}\n"),
    };
    (0..9).map(line).collect()
}

/// A tree of files, each with its own lines; with a number, that line is changed.
fn tree(repo: &Repo, files: &[(&str, &str, Option<usize>)]) -> Tree {
    let mut edit = repo.empty_tree().edit();
    for (path, name, changed) in files {
        let changed = changed.unwrap_or(usize::MAX);
        edit.set(path, text(name, changed)).unwrap();
    }
    edit.finish().unwrap()
}

fn merged(base: &Tree, ours: &Tree, theirs: &Tree) -> Merge {
    let rule = FollowRenames::new(files_as_git);
    ours.merge(base, theirs, &rule).unwrap()
}

fn paths(tree: &Tree) -> Vec<String> {
    let path = |file: Result<(crate::Path, crate::Entry), _>| file.unwrap().0.to_string();
    tree.walk().map(path).collect()
}

fn conflicts(merge: &Merge) -> Vec<String> {
    let conflicts = merge.conflicts().iter();
    conflicts
        .map(|conflict| conflict.path.to_string())
        .collect()
}

#[test]
fn a_change_goes_where_the_file_went() {
    for format in FORMATS {
        let repo = Repo::new(Memory::new(format));
        let base = tree(&repo, &[("a", "a", None), ("b", "b", None)]);
        let ours = tree(&repo, &[("d/x", "a", Some(2)), ("b", "b", None)]);
        let theirs = tree(&repo, &[("a", "a", Some(7)), ("b", "b", None)]);
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let tree = merged(&base, one, other).tree().unwrap();
            assert_eq!(paths(&tree), ["b", "d/x"]);
            let both = text("a", 2).replace("a 7\n", "changed\n");
            assert_eq!(tree.get("d/x").unwrap().unwrap(), both);
        }
    }
}

#[test]
fn renames_that_contradict_each_other_are_conflicts_where_the_file_is_now() {
    for format in FORMATS {
        let repo = Repo::new(Memory::new(format));
        let base = tree(&repo, &[("a", "a", None), ("b", "b", None)]);
        let ours = tree(&repo, &[("x", "a", None), ("y", "b", None)]);
        let theirs = tree(&repo, &[("z", "b", None)]);
        let mut merge = merged(&base, &ours, &theirs);
        assert_eq!(conflicts(&merge), ["b", "x", "y", "z"]);
        let is_renamed = |why: &Why| matches!(why, Why::Renamed(_));
        assert!(merge.conflicts().iter().all(|one| is_renamed(&one.why)));
        assert_eq!(
            merge.conflicts()[1].why,
            Why::Renamed("a was renamed to x in ours and removed in theirs".into())
        );
        assert_eq!(paths(&merge.proposal().unwrap()), ["x", "y", "z"]);
        assert!(merge.resolve("x", None).unwrap());
        for path in ["b", "y", "z"] {
            assert!(merge.accept(&path.parse().unwrap()), "{path}");
        }
        assert!(!merge.accept(&"x".parse().unwrap()));
        assert_eq!(paths(&merge.tree().unwrap()), ["y", "z"]);
    }
}

#[test]
fn what_was_added_to_a_renamed_directory_should_perhaps_move_along() {
    for format in FORMATS {
        let repo = Repo::new(Memory::new(format));
        let base = tree(&repo, &[("d/a", "a", None), ("d/b", "b", None)]);
        let ours = tree(&repo, &[("e/a", "a", None), ("e/b", "b", None)]);
        let theirs = tree(
            &repo,
            &[("d/a", "a", None), ("d/b", "b", None), ("d/c", "c", None)],
        );
        let mut merge = merged(&base, &ours, &theirs);
        assert_eq!(conflicts(&merge), ["e/c"]);
        assert!(merge.accept(&"e/c".parse().unwrap()));
        assert_eq!(paths(&merge.tree().unwrap()), ["e/a", "e/b", "e/c"]);
        // It went to two places alike.
        let ours = tree(&repo, &[("e/a", "a", None), ("f/b", "b", None)]);
        let merge = merged(&base, &ours, &theirs);
        assert_eq!(conflicts(&merge), ["d"]);
        let nothing = &merge.conflicts()[0].entries;
        assert!(nothing.base.is_none() && nothing.ours.is_none() && nothing.theirs.is_none());
        assert_eq!(paths(&merge.proposal().unwrap()), ["d/c", "e/a", "f/b"]);
    }
}

#[test]
fn nothing_is_lost_where_a_renamed_directory_brings_a_file_back() {
    let repo = Repo::new(Memory::new(Format::Native));
    let stay = ("d/x", "x", None);
    let base = [("d/a", "a", None), ("e/b", "b", None), ("e/c", "c", None)];
    // They moved e into d, and we moved a file of d into e.
    let ours = [("e/a", "a", None), ("e/b", "b", None), ("e/c", "c", None)];
    let theirs = [("d/a", "a", None), ("d/b", "b", None), ("d/c", "c", None)];
    let [base, ours, theirs] =
        [base, ours, theirs].map(|files| tree(&repo, &[&files[..], &[stay]].concat()));
    let merge = merged(&base, &ours, &theirs);
    assert_eq!(conflicts(&merge), ["d/a"]);
    let paths = paths(&merge.proposal().unwrap());
    assert_eq!(paths, ["d/a", "d/b", "d/c", "d/x"]);
}

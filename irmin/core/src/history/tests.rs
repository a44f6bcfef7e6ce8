use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use std::vec::Vec;

use proptest::prelude::*;

use super::HistoryError;
use crate::{
    Backend, BackendError, Commit, CommitIndex, Format, Id, Info, Memory, Object, ReadError,
    RefEdit, RefName, Repo, Signature, UpdateError,
};

fn commit(repo: &Repo, parents: &[&Commit], n: usize) -> Commit {
    let who = Signature::new("A", "a@b", n as i64, 0);
    repo.commit_tree(
        &repo.empty_tree(),
        parents,
        &Info::new(who, alloc::format!("{n}\n")),
    )
    .unwrap()
}

/// Commits whose parents are among the earlier ones.
fn history(repo: &Repo, shape: &[Vec<prop::sample::Index>]) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    for (n, parents) in shape.iter().enumerate() {
        let parents: BTreeSet<usize> = if n == 0 {
            BTreeSet::new()
        } else {
            parents.iter().map(|parent| parent.index(n)).collect()
        };
        let parents: Vec<Commit> = parents.iter().map(|at| commits[*at].clone()).collect();
        commits.push(commit(repo, &parents.iter().collect::<Vec<_>>(), n));
    }
    commits
}

fn ancestors(repo: &Repo, of: Id) -> BTreeSet<Id> {
    let (mut seen, mut open) = (BTreeSet::new(), std::vec![of]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(repo.commit(&id).unwrap().parents());
        }
    }
    seen
}

fn shapes() -> impl Strategy<Value = Vec<Vec<prop::sample::Index>>> {
    prop::collection::vec(
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        2..40,
    )
}

proptest! {
    #[test]
    fn best_common_ancestors_are_those_of_the_definition(
        shape in shapes(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
    ) {
        let repo = Repo::new(Memory::new(Format::Native));
        let commits = history(&repo, &shape);
        let (a, b) = (a.get(&commits), b.get(&commits));
        let common: Vec<Id> = ancestors(&repo, a.id()).intersection(&ancestors(&repo, b.id())).copied().collect();
        let best: Vec<Id> = common
            .iter()
            .filter(|id| !common.iter().any(|other| other != *id && ancestors(&repo, *other).contains(id)))
            .copied()
            .collect();
        prop_assert_eq!(repo.lcas(a, b).unwrap(), best);
        prop_assert_eq!(a.has_ancestor(b).unwrap(), ancestors(&repo, a.id()).contains(&b.id()));
        let logged: BTreeSet<Id> = a.log().map(|commit| commit.unwrap().id()).collect();
        prop_assert_eq!(logged, ancestors(&repo, a.id()));
    }
}

#[test]
fn a_search_that_is_not_finished_is_an_error_and_not_unrelated() {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let root = commit(&repo, &[], 0);
    let grow = |mut tip: Commit, start: usize| {
        for n in start..start + 50 {
            tip = commit(&repo, &[&tip], n);
        }
        tip
    };
    let (a, b) = (grow(root.clone(), 100), grow(root.clone(), 200));
    assert!(matches!(
        repo.lcas_within(&a, &b, 50),
        Err(HistoryError::Limit { limit: 50 })
    ));
    assert_eq!(repo.lcas_within(&a, &b, 101).unwrap(), [root.id()]);
    let stranger = commit(&repo, &[], 999);
    assert_eq!(repo.lcas(&a, &stranger).unwrap(), []);
}

#[test]
fn commits_in_a_circle_are_damage_and_no_endless_search() {
    // Their ids are no hashes, as only a store that lies can have it.
    let memory = Memory::new(Format::Native);
    let id = |n| Id::from_bytes(&[n; 32]).unwrap();
    for (n, parents) in [(1, &[2][..]), (2, &[4, 3]), (3, &[1]), (4, &[])] {
        let mut text = alloc::format!("tree {}\n", id(9));
        for parent in parents {
            text += &alloc::format!("parent {}\n", id(*parent));
        }
        text += "author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n";
        let object = Object {
            id: id(n),
            kind: crate::Kind::Commit,
            data: text.into_bytes().into(),
        };
        memory.write(&[object]).unwrap();
    }
    let repo = Repo::new(memory);
    let commit = |n| repo.commit(&id(n)).unwrap();
    for (a, b) in [(1, 4), (2, 3), (3, 3), (4, 2)] {
        let error = repo.lcas(&commit(a), &commit(b)).unwrap_err();
        let error = alloc::format!("{error}");
        assert!(error.contains("before itself"), "{error}");
    }
    assert_eq!(repo.lcas(&commit(4), &commit(4)).unwrap(), [id(4)]);
}

#[test]
fn a_fork_near_the_end_of_a_long_history_is_found_near_it() {
    let repo = Repo::new(Memory::new(Format::Native));
    let mut tip = commit(&repo, &[], 0);
    for n in 1..5000 {
        tip = commit(&repo, &[&tip], n);
    }
    let fork = tip.clone();
    let (mut a, mut b) = (fork.clone(), fork.clone());
    for n in 0..10 {
        a = commit(&repo, &[&a], 10_000 + n);
        b = commit(&repo, &[&b], 20_000 + n);
    }
    assert_eq!(
        repo.lcas_within(&a, &b, 21).unwrap(),
        [fork.id()],
        "ten on each side and the fork"
    );
}

#[test]
fn the_log_of_a_path_tells_who_changed_it() {
    for format in [Format::GitSha1, Format::Native] {
        let repo = Repo::new(Memory::new(format));
        let main = repo.branch("main").unwrap();
        let set = |n: i64, path: &str, contents: &str| {
            let info = Info::new(Signature::new("A", "a@b", n, 0), "m\n");
            let contents = contents.as_bytes().to_vec();
            main.change(&info, |edit| edit.set(path, contents.clone()))
                .unwrap()
                .id()
        };
        let first = set(1, "d/x", "1");
        set(2, "d/y", "1");
        let second = set(3, "d/x", "2");
        set(4, "e", "1");
        let head = main.head().unwrap().unwrap();
        let log = |path: &str| -> Vec<Id> {
            head.log_of(crate::Path::new(path).unwrap())
                .map(|commit| commit.unwrap().id())
                .collect()
        };
        assert_eq!(log("d/x"), [second, first]);
        assert_eq!(log("d").len(), 3);
        assert_eq!(log("none"), []);
        let path = |path: &str| crate::Path::new(path).unwrap();
        let any: Vec<Id> = head
            .log_of_any([path("e"), path("d/x")])
            .map(|commit| commit.unwrap().id())
            .collect();
        assert_eq!(any, [head.id(), second, first]);
        let paths = ["e", "d/x", "none", "d", "", "d/none/at/all"].map(path);
        let modified = head.last_modified(&paths).unwrap();
        let ids: Vec<_> = modified.iter().flatten().map(crate::Commit::id).collect();
        assert_eq!(ids, [head.id(), second, second, head.id()]);
        assert!(modified[2].is_none() && modified[5].is_none());
    }
}

#[test]
fn a_shallow_store_works_up_to_its_edge_and_calls_nothing_unrelated() {
    let full = Repo::new(Memory::new(Format::GitSha1));
    let old = commit(&full, &[], 0);
    let (left, right) = (commit(&full, &[&old], 1), commit(&full, &[&old], 2));
    let (a, b, c) = (
        commit(&full, &[&left], 3),
        commit(&full, &[&right], 4),
        commit(&full, &[&left], 5),
    );
    let part = Memory::new(Format::GitSha1);
    for one in [&left, &right, &a, &b, &c] {
        part.write(&[full.backend().read(&one.id()).unwrap().unwrap()])
            .unwrap();
    }
    part.set_shallow(&[left.id(), right.id()]).unwrap();
    let part = Repo::new(part);
    let [a, b, c] = [a, b, c].map(|one| part.commit(&one.id()).unwrap());
    assert_eq!(part.lcas(&a, &c).unwrap(), [left.id()]);
    assert!(matches!(part.lcas(&a, &b), Err(HistoryError::Shallow)));
    assert!(!a.has_ancestor(&b).unwrap());
    assert_eq!(
        a.log().map(|one| one.unwrap().id()).collect::<Vec<_>>(),
        [a.id(), left.id()]
    );
    let new = commit(&part, &[&a, &b], 6);
    assert_eq!(part.lcas(&new, &b).unwrap(), [b.id()]);
}

/// A backend with an index of the commits that it had when it was made.
struct Indexed {
    memory: Memory,
    index: spin::Mutex<Option<Arc<Table>>>,
}

#[derive(Default)]
struct Table {
    ids: Vec<Id>,
    parents: Vec<Vec<u32>>,
    generations: Vec<u32>,
    commits: Vec<(i64, Id)>,
    /// It cannot be read from end to end.
    is_plain: bool,
}

impl Table {
    fn of(commits: &[Commit]) -> Table {
        let mut table = Table::default();
        for commit in commits {
            let at = |id: &Id| table.ids.iter().position(|other| other == id).unwrap() as u32;
            let parents: Vec<u32> = commit.parents().iter().map(at).collect();
            let highest = parents.iter().map(|at| table.generations[*at as usize]);
            table.generations.push(1 + highest.max().unwrap_or(0));
            table.parents.push(parents);
            table.ids.push(commit.id());
            let data = commit.data();
            table.commits.push((data.committer.seconds(), data.tree));
        }
        table
    }
}

impl CommitIndex for Table {
    fn len(&self) -> u32 {
        self.ids.len() as u32
    }
    fn position(&self, id: &Id) -> Result<Option<u32>, BackendError> {
        let found = self.ids.iter().position(|other| other == id);
        Ok(found.map(|at| at as u32))
    }
    fn id(&self, position: u32) -> Result<Id, BackendError> {
        Ok(self.ids[position as usize])
    }
    fn generation(&self, position: u32) -> Result<u32, BackendError> {
        Ok(self.generations[position as usize])
    }
    fn parents(&self, position: u32, into: &mut Vec<u32>) -> Result<(), BackendError> {
        into.extend_from_slice(&self.parents[position as usize]);
        Ok(())
    }
    fn all(&self, commit: &mut dyn FnMut(u32, &[u32])) -> Result<bool, BackendError> {
        if self.is_plain {
            return Ok(false);
        }
        for (generation, parents) in self.generations.iter().zip(&self.parents) {
            commit(*generation, parents);
        }
        Ok(true)
    }
    fn time(&self, position: u32) -> Result<i64, BackendError> {
        Ok(self.commits[position as usize].0)
    }
    fn tree(&self, position: u32) -> Result<Id, BackendError> {
        Ok(self.commits[position as usize].1)
    }
}

impl Backend for Indexed {
    fn format(&self) -> Format {
        self.memory.format()
    }
    fn read(&self, id: &Id) -> Result<Option<Object>, BackendError> {
        self.memory.read(id)
    }
    fn contains(&self, id: &Id) -> Result<bool, BackendError> {
        self.memory.contains(id)
    }
    fn write(&self, objects: &[Object]) -> Result<(), BackendError> {
        self.memory.write(objects)
    }
    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<Id>, BackendError> {
        self.memory.ids(prefix, limit)
    }
    fn head(&self, name: &RefName) -> Result<Option<Id>, BackendError> {
        self.memory.head(name)
    }
    fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>, BackendError> {
        self.memory.heads(prefix)
    }
    fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        self.memory.update(edits)
    }
    fn flush(&self) -> Result<(), BackendError> {
        self.memory.flush()
    }
    fn generation(&self) -> Result<u64, BackendError> {
        self.memory.generation()
    }
    fn commit_index(&self) -> Result<Option<Arc<dyn CommitIndex>>, BackendError> {
        Ok(self.index.lock().clone().map(|index| index as _))
    }
}

proptest! {
    #[test]
    fn an_index_of_some_of_the_commits_changes_no_answer(
        shape in shapes(), cut in any::<prop::sample::Index>(), later in any::<prop::sample::Index>(),
        a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), is_plain: bool,
    ) {
        let plain = Repo::new(Memory::new(Format::Native));
        let commits = history(&plain, &shape);
        let backend = Arc::new(Indexed { memory: Memory::new(Format::Native), index: spin::Mutex::default() });
        let repo = Repo::new(backend.clone());
        let copies = history(&repo, &shape);
        let (x, y) = (a.index(commits.len()), b.index(commits.len()));
        let path = crate::Path::default();
        // Without one, with one of a beginning of the history, and with a longer one.
        let mut ends = [0, cut.index(commits.len()), later.index(commits.len())];
        ends.sort_unstable();
        for end in ends {
            let table = Table { is_plain, ..Table::of(&copies[..end]) };
            *backend.index.lock() = (end > 0).then(|| Arc::new(table));
            let (a, b) = (&copies[x], &copies[y]);
            prop_assert_eq!(repo.lcas(a, b).unwrap(), plain.lcas(&commits[x], &commits[y]).unwrap());
            prop_assert_eq!(a.has_ancestor(b).unwrap(), commits[x].has_ancestor(&commits[y]).unwrap());
            let ids = |log: crate::Log| -> Vec<Id> { log.map(|one| one.unwrap().id()).collect() };
            prop_assert_eq!(ids(a.log()), ids(commits[x].log()));
            prop_assert_eq!(ids(a.log_of(path.clone())), ids(commits[x].log_of(path.clone())));
            let modified = a.last_modified(core::slice::from_ref(&path)).unwrap();
            let first = a.log_of(path.clone()).next();
            prop_assert_eq!(modified[0].as_ref().map(crate::Commit::id), first.map(|one| one.unwrap().id()));
        }
    }
}

#[test]
fn an_index_that_contradicts_itself_is_damage_and_no_endless_search() {
    let memory = Memory::new(Format::Native);
    let backend = Arc::new(Indexed {
        memory,
        index: spin::Mutex::default(),
    });
    let repo = Repo::new(backend.clone());
    let mut commits = std::vec![commit(&repo, &[], 0)];
    for n in 1..9 {
        let tip = commits[n - 1].clone();
        commits.push(commit(&repo, &[&tip], n));
    }
    let spoil: [fn(&mut Table); 3] = [
        |table| table.parents[4] = std::vec![7],
        |table| table.parents[4] = std::vec![4000],
        |table| table.generations[3] = 99,
    ];
    for spoil in spoil {
        for is_plain in [true, false] {
            let mut table = Table::of(&commits);
            spoil(&mut table);
            table.is_plain = is_plain;
            *backend.index.lock() = Some(Arc::new(table));
            let result = repo.lcas(&commits[8], &commits[1]);
            let damaged = matches!(
                result,
                Err(HistoryError::Read(ReadError::Backend(
                    BackendError::Corrupt { .. }
                )))
            );
            assert!(damaged, "{result:?}");
        }
    }
}

#[test]
fn commits_that_came_before_an_index_was_put_in_order_stay_known() {
    let backend = Arc::new(Indexed {
        memory: Memory::new(Format::Native),
        index: spin::Mutex::default(),
    });
    let repo = Repo::new(backend.clone());
    let mut commits = std::vec![commit(&repo, &[], 0)];
    for n in 1..60 {
        // Of two lines that join now and then; the last has many parents.
        let parents = match n {
            59 => std::vec![&commits[55], &commits[3], &commits[8], &commits[58]],
            _ if n % 7 == 0 => std::vec![&commits[n - 1], &commits[n - 2]],
            _ => std::vec![&commits[n.max(2) - 2]],
        };
        let next = commit(&repo, &parents, n);
        commits.push(next);
    }
    // Positions say nothing about history.
    let mut shuffled = Table::default();
    let table = Table::of(&commits);
    let at = |old: u32| old * 37 % 60;
    let back: Vec<usize> = (0..60)
        .map(|new| (0..60).find(|old| at(*old) == new).unwrap() as usize)
        .collect();
    for old in back {
        shuffled.ids.push(table.ids[old]);
        shuffled.generations.push(table.generations[old]);
        shuffled.commits.push(table.commits[old]);
        let parents = table.parents[old].iter().map(|parent| at(*parent));
        shuffled.parents.push(parents.collect());
    }
    *backend.index.lock() = Some(Arc::new(shuffled));
    let (a, b) = (
        commit(&repo, &[&commits[59], &commits[20]], 60),
        commit(&repo, &[&commits[57], &commits[33]], 61),
    );
    let c = commit(&repo, &[&a], 62);
    // Near, so that what came later is known with positions; far; near again.
    assert_eq!(repo.lcas(&c, &a).unwrap(), [a.id()]);
    for (x, y) in [(&c, &b), (&b, &commits[58]), (&c, &commits[2]), (&c, &a)] {
        let common: BTreeSet<Id> = ancestors(&repo, x.id())
            .intersection(&ancestors(&repo, y.id()))
            .copied()
            .collect();
        let best = common.iter().filter(|id| {
            let mut others = common.iter().filter(|other| other != id);
            !others.any(|other| ancestors(&repo, *other).contains(*id))
        });
        assert_eq!(repo.lcas(x, y).unwrap(), best.copied().collect::<Vec<_>>());
        assert_eq!(x.has_ancestor(y).unwrap(), common.contains(&y.id()));
    }
}

#[test]
fn a_store_that_becomes_shallow_or_whole_while_it_is_open_has_the_history_that_is_there() {
    let backend = Arc::new(Memory::new(Format::GitSha1));
    let repo = Repo::new(backend.clone());
    let old = commit(&repo, &[], 0);
    let (a, b) = (commit(&repo, &[&old], 1), commit(&repo, &[&old], 2));
    assert_eq!(repo.lcas(&a, &b).unwrap(), [old.id()]);
    backend.set_shallow(&[a.id(), b.id()]).unwrap();
    assert!(matches!(repo.lcas(&a, &b), Err(HistoryError::Shallow)));
    assert_eq!(a.log().count(), 1);
    backend.set_shallow(&[]).unwrap();
    assert_eq!(repo.lcas(&a, &b).unwrap(), [old.id()]);
    assert_eq!(a.log().count(), 2);
}

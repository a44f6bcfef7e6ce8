use std::sync::Arc;

use irmin::{Commit, Format, Info, Memory, Repo, Signature};

use super::*;

const FORMATS: [Format; 3] = [Format::GitSha1, Format::GitSha256, Format::Native];

struct Store {
    memory: Arc<Memory>,
    repo: Repo,
    clock: std::cell::Cell<i64>,
}

impl Store {
    fn new(format: Format) -> Store {
        let memory = Arc::new(Memory::new(format));
        Store {
            repo: Repo::new(memory.clone()),
            memory,
            clock: 0.into(),
        }
    }

    fn commit(&self, branch: &str, files: &[(&str, &str)]) -> Commit {
        self.clock.set(self.clock.get() + 1);
        let info = Info::new(Signature::new("A", "a@b", self.clock.get(), 0), "m\n");
        let branch = self.repo.branch(branch).unwrap();
        branch
            .change(&info, |edit| {
                files.iter().try_for_each(|(path, text)| {
                    // Long enough to be an object of its own in every format.
                    edit.set(*path, text.repeat(600))
                })
            })
            .unwrap()
    }

    fn missing(&self, wants: &[&Commit], haves: &[&Commit]) -> Vec<Id> {
        let ids =
            |commits: &[&Commit]| commits.iter().map(|commit| commit.id()).collect::<Vec<_>>();
        missing(
            &*self.memory,
            &ids(wants),
            &ids(haves),
            &mut Options::default(),
        )
        .unwrap()
    }

    /// All that these lead to, the slow way.
    fn reach(&self, from: &[&Commit]) -> HashSet<Id> {
        let mut open: Vec<Id> = from.iter().map(|commit| commit.id()).collect();
        let mut seen = HashSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                let object = self.memory.read(&id).unwrap().unwrap();
                irmin::references(object_format(self), &object, &|_| false, &mut open).unwrap();
            }
        }
        seen
    }
}

fn object_format(store: &Store) -> Format {
    store.memory.format()
}

#[test]
fn a_change_of_one_file_is_one_path_of_objects() {
    for format in FORMATS {
        let store = Store::new(format);
        let files: Vec<(String, String)> = (0..400)
            .map(|n| (format!("d{}/e{}/f{n}", n % 7, n % 3), n.to_string()))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&**a, &**b)).collect();
        let first = store.commit("main", &files);
        let second = store.commit("main", &[("d1/e1/f1", "x")]);
        let third = store.commit("main", &[("d2/e2/f2", "y")]);
        assert_eq!(store.missing(&[&second], &[&first]).len(), 5, "{format:?}");
        assert_eq!(store.missing(&[&third], &[&first]).len(), 10, "{format:?}");
        assert_eq!(store.missing(&[&third], &[&third]), []);
        assert_eq!(store.missing(&[&first], &[&third]), []);
        let all = store.missing(&[&third], &[]);
        assert_eq!(all.len(), store.memory.len(), "each once");
        assert_eq!(all[..3], [third.id(), second.id(), first.id()]);
    }
}

#[test]
fn what_is_listed_with_what_is_had_is_all_whatever_the_history() {
    for (seed, format) in (0..60u64).zip(FORMATS.into_iter().cycle()) {
        let mut state = seed * 2 + 1;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let store = Store::new(format);
        let mut commits = vec![store.commit("b0", &[("a/b/c", "0")])];
        for n in 0..30 {
            // Clocks go back now and then.
            store.clock.set(random(40) as i64);
            let branch = format!("b{}", random(3));
            if random(4) == 0 {
                let other = &commits[random(commits.len() as u64) as usize];
                let info = Info::new(Signature::new("A", "a@b", random(40) as i64, 0), "m\n");
                let tree = commits[random(commits.len() as u64) as usize].tree();
                let parents = [other, &commits[0]];
                commits.push(store.repo.commit_tree(&tree, &parents, &info).unwrap());
            } else {
                let path = format!("{}/{}/{}", random(3), random(3), random(9));
                commits.push(store.commit(&branch, &[(&path, &format!("{n}"))]));
            }
        }
        for _ in 0..20 {
            let mut pick = || -> Vec<&Commit> {
                (0..1 + random(2))
                    .map(|_| &commits[random(commits.len() as u64) as usize])
                    .collect()
            };
            let (wants, haves) = (pick(), pick());
            let listed = store.missing(&wants, &haves);
            let had = store.reach(&haves);
            let unique: HashSet<Id> = listed.iter().copied().collect();
            assert_eq!(unique.len(), listed.len(), "seed {seed}: twice");
            let wanted = store.reach(&wants);
            assert!(
                unique.is_subset(&wanted),
                "seed {seed}: more than was wanted"
            );
            let lacking: Vec<&Id> = wanted
                .iter()
                .filter(|id| !had.contains(*id) && !unique.contains(*id))
                .collect();
            assert!(lacking.is_empty(), "seed {seed}: {lacking:?} is left out");
            // Ancestors are ancestors, whatever the clocks say.
            let (a, b) = (wants[0], haves[0]);
            let is = is_ancestor(&*store.memory, &a.id(), &b.id()).unwrap();
            assert_eq!(is, b.has_ancestor(a).unwrap(), "seed {seed}");
        }
    }
}

#[test]
fn cuts_end_the_walk_on_their_side_only() {
    let store = Store::new(Format::GitSha1);
    let commits: Vec<Commit> = (0..6)
        .map(|n| store.commit("main", &[("f", &n.to_string())]))
        .collect();
    let list = |wants: &[usize], haves: &[usize], cut: &[usize], have_cut: &[usize]| {
        let ids = |at: &[usize]| at.iter().map(|at| commits[*at].id()).collect::<Vec<_>>();
        let set = |at: &[usize]| ids(at).into_iter().collect::<HashSet<_>>();
        let (cut, have_cut) = (set(cut), set(have_cut));
        let mut options = Options {
            cut: Some(&cut),
            have_cut: Some(&have_cut),
            ..Options::default()
        };
        let listed = missing(&*store.memory, &ids(wants), &ids(haves), &mut options).unwrap();
        (0..6)
            .filter(|at| listed.contains(&commits[*at].id()))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&[5], &[], &[4], &[]), [4, 5], "a shallow clone");
    assert_eq!(list(&[5], &[3], &[], &[3]), [4, 5]);
    assert_eq!(list(&[5, 2], &[5, 4, 3], &[1], &[3]), [1, 2], "deepened");
    assert_eq!(
        list(&[5, 2], &[5, 4, 3], &[], &[3]),
        [0, 1, 2],
        "made whole"
    );
}

#[test]
fn what_is_missing_is_found_before_a_name_moves() {
    for format in FORMATS {
        let store = Store::new(format);
        let first = store.commit("main", &[("a/b", "1"), ("c", "2")]);
        let second = store.commit("main", &[("a/b", "3"), ("d/e", "4")]);
        let all = store.missing(&[&second], &[]);
        let new = store.missing(&[&second], &[&first]);
        let check = |left_out: &Id, known: &[Id]| {
            let part = Memory::new(format);
            for id in all.iter().filter(|id| *id != left_out) {
                part.write(&[store.memory.read(id).unwrap().unwrap()])
                    .unwrap();
            }
            connected(&part, &[second.id()], known, &mut Options::default())
        };
        let none = format.id(Kind::Blob, b"none").unwrap();
        check(&none, &[]).unwrap();
        for left_out in &all {
            let error = check(left_out, &[]).unwrap_err();
            assert!(matches!(error, WalkError::Missing { id, .. } if id == *left_out));
        }
        for left_out in &new {
            assert!(check(left_out, &[first.id()]).is_err());
        }
        // What names vouch for is not looked at again.
        let old_blob = all.iter().rev().find(|id| !new.contains(id)).unwrap();
        check(old_blob, &[first.id()]).unwrap();
    }
}

#[test]
fn limits_and_callers_end_a_walk() {
    let store = Store::new(Format::GitSha1);
    let head = store
        .commit("main", &[("a", "1"), ("b", "2"), ("c/d", "3")])
        .id();
    let mut limited = Options {
        most: Some(2),
        ..Options::default()
    };
    let error = missing(&*store.memory, &[head], &[], &mut limited).unwrap_err();
    assert!(matches!(error, WalkError::TooMany { most: 2 }));
    for n in 0..1100 {
        store.commit("main", &[("a", &n.to_string())]);
    }
    let head = store
        .repo
        .branch("main")
        .unwrap()
        .head()
        .unwrap()
        .unwrap()
        .id();
    let mut stopped = Options {
        progress: Some(&mut |_| false),
        ..Options::default()
    };
    let error = missing(&*store.memory, &[head], &[], &mut stopped).unwrap_err();
    assert!(matches!(error, WalkError::Stopped));
}

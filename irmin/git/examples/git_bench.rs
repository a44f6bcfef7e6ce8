//! One-edit commits into a tree of 100 x 100 files, and random reads: this crate beside libgit2, in one
//! run, in turns. `cargo run --release -p irmin-git --example git_bench [FOLDER]`; the folder decides the
//! file system.

use std::path::{Path, PathBuf};
use std::time::Instant;

use irmin::raw::{CommitData, Mode, Signature, TreeEntries, push_entry};
use irmin::{Backend, Expect, Format, Id, Kind, Object, RefEdit, RefName};
use irmin_git::{Durability, Git, Options};

const ROUNDS: usize = 7;

fn main() {
    let root = std::env::args()
        .nth(1)
        .map_or(std::env::temp_dir(), PathBuf::from);
    let root = tempfile::tempdir_in(root).expect("a folder");
    for (durable, commits) in [(false, 1000), (true, 30)] {
        let mut ours = Ours::new(&root.path().join(format!("ours-{durable}")), durable);
        let mut theirs = Theirs::new(&root.path().join(format!("libgit2-{durable}")), durable);
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            their_times.push(time(commits, |n| theirs.commit(round * commits + n)));
            our_times.push(time(commits, |n| ours.commit(round * commits + n)));
        }
        let what = match durable {
            true => "one-edit commits, each durable",
            false => "one-edit commits, no sync",
        };
        report(what, our_times, their_times);
        if !durable {
            let ids = ours.blobs();
            let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
            let odb = theirs.repository.odb().expect("opens");
            for _ in 0..ROUNDS {
                their_times.push(time(ids.len(), |n| {
                    let id = git2::Oid::from_bytes(ids[n].as_bytes()).expect("an id");
                    odb.read(id).expect("reads");
                }));
                our_times.push(time(ids.len(), |n| {
                    drop(ours.store.read(&ids[n]).expect("reads"))
                }));
            }
            report(
                "random reads, warm (libgit2: loose)",
                our_times,
                their_times,
            );
        }
    }
}

/// Microseconds for each of so many steps.
fn time(steps: usize, mut step: impl FnMut(usize)) -> f64 {
    let begun = Instant::now();
    (0..steps).for_each(&mut step);
    begun.elapsed().as_secs_f64() * 1e6 / steps as f64
}

fn report(what: &str, mut ours: Vec<f64>, mut theirs: Vec<f64>) {
    let mut ratios: Vec<f64> = theirs
        .iter()
        .zip(&ours)
        .map(|(theirs, ours)| theirs / ours)
        .collect();
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (ours, theirs, ratio) = (median(&mut ours), median(&mut theirs), median(&mut ratios));
    println!("{what}: ours {ours:.1} us, libgit2 {theirs:.1} us, {ratio:.1} x");
}

/// Which file the n-th commit changes, spread like chance.
fn place(n: usize) -> (usize, usize) {
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    ((mixed % 100) as usize, (mixed / 100 % 100) as usize)
}

struct Ours {
    store: Git,
    durable: bool,
    root: Id,
    head: Option<Id>,
}

impl Ours {
    fn new(at: &Path, durable: bool) -> Ours {
        drop(Git::init(at, Format::GitSha1, true).expect("makes"));
        let options = Options {
            durability: if durable {
                Durability::Ordered
            } else {
                Durability::Relaxed
            },
            ..Options::default()
        };
        let store = Git::open_with(at, &options).expect("opens");
        let (mut objects, mut root) = (Vec::new(), Vec::new());
        for i in 0..100 {
            let mut tree = Vec::new();
            for j in 0..100 {
                let blob = object(Kind::Blob, format!("v{i}-{j}").into_bytes());
                push_entry(
                    &mut tree,
                    Mode::File,
                    format!("k{j:03}").as_bytes(),
                    &blob.id,
                );
                objects.push(blob);
            }
            let tree = object(Kind::Tree, tree);
            push_entry(
                &mut root,
                Mode::Dir,
                format!("d{i:03}").as_bytes(),
                &tree.id,
            );
            objects.push(tree);
        }
        let root = object(Kind::Tree, root);
        objects.push(root.clone());
        store.write(&objects).expect("writes");
        Ours {
            store,
            durable,
            root: root.id,
            head: None,
        }
    }

    fn commit(&mut self, n: usize) {
        let (i, j) = place(n);
        let blob = object(Kind::Blob, format!("n{n}").into_bytes());
        let root = self
            .store
            .read(&self.root)
            .expect("reads")
            .expect("is here");
        let (root, below) = with(&root.data, &format!("d{i:03}"), |old| {
            let old = self.store.read(&old).expect("reads").expect("is here");
            let (tree, _) = with(&old.data, &format!("k{j:03}"), |_| (blob.id, ()));
            let tree = object(Kind::Tree, tree);
            (tree.id, tree)
        });
        let root = object(Kind::Tree, root);
        let who = Signature::new("a", "a@b", 1_429_538_400, 0);
        let data = CommitData {
            tree: root.id,
            parents: self.head.into_iter().collect(),
            author: who.clone(),
            committer: who,
            headers: vec![],
            message: Some(b"m".to_vec()),
        };
        let commit = object(Kind::Commit, data.encode());
        let (new, old) = (commit.id, self.head);
        self.root = root.id;
        self.store
            .write(&[blob, below, root, commit])
            .expect("writes");
        let name = RefName::new("refs/heads/main").expect("a name");
        let edit = RefEdit {
            name,
            expect: Expect::from(old),
            new: Some(new),
        };
        self.store.update(&[edit]).expect("moves");
        if self.durable {
            self.store.flush().expect("flushes");
        }
        self.head = Some(new);
    }

    /// All files of the tree, shuffled.
    fn blobs(&self) -> Vec<Id> {
        let mut ids = Vec::new();
        let entries = |id: &Id| -> Vec<Id> {
            let tree = self.store.read(id).expect("reads").expect("is here");
            TreeEntries::new(Format::GitSha1, &tree.data)
                .map(|entry| entry.expect("sound").id)
                .collect()
        };
        for tree in entries(&self.root) {
            ids.extend(entries(&tree));
        }
        ids.sort();
        ids
    }
}

/// A tree's bytes with another id for one of its entries.
fn with<T>(tree: &[u8], name: &str, new: impl FnOnce(Id) -> (Id, T)) -> (Vec<u8>, T) {
    let mut at = 0;
    for entry in TreeEntries::new(Format::GitSha1, tree) {
        let entry = entry.expect("sound");
        at += entry.bytes.len();
        if entry.name == name.as_bytes() {
            let mut out = tree.to_vec();
            let (id, more) = new(entry.id);
            out[at - 20..at].copy_from_slice(id.as_bytes());
            return (out, more);
        }
    }
    panic!("no entry {name}");
}

fn object(kind: Kind, data: Vec<u8>) -> Object {
    Object::new(Format::GitSha1, kind, data).expect("no attack")
}

struct Theirs {
    repository: git2::Repository,
    root: git2::Oid,
    head: Option<git2::Oid>,
}

impl Theirs {
    fn new(at: &Path, durable: bool) -> Theirs {
        let repository = git2::Repository::init_bare(at).expect("makes");
        if durable {
            let mut config = repository.config().expect("opens");
            config
                .set_bool("core.fsyncObjectFiles", true)
                .expect("sets");
        }
        let mut root = repository.treebuilder(None).expect("makes");
        for i in 0..100 {
            let mut tree = repository.treebuilder(None).expect("makes");
            for j in 0..100 {
                let blob = repository
                    .blob(format!("v{i}-{j}").as_bytes())
                    .expect("writes");
                tree.insert(format!("k{j:03}"), blob, 0o100_644)
                    .expect("inserts");
            }
            let tree = tree.write().expect("writes");
            root.insert(format!("d{i:03}"), tree, 0o040_000)
                .expect("inserts");
        }
        let root = root.write().expect("writes");
        Theirs {
            root,
            head: None,
            repository: git2::Repository::open(at).expect("opens"),
        }
    }

    fn commit(&mut self, n: usize) {
        let (i, j) = place(n);
        let repository = &self.repository;
        let blob = repository.blob(format!("n{n}").as_bytes()).expect("writes");
        let root = repository.find_tree(self.root).expect("reads");
        let below = root.get_name(&format!("d{i:03}")).expect("is here").id();
        let below = repository.find_tree(below).expect("reads");
        let mut tree = repository.treebuilder(Some(&below)).expect("makes");
        tree.insert(format!("k{j:03}"), blob, 0o100_644)
            .expect("inserts");
        let below = tree.write().expect("writes");
        let mut tree = repository.treebuilder(Some(&root)).expect("makes");
        tree.insert(format!("d{i:03}"), below, 0o040_000)
            .expect("inserts");
        self.root = tree.write().expect("writes");
        let time = git2::Time::new(1_429_538_400, 0);
        let who = git2::Signature::new("a", "a@b", &time).expect("sound");
        let parent = self
            .head
            .map(|head| repository.find_commit(head).expect("reads"));
        let tree = repository.find_tree(self.root).expect("reads");
        let parents: Vec<&git2::Commit> = parent.iter().collect();
        let new = repository.commit(Some("refs/heads/main"), &who, &who, "m", &tree, &parents);
        self.head = Some(new.expect("commits"));
    }
}

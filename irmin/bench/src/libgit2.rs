//! One-edit commits as libgit2 makes them, with loose objects.

use std::path::Path;

use anyhow::{Context, Result};
use git2::{Oid, Repository, Signature, Time};

use crate::input::{Shape, scattered, value};

/// A repository with a tree of 100 x 100 keys.
pub struct Libgit2 {
    repository: Repository,
    root: Oid,
    head: Option<Oid>,
    keys: usize,
}

impl Libgit2 {
    /// Makes it; `durable` syncs every file that is written.
    pub fn new(at: &Path, durable: bool, keys: usize) -> Result<Libgit2> {
        let repository = Repository::init_bare(at)?;
        let mut root = repository.treebuilder(None)?;
        for first in (0..keys).step_by(100) {
            let mut tree = repository.treebuilder(None)?;
            let mut directory = String::new();
            for n in first..keys.min(first + 100) {
                let key = Shape::Square.key(n);
                let (parent, name) = key.split_once('/').context("no directory")?;
                parent.clone_into(&mut directory);
                tree.insert(name, repository.blob(value(n).as_bytes())?, 0o100_644)?;
            }
            root.insert(&directory, tree.write()?, 0o040_000)?;
        }
        let root = root.write()?;
        repository
            .config()?
            .set_bool("core.fsyncObjectFiles", durable)?;
        Ok(Libgit2 {
            root,
            head: None,
            // Opened again, because the setting is read once.
            repository: Repository::open(at)?,
            keys,
        })
    }

    /// The commit with this number.
    pub fn commit(&mut self, n: usize) -> Result<()> {
        let key = Shape::Square.key(scattered(n, self.keys));
        let (directory, name) = key.split_once('/').context("no directory")?;
        let repository = &self.repository;
        let blob = repository.blob(value(self.keys + n).as_bytes())?;
        let root = repository.find_tree(self.root)?;
        let below = root.get_name(directory).context("no such directory")?.id();
        let mut tree = repository.treebuilder(Some(&repository.find_tree(below)?))?;
        tree.insert(name, blob, 0o100_644)?;
        let below = tree.write()?;
        let mut tree = repository.treebuilder(Some(&root))?;
        tree.insert(directory, below, 0o040_000)?;
        self.root = tree.write()?;
        let time = Time::new(1_429_538_400 + n as i64, 0);
        let who = Signature::new("Ada", "ada@example.org", &time)?;
        let parent = self
            .head
            .map(|head| repository.find_commit(head))
            .transpose()?;
        let parents: Vec<_> = parent.iter().collect();
        let tree = repository.find_tree(self.root)?;
        let name = Some("refs/heads/main");
        self.head = Some(repository.commit(name, &who, &who, "Edit\n", &tree, &parents)?);
        Ok(())
    }
}

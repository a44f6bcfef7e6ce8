//! Native trees as Git's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use irmin::raw::{Mode, git_order};
use irmin::{Id, Kind, Object};

use super::odd::Odd;
use super::{DEEPEST, Trees, damaged, push_entry, read};
use crate::failure::{Failure, Result};
use crate::place::Place;

/// Bytes and objects that are collected before they are written as one pack.
const BATCH: usize = 16 << 20;
const COUNT: usize = 50_000;

pub struct ToGit<'a> {
    from: &'a Place,
    to: &'a Place,
    /// What stands for trees, with what was odd in them.
    trees: HashMap<(Id, Arc<Odd>), Id>,
    blobs: HashMap<Id, Id>,
    written: HashSet<Id>,
    batch: Vec<Object>,
    bytes: usize,
}

impl<'a> ToGit<'a> {
    pub fn new(from: &'a Place, to: &'a Place) -> ToGit<'a> {
        ToGit {
            from,
            to,
            trees: HashMap::new(),
            blobs: HashMap::new(),
            written: HashSet::new(),
            batch: Vec::new(),
            bytes: 0,
        }
    }

    fn put(&mut self, kind: Kind, data: impl Into<Bytes>) -> Result<Id> {
        let object = Object::new(self.to.repo.format(), kind, data).map_err(Failure::broken)?;
        let id = object.id;
        self.write(object)?;
        Ok(id)
    }

    /// The tree `id`, or if there is none a directory that holds nothing but what is odd in it.
    fn convert(&mut self, id: &Id, odd: &Arc<Odd>, depth: usize) -> Result<Id> {
        let key = (*id, odd.clone());
        if let Some(made) = self.trees.get(&key) {
            return Ok(*made);
        }
        if depth > DEEPEST {
            return Err(damaged(
                id,
                format_args!("it is more than {DEEPEST} directories deep"),
            ));
        }
        let from = self.from;
        let tree = from.repo.tree(id);
        let mut missing = odd.0.clone();
        let mut entries = Vec::new();
        for item in tree.list() {
            let (name, entry) = item?;
            let old = missing.remove(&name[..]).unwrap_or_default();
            let mode = entry.mode();
            let digits = old.digits.unwrap_or(mode.digits().into());
            let is_dir = mode == Mode::Dir;
            if Mode::from_digits(&digits) != Some(mode) || !is_dir && !old.below.is_empty() {
                return Err(damaged(id, "its commit tells of other modes"));
            }
            let made = match (entry.mode(), entry.id()) {
                (Mode::Dir, Some(inside)) => self.convert(&inside, &old.below, depth + 1)?,
                (Mode::Module, Some(commit)) => commit,
                (_, Some(blob)) => self.blob(&blob)?,
                (_, None) => self.put(Kind::Blob, tree.contents(&entry)?)?,
            };
            if made.as_bytes().len() != self.to.repo.format().id_len() {
                return Err(damaged(
                    id,
                    "a module in it is a commit of Git's other format; convert to that one (--format)",
                ));
            }
            entries.push((name, is_dir, digits, made));
        }
        // What is odd of no entry is a directory without any.
        for (name, old) in missing {
            let digits = old.digits.unwrap_or(Mode::Dir.digits().into());
            if Mode::from_digits(&digits) != Some(Mode::Dir) {
                return Err(damaged(
                    id,
                    "its commit tells of the mode of what is not there",
                ));
            }
            let none = from.repo.empty_tree().id();
            let made = self.convert(&none, &old.below, depth + 1)?;
            entries.push((name.into(), true, digits, made));
        }
        entries
            .sort_by(|(a, a_is_dir, ..), (b, b_is_dir, ..)| git_order(a, *a_is_dir, b, *b_is_dir));
        let mut data = Vec::new();
        for (name, _, digits, id) in &entries {
            push_entry(&mut data, digits, name, id);
        }
        let made = self.put(Kind::Tree, data)?;
        self.trees.insert(key, made);
        Ok(made)
    }
}

impl Trees for ToGit<'_> {
    fn tree(&mut self, id: &Id, _: Option<&Id>, odd: Arc<Odd>) -> Result<(Id, Arc<Odd>)> {
        Ok((self.convert(id, &odd, 0)?, Arc::default()))
    }

    fn blob(&mut self, id: &Id) -> Result<Id> {
        if let Some(made) = self.blobs.get(id) {
            return Ok(*made);
        }
        let made = self.put(Kind::Blob, read(self.from, id)?.data)?;
        self.blobs.insert(*id, made);
        Ok(made)
    }

    fn write(&mut self, object: Object) -> Result<()> {
        if !self.written.insert(object.id) {
            return Ok(());
        }
        self.bytes += object.data.len();
        self.batch.push(object);
        match self.bytes > BATCH || self.batch.len() > COUNT {
            true => self.finish(),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            self.to.repo.backend().write(&self.batch)?;
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }
}

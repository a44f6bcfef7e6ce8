//! Native trees as Git's.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use irmin::raw::{Mode, git_order, push_entry};
use irmin::{Id, Kind, Object};

use super::{DEEPEST, Trees, damaged, read};
use crate::failure::{Failure, Result};
use crate::place::Place;

/// Bytes and objects that are collected before they are written as one pack.
const BATCH: usize = 16 << 20;
const COUNT: usize = 50_000;

pub struct ToGit<'a> {
    from: &'a Place,
    to: &'a Place,
    trees: HashMap<Id, Id>,
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

    fn convert(&mut self, id: &Id, depth: usize) -> Result<Id> {
        if let Some(made) = self.trees.get(id) {
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
        let mut entries = Vec::new();
        for item in tree.list() {
            let (name, entry) = item?;
            let made = match (entry.mode(), entry.id()) {
                (Mode::Dir, Some(inside)) => self.convert(&inside, depth + 1)?,
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
            entries.push((name, entry.mode(), made));
        }
        entries.sort_by(|(a, a_mode, _), (b, b_mode, _)| {
            git_order(a, *a_mode == Mode::Dir, b, *b_mode == Mode::Dir)
        });
        let mut data = Vec::new();
        for (name, mode, id) in &entries {
            push_entry(&mut data, *mode, name, id);
        }
        let made = self.put(Kind::Tree, data)?;
        self.trees.insert(*id, made);
        Ok(made)
    }
}

impl Trees for ToGit<'_> {
    fn tree(&mut self, id: &Id, _: Option<&Id>) -> Result<Id> {
        self.convert(id, 0)
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

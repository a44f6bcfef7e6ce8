//! Writes the index: what is missing of it, or all of it anew.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use irmin::raw::{CommitData, TagData};
use irmin::{BackendError, CommitIndex, Id, Kind};

use super::rows::{Draft, Rows};
use super::{Commits, latest};
use crate::format::key;
use crate::load::Damage;
use crate::sync::MutexGuard;
use crate::write::{Slots, Writer};
use crate::{Pack, Storage};

/// The index is extended when so many commits were written, or as many as fit into one chapter, and a
/// name moves.
const EVERY: usize = 4096;
/// A collection extends it by no less than this part of as many, so that chapters do not become many
/// and small.
const FEW: u32 = 16;
/// Tags that lead to tags are followed so far.
const TAGS: u32 = 64;

impl<S: Storage> Pack<S> {
    /// So many commits make a chapter.
    pub(super) fn chapter_rows(&self) -> u32 {
        EVERY.min(self.chapter_room() / Draft::row_len(self.format, 1)) as u32
    }

    /// Extends the index, once so many commits were written, by those that names lead to now. Where
    /// that fails the index is as it was, and whoever writes next hears of it.
    pub(crate) fn extend_now_and_then(&self, mut w: MutexGuard<'_, Writer>) {
        if w.commits < self.chapter_rows().max(w.unknown) {
            return;
        }
        w.commits = 0;
        drop(w);
        let _ = self.extend(&mut self.commits.lock(), 1);
    }

    /// Adds the commits that names lead to and that are not in the index, if they are so many at least.
    pub(super) fn extend(&self, commits: &mut Commits, least: u32) -> Result<(), BackendError> {
        self.read_chapters(commits)?;
        let Some(rows) = commits.rows.clone() else {
            return Ok(());
        };
        if commits.is_broken {
            return self.renew(commits, true);
        }
        let mut walk = Walk::new(self, rows, None);
        walk.run()?;
        self.writer.lock().unknown = walk.unknown;
        if walk.added < least {
            return Ok(());
        }
        self.write_chapters(commits, walk)
    }

    /// Writes all of the index anew, of the commits that names lead to now: without reading those that
    /// the old one has, if it is to be believed.
    fn renew(&self, commits: &mut Commits, believe: bool) -> Result<(), BackendError> {
        let chapters = self.table.read().chapters().to_vec();
        let editions = chapters.iter().map(|(key, _)| (key >> 32) as u32);
        let Some(edition) = editions.max().unwrap_or(0).checked_add(1) else {
            return Ok(());
        };
        let old = commits.rows.take().filter(|_| believe);
        let mut walk = Walk::new(self, Arc::new(Rows::new(self.format, edition)), old);
        walk.run()?;
        self.write_chapters(commits, walk)
    }

    fn write_chapters(&self, commits: &mut Commits, walk: Walk<'_, S>) -> Result<(), BackendError> {
        let edition = walk.rows.edition();
        let mut first = walk.rows.len();
        for draft in walk.finish() {
            let numbers = (edition, first, draft.count);
            first += draft.count;
            let data = draft.finish();
            let mut w = self.writer.lock();
            let pushed = self.append(&mut w, |w| {
                self.push_chapter(w, numbers, &data, Slots::Ordinary)
            });
            match pushed {
                // It is made for speed, and the commits are here without it.
                Err(BackendError::Full { .. }) => break,
                pushed => drop(pushed?),
            }
        }
        self.read_chapters(commits)?;
        self.forget_editions(commits);
        Ok(())
    }

    /// Chapters of older editions are garbage.
    fn forget_editions(&self, commits: &Commits) {
        let Some(rows) = &commits.rows else { return };
        let old = |key: u64| (key >> 32) as u32 != rows.edition();
        let mut table = self.table.write();
        if table.chapters().iter().any(|(key, _)| old(*key)) {
            table.retain(|key, place| !place.is_chapter() || !old(key));
        }
    }

    /// What a collection does for the index: extends it, or writes it anew when most of the commits in
    /// it are gone.
    pub(crate) fn tend_commits(&self) -> Result<(), BackendError> {
        let mut commits = self.commits.lock();
        self.read_chapters(&mut commits)?;
        let Some(rows) = commits.rows.clone() else {
            return Ok(());
        };
        let gone = {
            let table = self.table.read();
            let is_gone = |id: Id| table.get(key(&id, 0), 0).is_none();
            let all = 0..rows.len();
            all.filter_map(|row| rows.id_at(row))
                .filter(|id| is_gone(*id))
                .count()
        };
        match gone > rows.len() as usize / 2 {
            true => self.renew(&mut commits, true),
            false => self.extend(&mut commits, self.chapter_rows() / FEW),
        }
    }

    /// Compares the index with the commits themselves.
    pub(crate) fn check_commits(&self, damage: &mut Vec<Damage>) -> Result<(), BackendError> {
        let mut commits = self.commits.lock();
        self.read_chapters(&mut commits)?;
        let Some(rows) = &commits.rows else {
            return Ok(());
        };
        let (_, places) = latest(self.table.read().chapters());
        let mut wrong = Vec::new();
        for row in 0..rows.len() {
            let Some(id) = rows.id_at(row) else { continue };
            let Ok(Some(object)) = self.read_here(&id) else {
                continue;
            };
            let links = CommitData::decode_links(self.format, &object.data);
            let is_right = object.kind == Kind::Commit
                && links.is_ok_and(|(_, parents)| rows.parent_ids(row) == Some(parents));
            if !is_right {
                wrong.extend(places.range(..=row).next_back());
            }
        }
        if commits.is_broken {
            wrong.extend(places.range(rows.len()..).next());
        }
        wrong.dedup();
        damage.extend(wrong.into_iter().map(|(_, place)| Damage {
            slot: place.slot(),
            offset: place.offset(),
            end: place.offset() + place.len() as u64,
            what: "the index of commits (the commits replace it)".into(),
        }));
        Ok(())
    }

    /// Writes the index anew, if there is one, of the commits themselves.
    pub(crate) fn mend_commits(&self) -> Result<(), BackendError> {
        if self.table.read().chapters().is_empty() {
            return Ok(());
        }
        let mut commits = self.commits.lock();
        self.read_chapters(&mut commits)?;
        self.renew(&mut commits, false)
    }
}

/// Goes from the names back to what is in the index, and lists what is not, parents first.
struct Walk<'a, S: Storage> {
    pack: &'a Pack<S>,
    rows: Arc<Rows>,
    /// What knows parents without reading commits.
    old: Option<Arc<Rows>>,
    nodes: Vec<Node>,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
    parents: Vec<Parent>,
    added: u32,
    unknown: u32,
    draft: Draft,
    drafts: Vec<Draft>,
}

struct Node {
    id: Id,
    state: State,
    /// Where its parents stand.
    first: u32,
    count: u32,
}

#[derive(Clone, Copy)]
enum State {
    Unread,
    /// Some of what is before it is not listed yet.
    Open,
    Listed {
        row: u32,
        generation: u32,
    },
    /// It cannot be listed: it, or one before it, is damaged or missing.
    Unknown,
}

#[derive(Clone, Copy)]
enum Parent {
    /// A row of the index.
    Row(u32),
    /// One that is not in it.
    Node(u32),
}

impl<'a, S: Storage> Walk<'a, S> {
    fn new(pack: &'a Pack<S>, rows: Arc<Rows>, old: Option<Arc<Rows>>) -> Walk<'a, S> {
        Walk {
            pack,
            rows,
            old,
            nodes: Vec::new(),
            by_id: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            parents: Vec::new(),
            added: 0,
            unknown: 0,
            draft: Draft::default(),
            drafts: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), BackendError> {
        let heads: Vec<Id> = self.pack.names.read().heads.values().copied().collect();
        for head in heads {
            if let Some(commit) = self.peel(head)?
                && let Parent::Node(node) = self.parent(commit)
            {
                self.list(node)?;
            }
        }
        Ok(())
    }

    /// The commit that a name leads to.
    fn peel(&self, mut id: Id) -> Result<Option<Id>, BackendError> {
        for _ in 0..TAGS {
            if self.rows.find(&id).is_some() {
                return Ok(None);
            }
            match self.pack.glance(&id) {
                Ok(Some((Kind::Commit, _))) => return Ok(Some(id)),
                Ok(Some((Kind::Tag, _))) => {}
                Ok(_) | Err(BackendError::Corrupt { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
            let Some(data) = self.read(&id, Kind::Tag)? else {
                return Ok(None);
            };
            match TagData::decode(self.pack.format, &data) {
                Ok(tag) => id = tag.target,
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The bytes of an object of this kind; `None` if it cannot be had.
    fn read(&self, id: &Id, kind: Kind) -> Result<Option<bytes::Bytes>, BackendError> {
        match self.pack.read_here(id) {
            Ok(object) => Ok(object
                .filter(|object| object.kind == kind)
                .map(|object| object.data)),
            Err(BackendError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parent(&mut self, id: Id) -> Parent {
        if let Some(row) = self.rows.find(&id) {
            return Parent::Row(row);
        }
        let hash = self.hasher.hash_one(id);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let is_it = |node: &u32| nodes[*node as usize].id == id;
        if let Some(node) = self.by_id.find(hash, is_it) {
            return Parent::Node(*node);
        }
        let node = self.nodes.len() as u32;
        self.by_id
            .insert_unique(hash, node, |node| hasher.hash_one(nodes[*node as usize].id));
        self.nodes.push(Node {
            id,
            state: State::Unread,
            first: 0,
            count: 0,
        });
        Parent::Node(node)
    }

    /// Finds the parents of a node; `false` if it cannot be read.
    fn open(&mut self, node: u32) -> Result<bool, BackendError> {
        let id = self.nodes[node as usize].id;
        let parents = match self.known_parents(&id) {
            Some(parents) => parents,
            None => {
                let Some(data) = self.read(&id, Kind::Commit)? else {
                    return Ok(false);
                };
                match CommitData::decode_links(self.pack.format, &data) {
                    Ok((_, parents)) => parents,
                    Err(_) => return Ok(false),
                }
            }
        };
        if Draft::row_len(self.pack.format, parents.len()) > self.pack.chapter_room() {
            return Ok(false);
        }
        let first = self.parents.len() as u32;
        let count = parents.len() as u32;
        for parent in parents {
            let parent = self.parent(parent);
            self.parents.push(parent);
        }
        let node = &mut self.nodes[node as usize];
        (node.first, node.count, node.state) = (first, count, State::Open);
        Ok(true)
    }

    fn known_parents(&self, id: &Id) -> Option<Vec<Id>> {
        let old = self.old.as_ref()?;
        old.parent_ids(old.find(id)?)
    }

    /// Lists a node, after all that is before it.
    fn list(&mut self, node: u32) -> Result<(), BackendError> {
        let mut stack = vec![(node, 0)];
        'next: while let Some((node, seen)) = stack.pop() {
            let state = self.nodes[node as usize].state;
            match state {
                State::Unread if !self.open(node)? => {
                    self.give_up(node);
                    continue;
                }
                State::Unread | State::Open => {}
                State::Listed { .. } | State::Unknown => continue,
            }
            let Node { first, count, .. } = self.nodes[node as usize];
            for at in seen..count {
                let Parent::Node(parent) = self.parents[(first + at) as usize] else {
                    continue;
                };
                match self.nodes[parent as usize].state {
                    State::Unread => {
                        stack.push((node, at));
                        stack.push((parent, 0));
                        continue 'next;
                    }
                    // Only what is no commit's hash is before itself.
                    State::Open | State::Unknown => {
                        self.give_up(node);
                        continue 'next;
                    }
                    State::Listed { .. } => {}
                }
            }
            self.add(node);
        }
        Ok(())
    }

    fn give_up(&mut self, node: u32) {
        self.nodes[node as usize].state = State::Unknown;
        self.unknown += 1;
    }

    /// Adds the row of a node whose parents have theirs.
    fn add(&mut self, node: u32) {
        let Node {
            id, first, count, ..
        } = self.nodes[node as usize];
        let mut generation = 0;
        let mut rows = Vec::with_capacity(count as usize);
        for parent in &self.parents[first as usize..(first + count) as usize] {
            let (row, before) = match parent {
                Parent::Row(row) => (*row, self.rows.generation_at(*row)),
                Parent::Node(parent) => match self.nodes[*parent as usize].state {
                    State::Listed { row, generation } => (row, generation),
                    _ => return,
                },
            };
            generation = generation.max(before);
            rows.push(row);
        }
        let format = self.pack.format;
        if self.draft.len() + Draft::row_len(format, rows.len()) > self.pack.chapter_room() {
            self.drafts.push(core::mem::take(&mut self.draft));
        }
        let generation = generation.saturating_add(1);
        self.draft.push(&id, generation, &rows);
        let row = self.rows.len() + self.added;
        self.nodes[node as usize].state = State::Listed { row, generation };
        self.added += 1;
    }

    /// The chapters.
    fn finish(mut self) -> Vec<Draft> {
        if self.draft.count > 0 {
            self.drafts.push(self.draft);
        }
        self.drafts
    }
}

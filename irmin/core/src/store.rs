//! What the trees and commits of one store share: the backend and the pages read lately.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;

use bytes::Bytes;
use hashbrown::HashMap;
use spin::Mutex;

use crate::history::Index;
use crate::raw::{CommitData, TagData, empty_tree};
use crate::tree::page::Page;
use crate::watch::Hub;
use crate::{Backend, Commit, Format, Id, Kind, Object, ReadError, RefEdit, UpdateError};

/// Objects that are not written yet, by id.
pub(crate) type Staged = HashMap<Id, Object>;

pub(crate) struct Store {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) format: Format,
    cache: [Mutex<Shard>; SHARDS],
    shard_room: usize,
    /// The commits made last, of which most changes begin.
    commits: Mutex<VecDeque<(Id, Arc<CommitData>)>>,
    pub(crate) index: Index,
    pub(crate) hub: Hub,
    /// The directory without entries, which need not be in the backend, as in Git.
    pub(crate) empty: Id,
}

const SHARDS: usize = 16;

/// Two generations: what is asked for moves to the young one; when that is full the old one goes.
#[derive(Default)]
struct Shard {
    young: HashMap<Id, Arc<Page>>,
    old: HashMap<Id, Arc<Page>>,
    weight: usize,
    /// Pages that the latest commits replaced: who reads what was just before still finds them, and
    /// they take no room from the pages that trees have now.
    replaced: VecDeque<(Id, Arc<Page>)>,
}

/// How many pages each shard keeps of those that were replaced.
const REPLACED: usize = 16;
/// How many commits are remembered.
const COMMITS: usize = 8;

impl Store {
    pub(crate) fn new(backend: Box<dyn Backend>, cache_bytes: usize) -> Store {
        let format = backend.format();
        let empty = format
            .id(Kind::Tree, &empty_tree(format))
            .expect("no attack");
        let shard_room = cache_bytes / (2 * SHARDS);
        Store {
            backend,
            format,
            cache: Default::default(),
            shard_room,
            commits: Mutex::default(),
            index: Index::default(),
            hub: Hub::default(),
            empty,
        }
    }

    fn shard(&self, id: &Id) -> &Mutex<Shard> {
        &self.cache[usize::from(id.as_bytes()[8]) % SHARDS]
    }

    /// A page, from the cache, the objects not written yet, or the backend.
    pub(crate) fn page(&self, id: &Id, staged: Option<&Staged>) -> Result<Arc<Page>, ReadError> {
        if let Some(page) = self.cached(id) {
            return Ok(page);
        }
        let data = match staged.and_then(|staged| staged.get(id)) {
            Some(object) => object.data.clone(),
            None if *id == self.empty => empty_tree(self.format).into(),
            None => self.object(id, Kind::Tree)?,
        };
        let page = Page::parse(self.format, data)
            .map_err(|malformed| ReadError::Malformed { id: *id, malformed })?;
        Ok(self.keep(*id, page))
    }

    fn cached(&self, id: &Id) -> Option<Arc<Page>> {
        let mut shard = self.shard(id).lock();
        if let Some(page) = shard.young.get(id) {
            return Some(page.clone());
        }
        let page = match shard.old.remove(id) {
            Some(page) => page,
            None => {
                let replaced = shard.replaced.iter().find(|page| page.0 == *id)?;
                return Some(replaced.1.clone());
            }
        };
        let full = shard.add(*id, page.clone(), self.shard_room);
        drop(shard);
        drop(full);
        Some(page)
    }

    /// Puts a page into the cache.
    pub(crate) fn keep(&self, id: Id, page: Page) -> Arc<Page> {
        let page = Arc::new(page);
        // What is thrown out is freed after the lock is.
        let full = self
            .shard(&id)
            .lock()
            .add(id, page.clone(), self.shard_room);
        drop(full);
        page
    }

    /// Makes room of pages that a commit has just replaced.
    pub(crate) fn replaced(&self, pages: &[Id]) {
        for id in pages {
            let gone = self.shard(id).lock().replace(id);
            drop(gone);
        }
    }

    /// Remembers a commit that was just made.
    pub(crate) fn remember(&self, commit: &Commit) {
        let mut commits = self.commits.lock();
        commits.truncate(COMMITS - 1);
        commits.push_front((commit.id(), commit.shared_data()));
    }

    /// The bytes of an object that must be here and of this kind.
    pub(crate) fn object(&self, id: &Id, kind: Kind) -> Result<Bytes, ReadError> {
        object(&*self.backend, id, kind)
    }

    pub(crate) fn empty_object(&self) -> Object {
        Object {
            id: self.empty,
            kind: Kind::Tree,
            data: empty_tree(self.format).into(),
        }
    }

    /// Moves names, and tells who watches them.
    pub(crate) fn update(&self, edits: &[RefEdit]) -> Result<(), UpdateError> {
        self.backend.update(edits)?;
        edits
            .iter()
            .for_each(|edit| self.hub.moved(self, &edit.name));
        Ok(())
    }

    /// A commit, or the one that a tag of this id means.
    pub(crate) fn peeled(&self, mut id: Id) -> Result<(Id, Arc<CommitData>), ReadError> {
        let commits = self.commits.lock();
        if let Some((_, data)) = commits.iter().find(|commit| commit.0 == id) {
            return Ok((id, data.clone()));
        }
        drop(commits);
        let malformed = |id| move |malformed| ReadError::Malformed { id, malformed };
        loop {
            let kind = Kind::Commit;
            let object = self
                .backend
                .read(&id)?
                .ok_or(ReadError::Missing { id, kind })?;
            match object.kind {
                Kind::Commit => {
                    let data = CommitData::decode(self.format, &object.data);
                    return Ok((id, Arc::new(data.map_err(malformed(id))?)));
                }
                Kind::Tag => {
                    id = TagData::decode(self.format, &object.data)
                        .map_err(malformed(id))?
                        .target
                }
                found => return Err(ReadError::WrongKind { id, kind, found }),
            }
        }
    }

    /// A commit that must be here.
    pub(crate) fn commit(&self, id: &Id) -> Result<CommitData, ReadError> {
        let data = self.object(id, Kind::Commit)?;
        CommitData::decode(self.format, &data)
            .map_err(|malformed| ReadError::Malformed { id: *id, malformed })
    }
}

/// The bytes of an object that must be in a backend and of this kind.
pub(crate) fn object(backend: &dyn Backend, id: &Id, kind: Kind) -> Result<Bytes, ReadError> {
    let (id, found) = (*id, backend.read(id)?);
    let object = found.ok_or(ReadError::Missing { id, kind })?;
    match object.kind {
        found if found == kind => Ok(object.data),
        found => Err(ReadError::WrongKind { id, kind, found }),
    }
}

impl Shard {
    /// Returns what is thrown out.
    fn replace(&mut self, id: &Id) -> Option<(Id, Arc<Page>)> {
        let page = match self.young.remove(id) {
            Some(page) => {
                self.weight -= page.weight();
                page
            }
            None => self.old.remove(id)?,
        };
        self.replaced.push_front((*id, page));
        (self.replaced.len() > REPLACED)
            .then(|| self.replaced.pop_back())
            .flatten()
    }

    /// Returns what was thrown out.
    fn add(&mut self, id: Id, page: Arc<Page>, room: usize) -> HashMap<Id, Arc<Page>> {
        let weight = page.weight();
        let full = if self.weight + weight > room {
            self.weight = 0;
            mem::replace(&mut self.old, mem::take(&mut self.young))
        } else {
            HashMap::new()
        };
        if self.young.insert(id, page).is_none() {
            self.weight += weight;
        }
        full
    }
}

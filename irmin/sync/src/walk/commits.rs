//! Which commits some lead to and others do not.

use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use irmin::raw::CommitData;
use irmin::{Backend, CommitIndex, Id, Kind};

use super::{Options, WalkError, read, report};

/// Where a commit stands in the order of the walk: no commit comes before its children, as far as
/// generations are known; clocks decide among the others, which are later than all that are known.
type Key = (u32, i64);

/// What is known of a commit.
pub(super) struct Node {
    pub tree: Id,
    pub parents: Box<[Id]>,
    key: Key,
    wanted: bool,
    /// The receiver has it.
    pub had: bool,
    queued: bool,
}

/// The commits met so far, painted as wanted, had or both.
pub(super) struct History<'a> {
    store: &'a dyn Backend,
    index: Option<Arc<dyn CommitIndex>>,
    /// Where the store's own history ends.
    own: HashSet<Id>,
    cut: Option<&'a HashSet<Id>>,
    have_cut: Option<&'a HashSet<Id>>,
    nodes: HashMap<Id, Node>,
    queue: BinaryHeap<(Key, Id)>,
    /// How many in the queue are wanted and not had.
    open: usize,
    /// Commits that were taken from the queue as wanted, newest first.
    taken: Vec<Id>,
    haves: bool,
}

/// So many commits that are had are looked at beyond the last wanted one, for clocks that went back.
const SLOP: usize = 5;

impl<'a> History<'a> {
    pub fn new(
        store: &'a dyn Backend,
        own: HashSet<Id>,
        cut: Option<&'a HashSet<Id>>,
        have_cut: Option<&'a HashSet<Id>>,
    ) -> History<'a> {
        History {
            store,
            index: (store.commit_index().unwrap_or(None)).filter(|index| index.has_trees()),
            own,
            cut,
            have_cut,
            nodes: HashMap::new(),
            queue: BinaryHeap::new(),
            open: 0,
            taken: Vec::new(),
            haves: false,
        }
    }

    pub fn want(&mut self, id: Id) -> Result<(), WalkError> {
        self.paint(id, false)
    }

    pub fn have(&mut self, id: Id) -> Result<(), WalkError> {
        self.haves = true;
        self.paint(id, true)
    }

    /// Whether the receiver has anything.
    pub fn has_haves(&self) -> bool {
        self.haves
    }

    pub fn node(&self, id: &Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    fn load(&self, id: Id) -> Result<Node, WalkError> {
        let node = |tree, parents: Vec<Id>, key| Node {
            tree,
            parents: parents.into(),
            key,
            wanted: false,
            had: false,
            queued: false,
        };
        if let Some(index) = &self.index
            && let Some(at) = index.position(&id)?
        {
            let mut positions = Vec::new();
            index.parents(at, &mut positions)?;
            let parents: Result<Vec<Id>, _> =
                positions.into_iter().map(|at| index.id(at)).collect();
            let key = (index.generation(at)?, index.time(at)?);
            return Ok(node(index.tree(at)?, parents?, key));
        }
        let object = read(self.store, id, Kind::Commit)?;
        let data = CommitData::decode(self.store.format(), &object.data).map_err(|malformed| {
            irmin::BackendError::Corrupt {
                what: format!("{id} ({malformed})"),
            }
        })?;
        let parents = if self.own.contains(&id) {
            Vec::new()
        } else {
            data.parents
        };
        Ok(node(
            data.tree,
            parents,
            (u32::MAX, data.committer.seconds()),
        ))
    }

    fn paint(&mut self, id: Id, had: bool) -> Result<(), WalkError> {
        if !self.nodes.contains_key(&id) {
            match self.load(id) {
                Ok(node) => drop(self.nodes.insert(id, node)),
                // What the receiver has may be here in part only.
                Err(WalkError::Missing { .. }) if had => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let Entry::Occupied(mut entry) = self.nodes.entry(id) else {
            return Ok(());
        };
        let node = entry.get_mut();
        let was_open = node.queued && !node.had;
        let changed = if had { !node.had } else { !node.wanted };
        node.had |= had;
        node.wanted |= !had;
        if changed && !node.queued && (had || !node.had) {
            node.queued = true;
            self.queue.push((node.key, id));
        }
        let is_open = node.queued && !node.had;
        self.open = self.open + usize::from(is_open) - usize::from(was_open);
        Ok(())
    }

    /// Paints until no commit that is wanted and not had is left to look at.
    pub fn walk(&mut self, options: &mut Options<'_>) -> Result<(), WalkError> {
        let mut oldest: Key = (u32::MAX, i64::MAX);
        let mut slop = SLOP;
        while let Some((key, id)) = self.queue.pop() {
            if self.open == 0 {
                if key < oldest {
                    slop -= 1;
                }
                if slop == 0 || self.taken.is_empty() {
                    break;
                }
            } else {
                slop = SLOP;
            }
            let node = self.nodes.get_mut(&id).expect("what is queued is known");
            node.queued = false;
            let had = node.had;
            let stop = if had { self.have_cut } else { self.cut };
            let parents = match stop {
                Some(stop) if stop.contains(&id) => Box::default(),
                _ => node.parents.clone(),
            };
            if !had {
                self.open -= 1;
                oldest = oldest.min(key);
                self.taken.push(id);
                report(options, self.taken.len())?;
            }
            for parent in parents {
                self.paint(parent, had)?;
            }
        }
        Ok(())
    }

    /// The commits that are wanted and not had, newest first; no commit before its children, unless
    /// clocks say so.
    pub fn wanted(&self) -> Vec<Id> {
        let mut taken = self.taken.clone();
        taken.retain(|id| !self.nodes[id].had);
        taken
    }
}

/// Whether `old` is `new` or among the commits before it. Tags are not followed.
///
/// # Errors
/// [`WalkError`]; `Missing` if a commit on the way is not here.
pub fn is_ancestor(store: &dyn Backend, old: &Id, new: &Id) -> Result<bool, WalkError> {
    let own: HashSet<Id> = store.shallow()?.into_iter().collect();
    let history = History::new(store, own, None, None);
    let floor = history.load(*old)?.key;
    let first = history.load(*new)?;
    let mut queue = BinaryHeap::from([(first.key, *new)]);
    let mut parents = HashMap::new();
    parents.insert(*new, first.parents);
    while let Some((key, id)) = queue.pop() {
        if id == *old {
            return Ok(true);
        }
        // Generations never lie; clocks may.
        if key.0 < u32::MAX && key.0 <= floor.0 {
            continue;
        }
        for parent in parents[&id].clone() {
            if let Entry::Vacant(room) = parents.entry(parent) {
                let node = history.load(parent)?;
                queue.push((node.key, parent));
                room.insert(node.parents);
            }
        }
    }
    Ok(false)
}

//! Commits with their generations: those of the backend's index, and all others in memory, as far as
//! questions were asked.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use spin::RwLock;

use super::order::Order;
use crate::raw::CommitData;
use crate::store::object;
use crate::{Backend, BackendError, CommitIndex, Id, Kind, ReadError};

/// A graph of commits that grows as it is asked. A node is a number; its generation is greater than
/// those of its parents.
///
/// Locks are held for a few microseconds and never while anything is read: whoever asks computes in
/// turns, see [`Graph::read`].
#[derive(Default)]
pub(crate) struct Index {
    state: RwLock<Graph>,
}

/// The numbers of an older graph were used: the question has to be asked again.
pub(super) struct Outdated;

/// The graph at one moment. Nodes below `known` are positions in the backend's index, or ranks once
/// it was put in order; after them come those that were read.
#[derive(Default)]
pub(super) struct Graph {
    /// Counts how often all was forgotten.
    epoch: u64,
    index: Option<Arc<dyn CommitIndex>>,
    order: Option<Arc<Order>>,
    /// The index is best asked for one commit after the other.
    has_no_order: bool,
    known: u32,
    shallow: Arc<[Id]>,
    hasher: DefaultHashBuilder,
    by_id: HashTable<u32>,
    nodes: Vec<Node>,
    parents: Vec<u32>,
}

struct Node {
    id: Id,
    is_shallow: bool,
    /// 0 while it is not known.
    generation: u32,
    /// Where its parents stand.
    first: u32,
    /// `NOT_READ` while they are not known.
    count: u32,
}

const NOT_READ: u32 = u32::MAX;

/// How many steps are made before others have their turn. Few in tests, whose histories are short.
const TURN: usize = if cfg!(test) { 4 } else { 1024 };
/// Whoever walks over such a part of the backend's index puts it in order, for all who come later
/// too: that costs less than to read so much of it here and there.
const WORTH_ORDER: usize = 256;

/// One question about the graph.
#[derive(Clone)]
pub(super) struct Asking<'a> {
    backend: &'a dyn Backend,
    index: &'a Index,
    known: Option<Arc<dyn CommitIndex>>,
    order: Option<Arc<Order>>,
    shallow: Arc<[Id]>,
    epoch: u64,
}

/// What stops a question: an answer that cannot be had, or a graph that was made anew meanwhile.
pub(super) enum Stop {
    Outdated,
    Failed(ReadError),
}

impl From<Outdated> for Stop {
    fn from(_: Outdated) -> Stop {
        Stop::Outdated
    }
}

impl<E: Into<ReadError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

impl Index {
    /// Answers a question, again from the start when the graph was made anew meanwhile: the backend
    /// has another index of commits, or the store became shallow, or is no longer.
    pub(super) fn ask<T>(
        &self,
        backend: &dyn Backend,
        mut question: impl FnMut(&Asking<'_>) -> Result<T, Stop>,
    ) -> Result<T, ReadError> {
        loop {
            let asking = self.begin(backend)?;
            match question(&asking) {
                Ok(answer) => return Ok(answer),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Outdated) => {}
            }
        }
    }

    fn begin<'a>(&'a self, backend: &'a dyn Backend) -> Result<Asking<'a>, BackendError> {
        let index = backend.commit_index()?;
        let mut shallow = backend.shallow()?;
        shallow.sort_unstable();
        let is_same = |graph: &Graph| {
            let same_index = match (&graph.index, &index) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
            same_index && graph.shallow[..] == shallow[..]
        };
        let asking = |graph: &Graph| Asking {
            backend,
            index: self,
            known: graph.index.clone(),
            order: graph.order.clone(),
            shallow: graph.shallow.clone(),
            epoch: graph.epoch,
        };
        {
            let graph = self.state.read();
            if is_same(&graph) {
                return Ok(asking(&graph));
            }
        }
        let mut new = Graph {
            known: index.as_ref().map_or(0, |index| index.len()),
            shallow: shallow.clone().into(),
            index: index.clone(),
            ..Graph::default()
        };
        let mut graph = self.state.write();
        if is_same(&graph) {
            return Ok(asking(&graph));
        }
        new.epoch = graph.epoch + 1;
        let old = core::mem::replace(&mut *graph, new);
        let asking = asking(&graph);
        drop(graph);
        drop(old);
        Ok(asking)
    }
}

impl Asking<'_> {
    /// Looks at the graph. What is done with it takes no more than a [`TURN`].
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Graph, usize) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let graph = self.index.state.read();
        if graph.epoch != self.epoch {
            return Err(Stop::Outdated);
        }
        look(&graph, TURN)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Graph) -> T) -> Result<T, Outdated> {
        let mut graph = self.index.state.write();
        if graph.epoch != self.epoch {
            return Err(Outdated);
        }
        Ok(change(&mut graph))
    }

    /// The commit's node, with its generation.
    pub(super) fn load(&self, id: &Id) -> Result<u32, Stop> {
        let position = self.position(id)?;
        let node = match position {
            Some(position) => position,
            None => self.write(|graph| graph.node(id))?,
        };
        self.know(node)?;
        Ok(node)
    }

    /// The node of a commit that the backend's index has.
    fn position(&self, id: &Id) -> Result<Option<u32>, BackendError> {
        let Some(index) = &self.known else {
            return Ok(None);
        };
        let position = index.position(id)?;
        Ok(match &self.order {
            Some(order) => position.and_then(|position| order.rank(position)),
            None => position,
        })
    }

    /// Called now and then by a question that has made so many turns: if it has come far the
    /// backend's index is put in order, and the question begins again.
    pub(super) fn went_on(&self, turns: usize) -> Result<(), Stop> {
        let Some(index) = self.known.as_ref().filter(|_| self.order.is_none()) else {
            return Ok(());
        };
        if turns * TURN < index.len() as usize / WORTH_ORDER {
            return Ok(());
        }
        if self.read(|graph, _| Ok(graph.has_no_order))? {
            return Ok(());
        }
        let Some(order) = Order::of(&**index)? else {
            self.write(|graph| graph.has_no_order = true)?;
            return Ok(());
        };
        self.write(|graph| graph.put_in(order))?;
        Err(Stop::Outdated)
    }

    /// Finds a node's parents and generation. All commits before it that are not known yet, back to
    /// those of the backend's index, are read, once.
    pub(super) fn know(&self, node: u32) -> Result<(), Stop> {
        let mut open = Open::default();
        open.nodes.push((node, false));
        loop {
            let next = self.write(|graph| graph.generations(&mut open, TURN))?;
            match next {
                Next::Done => return Ok(()),
                Next::More => {}
                Next::Circle(id) => {
                    let what = alloc::format!("commit {id} (it comes before itself)");
                    return Err(BackendError::Corrupt { what }.into());
                }
                Next::Read(node, id) => {
                    let (links, is_shallow) = self.links(&id)?;
                    self.write(|graph| graph.add(node, &links, is_shallow))?;
                }
            }
        }
    }

    /// The parents of a commit that is read, and whether they are left out.
    fn links(&self, id: &Id) -> Result<(Links, bool), Stop> {
        if self.shallow.binary_search(id).is_ok() {
            return Ok((Vec::new(), true));
        }
        let data = object(self.backend, id, Kind::Commit)?;
        let (_, parents) = CommitData::decode_links(self.backend.format(), &data)
            .map_err(|malformed| ReadError::Malformed { id: *id, malformed })?;
        let mut links = Vec::with_capacity(parents.len());
        for parent in parents {
            links.push((parent, self.position(&parent)?));
        }
        Ok((links, false))
    }
}

/// Parents, each with its node if the backend's index has it.
type Links = Vec<(Id, Option<u32>)>;

/// What is to be done to know a generation.
enum Next {
    Done,
    More,
    Read(u32, Id),
    /// It is its own ancestor, which no commit is whose id is its hash.
    Circle(Id),
}

/// Nodes whose generations are looked for: each with whether its parents' are already, which stand
/// behind it.
#[derive(Default)]
struct Open {
    nodes: Vec<(u32, bool)>,
    /// How many of them those are: each another's descendant.
    begun: usize,
}

impl Graph {
    pub(super) fn id(&self, node: u32) -> Result<Id, BackendError> {
        match (&self.index, self.own(node)) {
            (_, Some(node)) => Ok(node.id),
            (Some(index), None) => match &self.order {
                Some(order) => index.id(order.position(node)),
                None => index.id(node),
            },
            (None, None) => unreachable!("without an index all nodes are read"),
        }
    }

    /// From now on nodes below `known` are ranks.
    fn put_in(&mut self, order: Order) {
        for parent in &mut self.parents {
            // One that is not in the index stays what it is.
            *parent = order.rank(*parent).unwrap_or(*parent);
        }
        self.order = Some(Arc::new(order));
        self.epoch += 1;
    }

    fn own(&self, node: u32) -> Option<&Node> {
        Some(&self.nodes[node.checked_sub(self.known)? as usize])
    }

    /// `None` while it is not known.
    pub(super) fn generation(&self, node: u32) -> Result<Option<u32>, BackendError> {
        let generation = match (&self.index, self.own(node)) {
            (_, Some(node)) => node.generation,
            (Some(index), None) => match &self.order {
                Some(order) => order.generation(node),
                None => index.generation(node)?.max(1),
            },
            (None, None) => unreachable!("without an index all nodes are read"),
        };
        Ok((generation > 0).then_some(generation))
    }

    pub(super) fn is_shallow(&self, node: u32) -> bool {
        self.own(node).is_some_and(|node| node.is_shallow)
    }

    /// Puts the parents of a node that is known into a list.
    pub(super) fn parents(&self, node: u32, into: &mut Vec<u32>) -> Result<(), BackendError> {
        into.clear();
        match (&self.index, self.own(node)) {
            (_, Some(Node { first, count, .. })) => {
                let range = *first as usize..(first + count) as usize;
                into.extend_from_slice(&self.parents[range]);
            }
            (Some(index), None) => {
                match &self.order {
                    Some(order) => order.parents(node, into),
                    None => index.parents(node, into)?,
                }
                if into.iter().any(|parent| *parent >= self.known) {
                    return Err(contradiction());
                }
            }
            (None, None) => unreachable!("without an index all nodes are read"),
        }
        Ok(())
    }

    /// The node of a commit that the backend's index does not have.
    fn node(&mut self, id: &Id) -> u32 {
        let hash = self.hasher.hash_one(id);
        let at = |node: &u32| (node - self.known) as usize;
        if let Some(node) = self.by_id.find(hash, |node| self.nodes[at(node)].id == *id) {
            return *node;
        }
        let node = self.known + self.nodes.len() as u32;
        self.nodes.push(Node {
            id: *id,
            is_shallow: false,
            generation: 0,
            first: 0,
            count: NOT_READ,
        });
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.by_id
            .insert_unique(hash, node, |node| hasher.hash_one(nodes[at(node)].id));
        node
    }

    /// Keeps what was read of a node.
    fn add(&mut self, node: u32, links: &[(Id, Option<u32>)], is_shallow: bool) {
        let at = (node - self.known) as usize;
        // Somebody else may have asked for it too.
        if self.nodes[at].count != NOT_READ {
            return;
        }
        let first = self.parents.len() as u32;
        for (id, position) in links {
            let parent = position.unwrap_or_else(|| self.node(id));
            self.parents.push(parent);
        }
        let node = &mut self.nodes[at];
        (node.first, node.count) = (first, links.len() as u32);
        (node.generation, node.is_shallow) = (u32::from(is_shallow), is_shallow);
    }

    /// Computes the generation of the last node that is open, and of those before it, as far as all
    /// is read.
    fn generations(&mut self, open: &mut Open, steps: usize) -> Next {
        for _ in 0..steps {
            let Some(&(number, begun)) = open.nodes.last() else {
                return Next::Done;
            };
            let Some(node) = self.own(number).filter(|node| node.generation == 0) else {
                open.nodes.pop();
                open.begun -= usize::from(begun);
                continue;
            };
            if node.count == NOT_READ {
                return Next::Read(number, node.id);
            }
            let mut generation = 1;
            let before = open.nodes.len();
            for &parent in &self.parents[node.first as usize..(node.first + node.count) as usize] {
                // A generation that cannot be read is found out by who walks there.
                match self.generation(parent) {
                    Ok(None) => open.nodes.push((parent, false)),
                    Ok(Some(parent)) => generation = generation.max(parent.saturating_add(1)),
                    Err(_) => {}
                }
            }
            if open.nodes.len() == before {
                let at = (number - self.known) as usize;
                self.nodes[at].generation = generation;
            } else if !begun {
                open.nodes[before - 1].1 = true;
                open.begun += 1;
                if open.begun > self.nodes.len() {
                    return Next::Circle(node.id);
                }
            }
        }
        Next::More
    }
}

/// A backend's index that cannot be.
pub(super) fn contradiction() -> BackendError {
    BackendError::Corrupt {
        what: "the index of commits (parents and generations contradict each other)".into(),
    }
}

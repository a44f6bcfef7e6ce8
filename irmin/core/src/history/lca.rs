//! Best common ancestors and ancestry, by generations.
//!
//! Two colours run down from the two sides, the greatest generation first. When a commit's turn
//! comes, all its descendants have had theirs, so its colours are final: one with both that nobody
//! marked stale is a best common ancestor, and everything before it is stale. The search is over
//! when only stale commits are left.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use super::HistoryError;
use super::index::{Asking, Graph, Index, Stop, contradiction};
use crate::{Backend, BackendError, Id, ReadError};

const OURS: u8 = 1;
const THEIRS: u8 = 2;
const STALE: u8 = 4;

impl Index {
    /// The best common ancestors of what is before (or in) one set of commits and another.
    pub(crate) fn lcas(
        &self,
        backend: &dyn Backend,
        ours: &[Id],
        theirs: &[Id],
        limit: usize,
    ) -> Result<Vec<Id>, HistoryError> {
        let found = self.ask(backend, |asking| {
            let mut search = Search::new(limit);
            search.begin(asking, ours, OURS)?;
            search.begin(asking, theirs, THEIRS)?;
            let (mut found, mut turns) = (Vec::new(), 0);
            let end = loop {
                let step =
                    asking.read(|graph, steps| search.ancestors(graph, steps, &mut found))?;
                match step {
                    Step::End(end) => break end,
                    Step::Unknown(node) => asking.know(node)?,
                    Step::More => {
                        turns += 1;
                        asking.went_on(turns)?;
                    }
                }
            };
            Ok((found, end))
        })?;
        let (mut found, end) = found;
        match end {
            End::Limit => return Err(HistoryError::Limit { limit }),
            End::Cut if found.is_empty() => return Err(HistoryError::Shallow),
            _ => {}
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Whether the first commit is the second or before it.
    pub(crate) fn is_ancestor(
        &self,
        backend: &dyn Backend,
        ancestor: &Id,
        of: &Id,
    ) -> Result<bool, ReadError> {
        self.ask(backend, |asking| {
            let goal = asking.load(ancestor)?;
            let mut search = Search::new(usize::MAX);
            search.begin(asking, &[*of], OURS)?;
            let mut turns = 0;
            loop {
                match asking.read(|graph, steps| search.reaches(graph, steps, goal))? {
                    Step::End(is_ancestor) => return Ok(is_ancestor),
                    Step::Unknown(node) => asking.know(node)?,
                    Step::More => {
                        turns += 1;
                        asking.went_on(turns)?;
                    }
                }
            }
        })
    }
}

/// What came of a turn.
enum Step<T> {
    End(T),
    /// This node's generation is needed.
    Unknown(u32),
    More,
}

/// How a search for common ancestors ended.
enum End {
    Whole,
    /// Commits are left out of a shallow store.
    Cut,
    Limit,
}

struct Search {
    /// By generation.
    queue: BinaryHeap<(u32, u32)>,
    colours: Colours,
    /// How many in the queue are not stale.
    fresh: usize,
    /// How many that are not stale may still have their turn.
    left: usize,
    is_cut: bool,
    parents: Vec<u32>,
}

impl Search {
    fn new(limit: usize) -> Search {
        Search {
            queue: BinaryHeap::new(),
            colours: Colours::default(),
            fresh: 0,
            left: limit,
            is_cut: false,
            parents: Vec::new(),
        }
    }

    fn begin(&mut self, asking: &Asking<'_>, ids: &[Id], colour: u8) -> Result<(), Stop> {
        for id in ids {
            let node = asking.load(id)?;
            let generation = asking.read(|graph, _| Ok(graph.generation(node)?))?;
            self.paint(node, generation.unwrap_or(1), colour);
        }
        Ok(())
    }

    fn ancestors(
        &mut self,
        graph: &Graph,
        steps: usize,
        found: &mut Vec<Id>,
    ) -> Result<Step<End>, Stop> {
        for _ in 0..steps {
            if self.fresh == 0 {
                let end = if self.is_cut { End::Cut } else { End::Whole };
                return Ok(Step::End(end));
            }
            let &(generation, node) = self.queue.peek().expect("something fresh is queued");
            if let Some(unknown) = self.look_up(graph, node)? {
                return Ok(Step::Unknown(unknown));
            }
            self.queue.pop();
            let colours = *self.colours.at(node);
            let mut passed_on = colours;
            if colours & STALE == 0 {
                if self.left == 0 {
                    return Ok(Step::End(End::Limit));
                }
                (self.left, self.fresh) = (self.left - 1, self.fresh - 1);
                if colours == OURS | THEIRS {
                    found.push(graph.id(node)?);
                    passed_on |= STALE;
                } else {
                    self.is_cut |= graph.is_shallow(node);
                }
            }
            self.pass_on(graph, generation, passed_on)?;
        }
        Ok(Step::More)
    }

    fn reaches(&mut self, graph: &Graph, steps: usize, goal: u32) -> Result<Step<bool>, Stop> {
        let lowest = graph.generation(goal)?.unwrap_or(1);
        for _ in 0..steps {
            if *self.colours.at(goal) != 0 {
                return Ok(Step::End(true));
            }
            let Some(&(generation, node)) = self.queue.peek() else {
                return Ok(Step::End(false));
            };
            if generation <= lowest {
                // Nothing before it is the goal, nor before what is queued behind it.
                return Ok(Step::End(false));
            }
            if let Some(unknown) = self.look_up(graph, node)? {
                return Ok(Step::Unknown(unknown));
            }
            self.queue.pop();
            self.pass_on(graph, generation, OURS)?;
        }
        Ok(Step::More)
    }

    /// Looks up the parents of the node whose turn it is; gives one whose generation is not known.
    fn look_up(&mut self, graph: &Graph, node: u32) -> Result<Option<u32>, BackendError> {
        graph.parents(node, &mut self.parents)?;
        for parent in &self.parents {
            if graph.generation(*parent)?.is_none() {
                return Ok(Some(*parent));
            }
        }
        Ok(None)
    }

    /// Paints the parents that were looked up.
    fn pass_on(&mut self, graph: &Graph, below: u32, colours: u8) -> Result<(), BackendError> {
        let parents = core::mem::take(&mut self.parents);
        for parent in &parents {
            let generation = graph.generation(*parent)?.unwrap_or(u32::MAX);
            if generation >= below {
                return Err(contradiction());
            }
            self.paint(*parent, generation, colours);
        }
        self.parents = parents;
        Ok(())
    }

    fn paint(&mut self, node: u32, generation: u32, colour: u8) {
        let colours = self.colours.at(node);
        if *colours == 0 {
            *colours = colour;
            self.queue.push((generation, node));
            self.fresh += usize::from(colour & STALE == 0);
            return;
        }
        // It is still queued: only commits of greater generations had their turn.
        if *colours & STALE == 0 && colour & STALE != 0 {
            self.fresh -= 1;
        }
        *colours |= colour;
    }
}

/// The colours of nodes by their numbers, in blocks that are made as they are needed.
#[derive(Default)]
struct Colours(Vec<Option<Box<[u8; 4096]>>>);

impl Colours {
    fn at(&mut self, node: u32) -> &mut u8 {
        let (block, at) = (node as usize / 4096, node as usize % 4096);
        if block >= self.0.len() {
            self.0.resize_with(block + 1, || None);
        }
        &mut self.0[block].get_or_insert_with(|| Box::new([0; 4096]))[at]
    }
}

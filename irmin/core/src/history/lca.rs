//! Best common ancestors and ancestry, by generations.
//!
//! Two colours run down from the two sides, the greatest generation first. When a commit's turn
//! comes, all its descendants have had theirs, so its colours are final: one with both that nobody
//! marked stale is a best common ancestor, and everything before it is stale. The search is over
//! when only stale commits are left.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{HistoryError, Index};
use crate::{Backend, Id, ReadError};

const OURS: u8 = 1;
const THEIRS: u8 = 2;
const STALE: u8 = 4;

impl Index {
    /// The best common ancestors of what is before (or in) one set of commits and another.
    pub(crate) fn lcas(
        &mut self,
        backend: &dyn Backend,
        ours: &[Id],
        theirs: &[Id],
        limit: usize,
    ) -> Result<Vec<Id>, HistoryError> {
        let mut search = Search::default();
        for (ids, colour) in [(ours, OURS), (theirs, THEIRS)] {
            for id in ids {
                let node = self.load(backend, id)?;
                search.paint(node, self.generation(node), colour);
            }
        }
        let mut found = Vec::new();
        let mut is_cut = false;
        let mut seen = 0;
        while search.fresh > 0 {
            let (_, node) = search.queue.pop().expect("something fresh is queued");
            let colours = search.colours[&node];
            if colours & STALE == 0 {
                search.fresh -= 1;
                seen += 1;
                if seen > limit {
                    return Err(HistoryError::Limit { limit });
                }
            }
            let mut passed_on = colours;
            if colours == OURS | THEIRS {
                found.push(self.id(node));
                passed_on |= STALE;
            } else if colours & STALE == 0 {
                is_cut |= self.is_shallow(node);
            }
            for at in self.parents(node) {
                let parent = self.parent(at);
                self.know(backend, parent)?;
                search.paint(parent, self.generation(parent), passed_on);
            }
        }
        if found.is_empty() && is_cut {
            return Err(HistoryError::Shallow);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Whether the first commit is the second or before it.
    pub(crate) fn is_ancestor(
        &mut self,
        backend: &dyn Backend,
        ancestor: &Id,
        of: &Id,
    ) -> Result<bool, ReadError> {
        let goal = self.load(backend, ancestor)?;
        let start = self.load(backend, of)?;
        let lowest = self.generation(goal);
        let mut search = Search::default();
        search.paint(start, self.generation(start), OURS);
        while let Some((generation, node)) = search.queue.pop() {
            if node == goal {
                return Ok(true);
            }
            if generation <= lowest {
                // Nothing before it is the goal.
                continue;
            }
            for at in self.parents(node) {
                let parent = self.parent(at);
                self.know(backend, parent)?;
                search.paint(parent, self.generation(parent), OURS);
            }
        }
        Ok(false)
    }
}

#[derive(Default)]
struct Search {
    queue: BinaryHeap<(u32, u32)>,
    colours: HashMap<u32, u8>,
    /// How many in the queue are not stale.
    fresh: usize,
}

impl Search {
    fn paint(&mut self, node: u32, generation: u32, colour: u8) {
        match self.colours.get_mut(&node) {
            None => {
                self.colours.insert(node, colour);
                self.queue.push((generation, node));
                self.fresh += usize::from(colour & STALE == 0);
            }
            // It is still queued: only commits of greater generations had their turn.
            Some(colours) => {
                if *colours & STALE == 0 && colour & STALE != 0 {
                    self.fresh -= 1;
                }
                *colours |= colour;
            }
        }
    }
}

//! A backend's index of commits in an order of its own: by generation, as walks go.

use alloc::vec::Vec;

use super::index::contradiction;
use crate::{BackendError, CommitIndex};

/// All commits of an index, the greatest generation first. A commit's place here is its rank: a long
/// walk reads memory from one end to the other, where positions, which say nothing about history,
/// would have it wait for each commit.
pub(super) struct Order {
    /// By position.
    ranks: Vec<u32>,
    /// By rank.
    rows: Vec<Row>,
    /// Where a commit has more than two parents: how many after the first, and which.
    more: Vec<u32>,
}

#[derive(Clone, Default)]
struct Row {
    position: u32,
    generation: u32,
    first: u32,
    second: u32,
}

/// Stands for a parent where there is none.
const NONE: u32 = u32::MAX;
/// Set where a list of parents begins.
const MORE: u32 = 0x8000_0000;
/// The rank of a parent that is not in the index, which whoever walks there finds out.
const OUTSIDE: u32 = MORE - 1;

impl Order {
    /// Puts an index in order: reads it once from end to end. `None` if that saves nothing.
    pub(super) fn of(index: &dyn CommitIndex) -> Result<Option<Order>, BackendError> {
        let len = index.len();
        if len >= OUTSIDE {
            return Ok(None);
        }
        let (mut found, mut more) = (Vec::with_capacity(len as usize), Vec::new());
        // How many commits each generation has, the greatest first. One that cannot be counts as
        // the greatest: the order makes walks fast and no answer depends on it.
        let mut ends = alloc::vec![0u32; len as usize + 1];
        let bucket = |generation: u32| (len - generation.min(len)) as usize;
        let inside = |parent: &u32| (*parent).min(OUTSIDE);
        let can_be_read = index.all(&mut |generation, parents| {
            let first = parents.first().map_or(NONE, inside);
            let second = match parents {
                [] | [_] => NONE,
                [_, second] => inside(second),
                [_, others @ ..] => {
                    let start = MORE | more.len() as u32;
                    more.push(others.len() as u32);
                    more.extend(others);
                    start
                }
            };
            ends[bucket(generation)] += 1;
            found.push((generation.max(1), first, second));
        })?;
        if !can_be_read {
            return Ok(None);
        }
        if found.len() != len as usize || more.len() >= OUTSIDE as usize {
            return Err(contradiction());
        }
        let mut start = 0;
        for end in &mut ends {
            start += core::mem::replace(end, start);
        }
        let mut ranks = Vec::with_capacity(found.len());
        for (generation, _, _) in &found {
            let next = &mut ends[bucket(*generation)];
            ranks.push(*next);
            *next += 1;
        }
        drop(ends);
        let rank = |position: u32| ranks.get(position as usize).copied().unwrap_or(OUTSIDE);
        let mut at = 0;
        while at < more.len() {
            let end = at + 1 + more[at] as usize;
            more[at + 1..end]
                .iter_mut()
                .for_each(|parent| *parent = rank(*parent));
            at = end;
        }
        let mut rows = alloc::vec![Row::default(); found.len()];
        for (position, (generation, first, second)) in found.into_iter().enumerate() {
            rows[ranks[position] as usize] = Row {
                position: position as u32,
                generation,
                first: if first == NONE { NONE } else { rank(first) },
                second: if second & MORE == 0 {
                    rank(second)
                } else {
                    second
                },
            };
        }
        Ok(Some(Order { ranks, rows, more }))
    }

    /// The rank of a commit by its position.
    pub(super) fn rank(&self, position: u32) -> Option<u32> {
        self.ranks.get(position as usize).copied()
    }

    /// The position of a commit by its rank.
    pub(super) fn position(&self, rank: u32) -> u32 {
        self.rows[rank as usize].position
    }

    pub(super) fn generation(&self, rank: u32) -> u32 {
        self.rows[rank as usize].generation
    }

    /// Adds the ranks of a commit's parents to a list. They are below the number of commits, or it is
    /// a contradiction.
    pub(super) fn parents(&self, rank: u32, into: &mut Vec<u32>) {
        let Row { first, second, .. } = self.rows[rank as usize];
        if first != NONE {
            into.push(first);
        }
        if second < MORE {
            into.push(second);
        } else if second != NONE {
            let at = (second & !MORE) as usize;
            into.extend_from_slice(&self.more[at + 1..][..self.more[at] as usize]);
        }
    }
}

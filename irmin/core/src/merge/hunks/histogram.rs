//! The histogram algorithm: the longest common run around the rarest line, then the same before and
//! behind it. Where all common lines are too frequent, Myers' algorithm takes over.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use super::{Marks, myers};

/// A line that the old text has more often is not taken for a beginning.
const OCCURRENCES_MAX: usize = 64;

/// How many lines are compared at most before the rest is taken to differ as a whole, which is never
/// wrong, only coarse. Texts that people write stay far below.
const STEPS_MAX: usize = 1 << 28;

pub(super) fn compare(old: &[u32], new: &[u32]) -> Marks {
    let mut marks = Marks {
        gone: alloc::vec![false; old.len()],
        come: alloc::vec![false; new.len()],
    };
    let mut steps = 0;
    let mut open = alloc::vec![(0..old.len(), 0..new.len())];
    while let Some((x, y)) = open.pop() {
        if x.is_empty() || y.is_empty() || steps > STEPS_MAX {
            marks.gone[x].fill(true);
            marks.come[y].fill(true);
            continue;
        }
        match Search::new(old, new, x.clone(), y.clone()).run(&mut steps) {
            Found::Run(old, new) => {
                open.push((old.end..x.end, new.end..y.end));
                open.push((x.start..old.start, y.start..new.start));
            }
            Found::Nothing => {
                marks.gone[x].fill(true);
                marks.come[y].fill(true);
            }
            Found::OnlyFrequent => {
                let part = myers::compare(&old[x.clone()], &new[y.clone()]);
                marks.gone[x].copy_from_slice(&part.gone);
                marks.come[y].copy_from_slice(&part.come);
            }
        }
    }
    marks
}

enum Found {
    /// The run in both texts.
    Run(Range<usize>, Range<usize>),
    /// There is no common line.
    Nothing,
    /// There are common lines, all of them too often.
    OnlyFrequent,
}

/// One line of the old part.
struct Record {
    first: usize,
    count: usize,
}

/// The search for the best run in a part of both texts.
struct Search<'a> {
    old: &'a [u32],
    new: &'a [u32],
    x: Range<usize>,
    y: Range<usize>,
    records: HashMap<u32, Record>,
    /// The next place of the same line in the old part.
    next: Vec<Option<usize>>,
    /// How often the rarest line of the best run is there.
    rarest: usize,
    has_common: bool,
    best: Option<(Range<usize>, Range<usize>)>,
}

impl<'a> Search<'a> {
    fn new(old: &'a [u32], new: &'a [u32], x: Range<usize>, y: Range<usize>) -> Search<'a> {
        let mut records: HashMap<u32, Record> = HashMap::with_capacity(x.len());
        let mut next = alloc::vec![None; x.len()];
        for at in x.clone().rev() {
            records
                .entry(old[at])
                .and_modify(|record| {
                    next[at - x.start] = Some(record.first);
                    record.first = at;
                    record.count += 1;
                })
                .or_insert(Record {
                    first: at,
                    count: 1,
                });
        }
        Search {
            old,
            new,
            x,
            y,
            records,
            next,
            rarest: OCCURRENCES_MAX + 1,
            has_common: false,
            best: None,
        }
    }

    fn run(mut self, steps: &mut usize) -> Found {
        *steps += self.x.len();
        let mut at = self.y.start;
        while at < self.y.end {
            at = self.runs_through(at, steps);
        }
        match self.best {
            _ if self.has_common && self.rarest > OCCURRENCES_MAX => Found::OnlyFrequent,
            Some((old, new)) => Found::Run(old, new),
            None => Found::Nothing,
        }
    }

    /// Looks at the runs through this line of the new text; gives the line to go on with.
    fn runs_through(&mut self, line: usize, steps: &mut usize) -> usize {
        let mut go_on = line + 1;
        *steps += 1;
        let Some(record) = self.records.get(&self.new[line]) else {
            return go_on;
        };
        self.has_common = true;
        if record.count > self.rarest {
            return go_on;
        }
        let count = |at: usize| self.records[&self.old[at]].count;
        let mut place = Some(record.first);
        while let Some(middle) = place {
            let (mut old, mut new) = (middle..middle + 1, line..line + 1);
            let mut rarest = record.count;
            while old.start > self.x.start
                && new.start > self.y.start
                && self.old[old.start - 1] == self.new[new.start - 1]
            {
                (old.start, new.start) = (old.start - 1, new.start - 1);
                rarest = rarest.min(count(old.start));
            }
            while old.end < self.x.end
                && new.end < self.y.end
                && self.old[old.end] == self.new[new.end]
            {
                rarest = rarest.min(count(old.end));
                (old.end, new.end) = (old.end + 1, new.end + 1);
            }
            *steps += old.len();
            go_on = go_on.max(new.end);
            // The next place that this run does not hold.
            let after = |at: usize| self.next[at - self.x.start];
            place = after(middle);
            while let Some(at) = place.filter(|at| *at < old.end) {
                place = after(at);
            }
            // One line alone is no gain by its length.
            let length = self.best.as_ref().map_or(1, |(best, _)| best.len());
            if old.len() > length || rarest < self.rarest {
                self.best = Some((old, new));
                self.rarest = rarest;
            }
        }
        go_on
    }
}

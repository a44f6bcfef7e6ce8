//! Myers' algorithm ("An O(ND) Difference Algorithm and its Variations", 1986) in linear space, with
//! Git's ways to end early, so that it cuts where Git does: lines that the other text lacks, or has
//! too often, are left out before; a search for the middle that takes too long ends where it is.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use super::Marks;

pub(super) fn compare(old: &[u32], new: &[u32]) -> Marks {
    let mut marks = Marks {
        gone: alloc::vec![false; old.len()],
        come: alloc::vec![false; new.len()],
    };
    let same = |(a, b): &(&u32, &u32)| a == b;
    let start = old.iter().zip(new).take_while(same).count();
    let rest = old.len().min(new.len()) - start;
    let backwards = old.iter().rev().zip(new.iter().rev());
    let end = backwards.take(rest).take_while(same).count();
    let inside = |text: &[u32]| start..text.len() - end;
    let kept_old = kept(old, new, inside(old), &mut marks.gone);
    let kept_new = kept(new, old, inside(new), &mut marks.come);
    let lines = |text: &[u32], kept: &[usize]| kept.iter().map(|at| text[*at]).collect::<Vec<_>>();
    let (a, b) = (lines(old, &kept_old), lines(new, &kept_new));
    let cost_max = root(a.len() + b.len() + 3).max(COST_MIN);
    let mut open = alloc::vec![Part {
        x: 0..a.len(),
        y: 0..b.len(),
        is_exact: false,
    }];
    let mut middles = Middles::new(&a, &b, cost_max as isize);
    while let Some(Part {
        mut x,
        mut y,
        is_exact,
    }) = open.pop()
    {
        while !x.is_empty() && !y.is_empty() && a[x.start] == b[y.start] {
            (x.start, y.start) = (x.start + 1, y.start + 1);
        }
        while !x.is_empty() && !y.is_empty() && a[x.end - 1] == b[y.end - 1] {
            (x.end, y.end) = (x.end - 1, y.end - 1);
        }
        if x.is_empty() || y.is_empty() {
            x.for_each(|at| marks.gone[kept_old[at]] = true);
            y.for_each(|at| marks.come[kept_new[at]] = true);
            continue;
        }
        let middle = middles.find(&x, &y, is_exact);
        open.push(Part {
            x: x.start..middle.x,
            y: y.start..middle.y,
            is_exact: middle.is_exact.0,
        });
        open.push(Part {
            x: middle.x..x.end,
            y: middle.y..y.end,
            is_exact: middle.is_exact.1,
        });
    }
    marks
}

/// Parts of both texts that are to be compared.
struct Part {
    x: Range<usize>,
    y: Range<usize>,
    /// Whether the search may not end early.
    is_exact: bool,
}

/// About the square root: a power of two.
fn root(mut n: usize) -> usize {
    let mut root = 1;
    while n > 0 {
        root <<= 1;
        n >>= 2;
    }
    root
}

/// From so many occurrences on a line is frequent, in large texts.
const FREQUENT_MAX: usize = 1024;
/// How far around a frequent line is looked for lines that the other text lacks.
const WINDOW: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    None,
    Some,
    Many,
}

/// The lines of a text that are compared at all; the others are marked.
fn kept(text: &[u32], other: &[u32], inside: Range<usize>, marks: &mut [bool]) -> Vec<usize> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for line in other {
        *counts.entry(*line).or_default() += 1;
    }
    let many = root(text.len()).min(FREQUENT_MAX);
    let matches: Vec<Matches> = text[inside.clone()]
        .iter()
        .map(|line| match counts.get(line) {
            None => Matches::None,
            Some(count) if *count >= many => Matches::Many,
            Some(_) => Matches::Some,
        })
        .collect();
    let mut kept = Vec::new();
    for (at, line) in matches.iter().enumerate() {
        match line {
            Matches::Some => kept.push(inside.start + at),
            Matches::Many if !is_lost(&matches, at) => kept.push(inside.start + at),
            _ => marks[inside.start + at] = true,
        }
    }
    kept
}

/// Whether a frequent line stands among lines most of which the other text lacks.
fn is_lost(matches: &[Matches], at: usize) -> bool {
    let count = |lines: &mut dyn Iterator<Item = &Matches>| {
        let run = lines
            .take(WINDOW)
            .take_while(|line| **line != Matches::Some);
        run.fold((0, 0), |(none, many), line| match line {
            Matches::None => (none + 1, many),
            _ => (none, many + 1),
        })
    };
    let before = count(&mut matches[..at].iter().rev());
    let behind = count(&mut matches[at + 1..].iter());
    // The line itself is counted on either side.
    let (none, many) = (before.0 + behind.0, before.1 + behind.1 + 2);
    before.0 > 0 && behind.0 > 0 && many * 4 < many + none
}

/// A search makes at least so many steps before it may end early.
const COST_MIN: usize = 256;
/// So many equal lines in a row are a good place.
const SNAKE: isize = 20;
/// How much further than its steps a way must be to be a good one.
const GAIN: isize = 4;

struct Middle {
    x: usize,
    y: usize,
    /// Whether the parts before and behind it are to be searched to the end.
    is_exact: (bool, bool),
}

/// Searches for a point on a short way through a box.
struct Middles<'a> {
    a: &'a [u32],
    b: &'a [u32],
    cost_max: isize,
    /// The furthest x on each diagonal, from the front and from the back.
    front: Vec<isize>,
    back: Vec<isize>,
}

impl<'a> Middles<'a> {
    fn new(a: &'a [u32], b: &'a [u32], cost_max: isize) -> Middles<'a> {
        let diagonals = a.len() + b.len() + 3;
        Middles {
            a,
            b,
            cost_max,
            front: alloc::vec![0; diagonals],
            back: alloc::vec![0; diagonals],
        }
    }

    fn at(&self, diagonal: isize) -> usize {
        (diagonal + self.b.len() as isize + 1) as usize
    }

    fn find(&mut self, x: &Range<usize>, y: &Range<usize>, is_exact: bool) -> Middle {
        let (x0, x1) = (x.start as isize, x.end as isize);
        let (y0, y1) = (y.start as isize, y.end as isize);
        let (least, most) = (x0 - y1, x1 - y0);
        let (front_mid, back_mid) = (x0 - y0, x1 - y1);
        let is_odd = (front_mid - back_mid) & 1 != 0;
        let mut front = front_mid..=front_mid;
        let mut back = back_mid..=back_mid;
        let at = |diagonal: isize| (diagonal + self.b.len() as isize + 1) as usize;
        self.front[at(front_mid)] = x0;
        self.back[at(back_mid)] = x1;
        for cost in 1.. {
            let mut has_snake = false;
            front = widened(&front, least, most);
            if *front.start() == front_mid - cost {
                self.front[at(front.start() - 1)] = -1;
            }
            if *front.end() == front_mid + cost {
                self.front[at(front.end() + 1)] = -1;
            }
            for d in front.clone().rev().step_by(2) {
                let (left, right) = (self.front[at(d - 1)], self.front[at(d + 1)]);
                let start = if left >= right { left + 1 } else { right };
                let mut i = start;
                while i < x1 && i - d < y1 && self.a[i as usize] == self.b[(i - d) as usize] {
                    i += 1;
                }
                has_snake |= i - start > SNAKE;
                self.front[at(d)] = i;
                if is_odd && back.contains(&d) && self.back[at(d)] <= i {
                    return middle(i, i - d, (true, true));
                }
            }
            back = widened(&back, least, most);
            if *back.start() == back_mid - cost {
                self.back[at(back.start() - 1)] = isize::MAX;
            }
            if *back.end() == back_mid + cost {
                self.back[at(back.end() + 1)] = isize::MAX;
            }
            for d in back.clone().rev().step_by(2) {
                let (left, right) = (self.back[at(d - 1)], self.back[at(d + 1)]);
                let start = if left < right { left } else { right - 1 };
                let mut i = start;
                while i > x0 && i - d > y0 && self.a[i as usize - 1] == self.b[(i - d) as usize - 1]
                {
                    i -= 1;
                }
                has_snake |= start - i > SNAKE;
                self.back[at(d)] = i;
                if !is_odd && front.contains(&d) && i <= self.front[at(d)] {
                    return middle(i, i - d, (true, true));
                }
            }
            if is_exact {
                continue;
            }
            if has_snake && cost > COST_MIN as isize {
                let good = self.good_front(x, y, front.clone(), front_mid, cost);
                if let Some((i, j)) = good {
                    return middle(i, j, (true, false));
                }
                let good = self.good_back(x, y, back.clone(), back_mid, cost);
                if let Some((i, j)) = good {
                    return middle(i, j, (false, true));
                }
            }
            if cost >= self.cost_max {
                return self.furthest(x, y, front, back);
            }
        }
        unreachable!("the two ways meet")
    }

    /// The best way from the front that ends in many equal lines.
    fn good_front(
        &self,
        x: &Range<usize>,
        y: &Range<usize>,
        diagonals: core::ops::RangeInclusive<isize>,
        mid: isize,
        cost: isize,
    ) -> Option<(isize, isize)> {
        let (x0, x1) = (x.start as isize, x.end as isize);
        let (y0, y1) = (y.start as isize, y.end as isize);
        let mut best = (0, None);
        for d in diagonals.rev().step_by(2) {
            let i = self.front[self.at(d)];
            let j = i - d;
            let gain = (i - x0) + (j - y0) - (d - mid).abs();
            if gain > GAIN * cost
                && gain > best.0
                && (x0 + SNAKE..x1).contains(&i)
                && (y0 + SNAKE..y1).contains(&j)
                && (1..=SNAKE).all(|k| self.is_same(i - k, j - k))
            {
                best = (gain, Some((i, j)));
            }
        }
        best.1
    }

    /// The same from the back.
    fn good_back(
        &self,
        x: &Range<usize>,
        y: &Range<usize>,
        diagonals: core::ops::RangeInclusive<isize>,
        mid: isize,
        cost: isize,
    ) -> Option<(isize, isize)> {
        let (x0, x1) = (x.start as isize, x.end as isize);
        let (y0, y1) = (y.start as isize, y.end as isize);
        let mut best = (0, None);
        for d in diagonals.rev().step_by(2) {
            let i = self.back[self.at(d)];
            let j = i - d;
            let gain = (x1 - i) + (y1 - j) - (d - mid).abs();
            if gain > GAIN * cost
                && gain > best.0
                && (x0 + 1..=x1 - SNAKE).contains(&i)
                && (y0 + 1..=y1 - SNAKE).contains(&j)
                && (0..SNAKE).all(|k| self.is_same(i + k, j + k))
            {
                best = (gain, Some((i, j)));
            }
        }
        best.1
    }

    fn is_same(&self, i: isize, j: isize) -> bool {
        self.a[i as usize] == self.b[j as usize]
    }

    /// Where either way has come furthest, after enough steps.
    fn furthest(
        &self,
        x: &Range<usize>,
        y: &Range<usize>,
        front: core::ops::RangeInclusive<isize>,
        back: core::ops::RangeInclusive<isize>,
    ) -> Middle {
        let (x0, x1) = (x.start as isize, x.end as isize);
        let (y0, y1) = (y.start as isize, y.end as isize);
        let mut first = (-1, -1);
        for d in front.rev().step_by(2) {
            let mut i = self.front[self.at(d)].min(x1);
            if i - d > y1 {
                i = y1 + d;
            }
            if first.0 < i + (i - d) {
                first = (i + (i - d), i);
            }
        }
        let mut last = (isize::MAX, isize::MAX);
        for d in back.rev().step_by(2) {
            let mut i = self.back[self.at(d)].max(x0);
            if i - d < y0 {
                i = y0 + d;
            }
            if i + (i - d) < last.0 {
                last = (i + (i - d), i);
            }
        }
        if (x1 + y1) - last.0 < first.0 - (x0 + y0) {
            middle(first.1, first.0 - first.1, (true, false))
        } else {
            middle(last.1, last.0 - last.1, (false, true))
        }
    }
}

fn middle(x: isize, y: isize, is_exact: (bool, bool)) -> Middle {
    Middle {
        x: x as usize,
        y: y as usize,
        is_exact,
    }
}

/// One diagonal more on either end, or one less where the box ends.
fn widened(
    diagonals: &core::ops::RangeInclusive<isize>,
    least: isize,
    most: isize,
) -> core::ops::RangeInclusive<isize> {
    let (start, end) = (*diagonals.start(), *diagonals.end());
    let start = if start > least { start - 1 } else { start + 1 };
    let end = if end < most { end + 1 } else { end - 1 };
    start..=end
}

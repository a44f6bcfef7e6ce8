//! The line-wise merge of two texts that began as one, with the outcome of Git's `merge-file`.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use super::Three;

/// Merges. Changes merge if at least one unchanged line is between them, or they are the same.
///
/// # Errors
/// The number (from 1) of the base's line at which the first conflict begins.
pub(super) fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>, usize> {
    let texts = Texts::new(base, ours, theirs);
    let changes = texts.changes();
    match changes.iter().find(|change| change.side == Side::Both) {
        Some(conflict) => Err(conflict.line),
        None => Ok(texts.written(&changes, ["", ""], 0)),
    }
}

/// Merges, with what both sides wrote where they are in conflict, between lines that begin with so
/// many `<`, `=` and `>` and a label, as Git writes it: only the lines in which the two sides differ,
/// and what is between two conflicts where that is no more than three lines.
pub(super) fn marked(
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    labels: [&str; 2],
    size: usize,
) -> Vec<u8> {
    let texts = Texts::new(base, ours, theirs);
    let mut changes = Vec::new();
    for change in texts.changes() {
        let is_small = change.ours.is_empty() || change.theirs.is_empty();
        if change.side != Side::Both || is_small {
            changes.push(change);
            continue;
        }
        let hunks = hunks(
            &texts.numbers.ours[change.ours.clone()],
            &texts.numbers.theirs[change.theirs.clone()],
        );
        let inside = |range: Range<usize>, start: usize| start + range.start..start + range.end;
        changes.extend(hunks.into_iter().map(|hunk| Change {
            ours: inside(hunk.old, change.ours.start),
            theirs: inside(hunk.new, change.theirs.start),
            ..change
        }));
    }
    let mut joined: Vec<Change> = Vec::new();
    for change in changes {
        match joined.last_mut() {
            Some(last)
                if last.side == Side::Both
                    && change.side == Side::Both
                    && change.ours.start - last.ours.end <= 3 =>
            {
                last.ours.end = change.ours.end;
                last.theirs.end = change.theirs.end;
            }
            _ => joined.push(change),
        }
    }
    texts.written(&joined, labels, size)
}

/// Three texts by lines.
struct Texts<'a> {
    ours: Vec<&'a [u8]>,
    theirs: Vec<&'a [u8]>,
    /// Equal lines have equal numbers.
    numbers: Three<Vec<u32>>,
}

/// Lines that differ from the base's on one side or both.
#[derive(Clone)]
struct Change {
    /// Whose lines are taken; `Both` is a conflict.
    side: Side,
    ours: Range<usize>,
    theirs: Range<usize>,
    /// Where in the base, from 1.
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
    Both,
}

impl<'a> Texts<'a> {
    fn new(base: &'a [u8], ours: &'a [u8], theirs: &'a [u8]) -> Texts<'a> {
        let [base, ours, theirs] = [base, ours, theirs].map(lines);
        let mut numbers: HashMap<&'a [u8], u32> = HashMap::new();
        let mut numbered = |lines: &[&'a [u8]]| -> Vec<u32> {
            let number = |line: &&'a [u8]| {
                let next = numbers.len() as u32;
                *numbers.entry(*line).or_insert(next)
            };
            lines.iter().map(number).collect()
        };
        let numbers = Three {
            base: numbered(&base),
            ours: numbered(&ours),
            theirs: numbered(&theirs),
        };
        Texts {
            ours,
            theirs,
            numbers,
        }
    }

    /// All changes in order, those that meet as one.
    fn changes(&self) -> Vec<Change> {
        let Three { base, ours, theirs } = &self.numbers;
        let (our_hunks, their_hunks) = (hunks(base, ours), hunks(base, theirs));
        let mut changes = Vec::new();
        let (mut x, mut y) = (0, 0);
        // Where the base's line that is next stands on either side, less where it stands there.
        let (mut our_shift, mut their_shift) = (0, 0);
        let shifted = |range: &Range<usize>, shift: isize| {
            let move_by = |at: usize| at.wrapping_add_signed(shift);
            move_by(range.start)..move_by(range.end)
        };
        let shift = |hunk: &Hunk| hunk.new.end as isize - hunk.old.end as isize;
        loop {
            match (our_hunks.get(x), their_hunks.get(y)) {
                (None, None) => break,
                (Some(our), their) if their.is_none_or(|their| our.old.end < their.old.start) => {
                    changes.push(Change {
                        side: Side::Ours,
                        ours: our.new.clone(),
                        theirs: shifted(&our.old, their_shift),
                        line: our.old.start + 1,
                    });
                    (x, our_shift) = (x + 1, shift(our));
                }
                (our, Some(their)) if our.is_none_or(|our| their.old.end < our.old.start) => {
                    changes.push(Change {
                        side: Side::Theirs,
                        ours: shifted(&their.old, our_shift),
                        theirs: their.new.clone(),
                        line: their.old.start + 1,
                    });
                    (y, their_shift) = (y + 1, shift(their));
                }
                (Some(our), Some(their)) => {
                    // They meet: all that hang together, from the first line to the last.
                    let start = our.old.start.min(their.old.start);
                    let mut end = our.old.end.max(their.old.end);
                    let (our_start, their_start) = (our_shift, their_shift);
                    (our_shift, their_shift) = (shift(our), shift(their));
                    (x, y) = (x + 1, y + 1);
                    loop {
                        if let Some(our) = our_hunks.get(x).filter(|our| our.old.start <= end) {
                            end = end.max(our.old.end);
                            (x, our_shift) = (x + 1, shift(our));
                        } else if let Some(their) =
                            their_hunks.get(y).filter(|their| their.old.start <= end)
                        {
                            end = end.max(their.old.end);
                            (y, their_shift) = (y + 1, shift(their));
                        } else {
                            break;
                        }
                    }
                    let region = |from: isize, to: isize| {
                        start.wrapping_add_signed(from)..end.wrapping_add_signed(to)
                    };
                    let our_region = region(our_start, our_shift);
                    let their_region = region(their_start, their_shift);
                    let is_same = ours[our_region.clone()] == theirs[their_region.clone()];
                    changes.push(Change {
                        side: if is_same { Side::Ours } else { Side::Both },
                        ours: our_region,
                        theirs: their_region,
                        line: start + 1,
                    });
                }
                (None, Some(_)) | (Some(_), None) => unreachable!("a hunk alone meets no other"),
            }
        }
        changes
    }

    fn written(&self, changes: &[Change], labels: [&str; 2], size: usize) -> Vec<u8> {
        let mut text = Vec::new();
        let mut done = 0;
        for Change {
            side, ours, theirs, ..
        } in changes
        {
            put(&mut text, &self.ours[done..ours.start]);
            done = ours.end;
            let (ours, theirs) = (&self.ours[ours.clone()], &self.theirs[theirs.clone()]);
            match side {
                Side::Ours => put(&mut text, ours),
                Side::Theirs => put(&mut text, theirs),
                Side::Both => {
                    mark(&mut text, b'<', size, labels[0]);
                    put(&mut text, ours);
                    mark(&mut text, b'=', size, "");
                    put(&mut text, theirs);
                    mark(&mut text, b'>', size, labels[1]);
                }
            }
        }
        put(&mut text, &self.ours[done..]);
        text
    }
}

fn put(text: &mut Vec<u8>, lines: &[&[u8]]) {
    lines.iter().for_each(|line| text.extend_from_slice(line));
}

/// A line of its own.
fn mark(text: &mut Vec<u8>, sign: u8, size: usize, label: &str) {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend(core::iter::repeat_n(sign, size));
    if !label.is_empty() {
        text.push(b' ');
        text.extend_from_slice(label.as_bytes());
    }
    text.push(b'\n');
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&b| b == b'\n').collect()
}

/// Lines of the old text that others of the new one replace.
struct Hunk {
    old: Range<usize>,
    new: Range<usize>,
}

fn hunks(old: &[u32], new: &[u32]) -> Vec<Hunk> {
    let mut gone = alloc::vec![false; old.len()];
    let mut come = alloc::vec![false; new.len()];
    compare(old, new, &mut gone, &mut come);
    let mut hunks = Vec::new();
    let (mut x, mut y) = (0, 0);
    while x < old.len() || y < new.len() {
        let start = (x, y);
        while x < old.len() && gone[x] {
            x += 1;
        }
        while y < new.len() && come[y] {
            y += 1;
        }
        if (x, y) != start {
            hunks.push(Hunk {
                old: start.0..x,
                new: start.1..y,
            });
        }
        // What is left on both sides is the same.
        while x < old.len() && y < new.len() && !gone[x] && !come[y] {
            x += 1;
            y += 1;
        }
    }
    hunks
}

/// The most steps that one search for the middle makes; texts that differ more are taken to differ
/// as a whole there, which is never wrong, only coarse.
const STEPS_MAX: usize = 4096;

/// Marks a shortest set of lines that are only in one of the texts (Myers, "An O(ND) Difference
/// Algorithm", 1986, in linear space; the halves stand on a stack of their own).
fn compare(old: &[u32], new: &[u32], gone: &mut [bool], come: &mut [bool]) {
    let mut open = alloc::vec![(0..old.len(), 0..new.len())];
    while let Some((mut x, mut y)) = open.pop() {
        while !x.is_empty() && !y.is_empty() && old[x.start] == new[y.start] {
            (x.start, y.start) = (x.start + 1, y.start + 1);
        }
        while !x.is_empty() && !y.is_empty() && old[x.end - 1] == new[y.end - 1] {
            (x.end, y.end) = (x.end - 1, y.end - 1);
        }
        let middle = match x.is_empty() || y.is_empty() {
            true => None,
            false => middle(&old[x.clone()], &new[y.clone()]),
        };
        match middle {
            None => {
                gone[x].fill(true);
                come[y].fill(true);
            }
            Some((dx, dy)) => {
                let (mid_x, mid_y) = (x.start + dx, y.start + dy);
                open.push((x.start..mid_x, y.start..mid_y));
                open.push((mid_x..x.end, mid_y..y.end));
            }
        }
    }
}

/// A point on a shortest way from the start of both to their end, not at either; `None` if they
/// have nothing in common or differ too much.
fn middle(old: &[u32], new: &[u32]) -> Option<(usize, usize)> {
    let (n, m) = (old.len() as isize, new.len() as isize);
    let delta = n - m;
    let most = ((n + m + 1) / 2).min(STEPS_MAX as isize);
    let size = 2 * most as usize + 2;
    // The furthest x on each diagonal, from the front and from the back.
    let (mut front, mut back) = (alloc::vec![0isize; size], alloc::vec![0isize; size]);
    let at = |diagonal: isize| (diagonal + most) as usize;
    for d in 0..=most {
        for k in (-d..=d).step_by(2) {
            let down = k == -d || (k != d && front[at(k - 1)] < front[at(k + 1)]);
            let mut x = if d == 0 {
                0
            } else if down {
                front[at(k + 1)]
            } else {
                front[at(k - 1)] + 1
            };
            let mut y = x - k;
            while x < n && y < m && x >= 0 && y >= 0 && old[x as usize] == new[y as usize] {
                (x, y) = (x + 1, y + 1);
            }
            front[at(k)] = x;
            let other = delta - k;
            if delta % 2 != 0 && other.abs() < d && x >= n - back[at(other)] {
                return inside(x, y, n, m);
            }
        }
        for k in (-d..=d).step_by(2) {
            let down = k == -d || (k != d && back[at(k - 1)] < back[at(k + 1)]);
            let mut x = if d == 0 {
                0
            } else if down {
                back[at(k + 1)]
            } else {
                back[at(k - 1)] + 1
            };
            let mut y = x - k;
            while x < n
                && y < m
                && x >= 0
                && y >= 0
                && old[(n - 1 - x) as usize] == new[(m - 1 - y) as usize]
            {
                (x, y) = (x + 1, y + 1);
            }
            back[at(k)] = x;
            let other = delta - k;
            if delta % 2 == 0 && other.abs() <= d && n - x <= front[at(other)] {
                return inside(n - x, m - y, n, m);
            }
        }
    }
    None
}

fn inside(x: isize, y: isize, n: isize, m: isize) -> Option<(usize, usize)> {
    let is_inside =
        (0..=n).contains(&x) && (0..=m).contains(&y) && (x, y) != (0, 0) && (x, y) != (n, m);
    is_inside.then_some((x as usize, y as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just("a\n"), Just("b\n"), Just("c\n"), Just("\n")],
            0..12,
        )
        .prop_map(|lines| lines.concat().into_bytes())
    }

    /// The length of a longest common subsequence, by the book.
    fn common(a: &[u32], b: &[u32]) -> usize {
        let mut row = alloc::vec![0; b.len() + 1];
        for x in a {
            let mut before = 0;
            for (at, y) in b.iter().enumerate() {
                let here = row[at + 1];
                row[at + 1] = if x == y {
                    before + 1
                } else {
                    row[at].max(here)
                };
                before = here;
            }
        }
        row[b.len()]
    }

    proptest! {
        #[test]
        fn what_is_left_of_both_texts_is_a_longest_common_part(
            a in prop::collection::vec(0u32..4, 0..20), b in prop::collection::vec(0u32..4, 0..20),
        ) {
            let (mut gone, mut come) = (alloc::vec![false; a.len()], alloc::vec![false; b.len()]);
            compare(&a, &b, &mut gone, &mut come);
            let left = |text: &[u32], marks: &[bool]| -> Vec<u32> {
                text.iter().zip(marks).filter(|(_, mark)| !**mark).map(|(line, _)| *line).collect()
            };
            let kept = left(&a, &gone);
            prop_assert_eq!(&kept, &left(&b, &come));
            prop_assert_eq!(kept.len(), common(&a, &b));
        }

        #[test]
        fn merges_keep_the_laws(base in text(), a in text(), b in text()) {
            prop_assert_eq!(merge(&base, &base, &a), Ok(a.clone()));
            prop_assert_eq!(merge(&base, &a, &base), Ok(a.clone()));
            prop_assert_eq!(merge(&base, &a, &a), Ok(a.clone()));
            prop_assert_eq!(merge(&base, &a, &b), merge(&base, &b, &a));
        }
    }

    #[test]
    fn changes_merge_with_a_line_between_them() {
        let base = b"1\n2\n3\n4\n5\n";
        assert_eq!(
            merge(base, b"1\nx\n3\n4\n5\n", b"1\n2\n3\ny\n5\n").unwrap(),
            b"1\nx\n3\ny\n5\n"
        );
        assert_eq!(
            merge(base, b"1\nx\n3\n4\n5\n", b"1\n2\ny\n4\n5\n"),
            Err(2),
            "neighbours"
        );
        assert_eq!(
            merge(base, b"1\nx\n3\n4\n5\n", b"1\nx\n3\n4\nz\n").unwrap(),
            b"1\nx\n3\n4\nz\n"
        );
        assert_eq!(
            merge(base, b"0\n1\n2\n3\n4\n5\n", b"1\n2\n3\n4\n5\n6").unwrap(),
            b"0\n1\n2\n3\n4\n5\n6"
        );
    }

    #[test]
    fn texts_that_differ_everywhere_are_compared_in_bounded_time() {
        let number = |n: u32| alloc::format!("{n}\n").into_bytes();
        let a: Vec<u8> = (0..100_000).flat_map(number).collect();
        let b: Vec<u8> = (100_000..200_000).flat_map(number).collect();
        assert_eq!(merge(&a, &b, &a).unwrap(), b);
    }
}

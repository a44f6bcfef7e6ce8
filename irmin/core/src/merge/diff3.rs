//! The line-wise merge of two texts that began as one, with the outcome of Git's `merge-file`.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

/// Merges. Changes merge if at least one unchanged line is between them, or they are the same.
///
/// # Errors
/// The number (from 1) of the base's line at which the first conflict begins.
pub(super) fn merge<'a>(
    base: &'a [u8],
    ours: &'a [u8],
    theirs: &'a [u8],
) -> Result<Vec<u8>, usize> {
    let [base, ours, theirs] = [base, ours, theirs].map(lines);
    let mut numbers: HashMap<&'a [u8], u32> = HashMap::new();
    let mut numbered = |lines: &[&'a [u8]]| -> Vec<u32> {
        let number = |line: &&'a [u8]| {
            let next = numbers.len() as u32;
            *numbers.entry(*line).or_insert(next)
        };
        lines.iter().map(number).collect()
    };
    let (b, o, t) = (numbered(&base), numbered(&ours), numbered(&theirs));
    let (our_hunks, their_hunks) = (hunks(&b, &o), hunks(&b, &t));
    let mut merged = Vec::new();
    let mut put = |lines: &[&[u8]]| lines.iter().for_each(|line| merged.extend_from_slice(line));
    let (mut x, mut y, mut done) = (0, 0, 0);
    loop {
        let (our, their) = (our_hunks.get(x), their_hunks.get(y));
        let (hunk, side) = match (our, their) {
            (None, None) => break,
            (Some(our), their) if their.is_none_or(|their| our.old.end < their.old.start) => {
                x += 1;
                (our, &ours)
            }
            (our, Some(their)) if our.is_none_or(|our| their.old.end < our.old.start) => {
                y += 1;
                (their, &theirs)
            }
            (Some(our), Some(their)) => {
                // They meet: all that hang together, from the first line to the last.
                let old_start = our.old.start.min(their.old.start);
                let mut old_end = our.old.end.max(their.old.end);
                let (first_x, first_y) = (x, y);
                (x, y) = (x + 1, y + 1);
                loop {
                    if let Some(our) = our_hunks.get(x).filter(|our| our.old.start <= old_end) {
                        old_end = old_end.max(our.old.end);
                        x += 1;
                    } else if let Some(their) = their_hunks
                        .get(y)
                        .filter(|their| their.old.start <= old_end)
                    {
                        old_end = old_end.max(their.old.end);
                        y += 1;
                    } else {
                        break;
                    }
                }
                let region = |hunks: &[Hunk]| {
                    let (first, last) = (&hunks[0], &hunks[hunks.len() - 1]);
                    first.new.start - (first.old.start - old_start)
                        ..last.new.end + (old_end - last.old.end)
                };
                let our_region = region(&our_hunks[first_x..x]);
                let their_region = region(&their_hunks[first_y..y]);
                if o[our_region.clone()] != t[their_region] {
                    return Err(old_start + 1);
                }
                put(&base[done..old_start]);
                put(&ours[our_region]);
                done = old_end;
                continue;
            }
            (None, Some(_)) | (Some(_), None) => unreachable!("a hunk alone meets no other"),
        };
        put(&base[done..hunk.old.start]);
        put(&side[hunk.new.clone()]);
        done = hunk.old.end;
    }
    put(&base[done..]);
    Ok(merged)
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

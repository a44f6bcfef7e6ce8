//! The line-wise merge of two texts that began as one, with the outcome of Git's merges.

use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use super::Three;
use super::hunks::{Hunk, hunks};

/// Merges. Changes merge if at least one unchanged line is between them, or they are the same.
///
/// # Errors
/// The number (from 1) of the base's line at which the first conflict begins.
pub(super) fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>, usize> {
    let texts = Texts::new(base, ours, theirs);
    let changes = texts.changes();
    match changes.iter().find(|change| change.side == Side::Both) {
        Some(conflict) => Err(conflict.base.start + 1),
        None => Ok(texts.written(&changes, [b"", b""], 0)),
    }
}

/// Merges, with what both sides wrote where they are in conflict, between lines that begin with so
/// many `<`, `=` and `>` and a label, as Git writes it: only the lines in which the two sides differ,
/// and what is between two conflicts where that is no more than three lines.
pub(super) fn marked(
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    labels: [&[u8]; 2],
    size: usize,
) -> Vec<u8> {
    let texts = Texts::new(base, ours, theirs);
    let mut joined: Vec<Change> = Vec::new();
    for change in texts.refined() {
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
    lines: Three<Vec<&'a [u8]>>,
    /// Equal lines have equal numbers.
    numbers: Three<Vec<u32>>,
}

/// Lines that differ from the base's on one side or both.
#[derive(Clone, Debug)]
struct Change {
    /// Whose lines are taken; `Both` is a conflict.
    side: Side,
    base: Range<usize>,
    ours: Range<usize>,
    theirs: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Texts {
            numbers: Three {
                base: numbered(&base),
                ours: numbered(&ours),
                theirs: numbered(&theirs),
            },
            lines: Three { base, ours, theirs },
        }
    }

    /// All changes in order, those that meet as one; what both sides changed alike is none.
    fn changes(&self) -> Vec<Change> {
        let Three { base, ours, theirs } = &self.numbers;
        let mut our_hunks = hunks(base, ours).into_iter().peekable();
        let mut their_hunks = hunks(base, theirs).into_iter().peekable();
        // How far a side's lines are from the base's where no hunk is.
        let (mut our_shift, mut their_shift) = (0, 0);
        let mut changes = Vec::new();
        loop {
            let is_before = |one: &Hunk, other: Option<&Hunk>| {
                other.is_none_or(|other| one.old.end < other.old.start)
            };
            let (our, their) = (our_hunks.peek().cloned(), their_hunks.peek().cloned());
            match (our, their) {
                (None, None) => return changes,
                (Some(our), their) if is_before(&our, their.as_ref()) => {
                    our_hunks.next();
                    our_shift = shift(&our);
                    let theirs = shifted(&our.old, their_shift);
                    push(&mut changes, Side::Ours, our.old, our.new, theirs);
                }
                (our, Some(their)) if is_before(&their, our.as_ref()) => {
                    their_hunks.next();
                    their_shift = shift(&their);
                    let ours = shifted(&their.old, our_shift);
                    push(&mut changes, Side::Theirs, their.old, ours, their.new);
                }
                (Some(our), Some(their)) => {
                    if our.old != their.old || ours[our.new.clone()] != theirs[their.new.clone()] {
                        let both =
                            our.old.start.min(their.old.start)..our.old.end.max(their.old.end);
                        // As much before and behind a side's own lines as the other side's reach.
                        let around = |hunk: &Hunk| {
                            hunk.new.start.saturating_sub(hunk.old.start - both.start)
                                ..hunk.new.end + (both.end - hunk.old.end)
                        };
                        let (ours, theirs) = (around(&our), around(&their));
                        push(&mut changes, Side::Both, both, ours, theirs);
                    }
                    if our.old.end <= their.old.end {
                        our_hunks.next();
                        our_shift = shift(&our);
                    }
                    if their.old.end <= our.old.end {
                        their_hunks.next();
                        their_shift = shift(&their);
                    }
                }
                (None, Some(_)) | (Some(_), None) => {
                    unreachable!("a hunk alone is before the other")
                }
            }
        }
    }

    /// The same with only those lines in conflict in which the two sides differ.
    fn refined(&self) -> Vec<Change> {
        let Three { ours, theirs, .. } = &self.numbers;
        let mut changes = Vec::new();
        for change in self.changes() {
            let is_small = change.ours.is_empty() || change.theirs.is_empty();
            if change.side != Side::Both || is_small {
                changes.push(change);
                continue;
            }
            let hunks = hunks(&ours[change.ours.clone()], &theirs[change.theirs.clone()]);
            let inside = |range: Range<usize>, start: usize| start + range.start..start + range.end;
            changes.extend(hunks.into_iter().map(|hunk| Change {
                ours: inside(hunk.old, change.ours.start),
                theirs: inside(hunk.new, change.theirs.start),
                ..change.clone()
            }));
        }
        changes
    }

    fn written(&self, changes: &[Change], labels: [&[u8]; 2], size: usize) -> Vec<u8> {
        let Three { ours, theirs, .. } = &self.lines;
        let mut text = Vec::new();
        let mut done = 0;
        for change in changes {
            put(&mut text, &ours[done..change.ours.start]);
            done = change.ours.end;
            let (ours, theirs) = (&ours[change.ours.clone()], &theirs[change.theirs.clone()]);
            match change.side {
                Side::Ours => put(&mut text, ours),
                Side::Theirs => put(&mut text, theirs),
                Side::Both => {
                    let end = self.line_end(change);
                    mark(&mut text, b'<', size, labels[0], end);
                    put_whole(&mut text, ours, end);
                    mark(&mut text, b'=', size, b"", end);
                    put_whole(&mut text, theirs, end);
                    mark(&mut text, b'>', size, labels[1], end);
                }
            }
        }
        put(&mut text, &ours[done..]);
        text
    }

    /// How lines around a conflict end: in CR LF if the base's first does, and both sides' before it.
    fn line_end(&self, change: &Change) -> &'static [u8] {
        let Three { base, ours, theirs } = &self.lines;
        let before = |range: &Range<usize>| range.start.saturating_sub(1);
        let is_lf = |lines, at| ends_in_crlf(lines, at) == Some(false);
        let is_crlf = !is_lf(ours, before(&change.ours))
            && !is_lf(theirs, before(&change.theirs))
            && ends_in_crlf(base, 0) == Some(true);
        if is_crlf { b"\r\n" } else { b"\n" }
    }
}

/// Whether a line ends in CR LF; `None` if that cannot be told. A last line without an end is taken
/// to end as the one before it.
fn ends_in_crlf(lines: &[&[u8]], at: usize) -> Option<bool> {
    let line = *lines.get(at)?;
    match line.ends_with(b"\n") {
        true => Some(line.ends_with(b"\r\n")),
        false => Some(lines[at.checked_sub(1)?].ends_with(b"\r\n")),
    }
}

fn shift(hunk: &Hunk) -> isize {
    hunk.new.end as isize - hunk.old.end as isize
}

fn shifted(range: &Range<usize>, shift: isize) -> Range<usize> {
    range.start.wrapping_add_signed(shift)..range.end.wrapping_add_signed(shift)
}

/// Adds a change, as part of the last one if the two meet on either side.
fn push(
    changes: &mut Vec<Change>,
    side: Side,
    base: Range<usize>,
    ours: Range<usize>,
    theirs: Range<usize>,
) {
    match changes.last_mut() {
        Some(last) if ours.start <= last.ours.end || theirs.start <= last.theirs.end => {
            if last.side != side {
                last.side = Side::Both;
            }
            last.base.end = base.end;
            last.ours.end = ours.end;
            last.theirs.end = theirs.end;
        }
        _ => changes.push(Change {
            side,
            base,
            ours,
            theirs,
        }),
    }
}

fn put(text: &mut Vec<u8>, lines: &[&[u8]]) {
    lines.iter().for_each(|line| text.extend_from_slice(line));
}

/// The same, with an end for a last line that has none.
fn put_whole(text: &mut Vec<u8>, lines: &[&[u8]], end: &[u8]) {
    put(text, lines);
    if lines.last().is_some_and(|last| !last.ends_with(b"\n")) {
        text.extend_from_slice(end);
    }
}

fn mark(text: &mut Vec<u8>, sign: u8, size: usize, label: &[u8], end: &[u8]) {
    text.extend(core::iter::repeat_n(sign, size));
    if !label.is_empty() {
        text.push(b' ');
        text.extend_from_slice(label);
    }
    text.extend_from_slice(end);
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&b| b == b'\n').collect()
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

    proptest! {
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
    fn marks_end_as_the_lines_around_them_do() {
        let merged = marked(b"1\r\n2\r\n", b"1\r\nx\r\n", b"1\r\ny", [b"a", b"b"], 7);
        assert_eq!(
            merged,
            b"1\r\n<<<<<<< a\r\nx\r\n=======\r\ny\r\n>>>>>>> b\r\n"
        );
        let merged = marked(b"1\n2\r\n", b"1\nx\r\n", b"1\ny", [b"a", b"b"], 7);
        assert_eq!(merged, b"1\n<<<<<<< a\nx\r\n=======\ny\n>>>>>>> b\n");
    }

    #[test]
    fn texts_that_differ_everywhere_are_compared_in_bounded_time() {
        let number = |n: u32| alloc::format!("{n}\n").into_bytes();
        let a: Vec<u8> = (0..100_000).flat_map(number).collect();
        let b: Vec<u8> = (100_000..200_000).flat_map(number).collect();
        assert_eq!(merge(&a, &b, &a).unwrap(), b);
    }
}

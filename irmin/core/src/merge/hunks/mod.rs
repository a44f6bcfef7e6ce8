//! The lines in which two texts differ, cut into hunks as Git's merges cut them.

mod histogram;
mod myers;
mod slide;

use alloc::vec::Vec;
use core::ops::Range;

/// Lines of the old text that others of the new one replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    pub old: Range<usize>,
    pub new: Range<usize>,
}

/// Which lines only one of the texts has.
struct Marks {
    gone: Vec<bool>,
    come: Vec<bool>,
}

/// The hunks of two texts, in order. Equal lines have equal numbers.
///
/// Which of several ways to cut is taken is Git's choice: the histogram algorithm, then each group
/// of lines slid down as far as it goes, and to where the other text has one too.
pub(super) fn hunks(old: &[u32], new: &[u32]) -> Vec<Hunk> {
    let mut marks = histogram::compare(old, new);
    slide::slide(old, &mut marks.gone, &mut marks.come);
    slide::slide(new, &mut marks.come, &mut marks.gone);
    marks.hunks()
}

impl Marks {
    fn hunks(&self) -> Vec<Hunk> {
        let Marks { gone, come } = self;
        let mut hunks = Vec::new();
        let (mut x, mut y) = (0, 0);
        while x < gone.len() || y < come.len() {
            let start = (x, y);
            while x < gone.len() && gone[x] {
                x += 1;
            }
            while y < come.len() && come[y] {
                y += 1;
            }
            if (x, y) != start {
                hunks.push(Hunk {
                    old: start.0..x,
                    new: start.1..y,
                });
            }
            // What is left on both sides is the same.
            while x < gone.len() && y < come.len() && !gone[x] && !come[y] {
                x += 1;
                y += 1;
            }
        }
        hunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(old: &[u32], new: &[u32]) -> Result<(), TestCaseError> {
        let left = |text: &[u32], ranges: Vec<Range<usize>>| -> Vec<u32> {
            let is_left = |at: &usize| !ranges.iter().any(|range| range.contains(at));
            (0..text.len()).filter(is_left).map(|at| text[at]).collect()
        };
        let hunks = hunks(old, new);
        let kept = left(old, hunks.iter().map(|hunk| hunk.old.clone()).collect());
        let same = left(new, hunks.iter().map(|hunk| hunk.new.clone()).collect());
        prop_assert_eq!(kept, same);
        prop_assert_eq!(hunks.is_empty(), old == new);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_in_no_hunk_is_the_same_in_both_texts(
            old in prop::collection::vec(0u32..4, 0..24), new in prop::collection::vec(0u32..4, 0..24),
        ) {
            check(&old, &new)?;
        }

        /// Lines that stand there more often than the histogram counts.
        #[test]
        fn texts_of_few_lines_that_repeat_are_compared_too(
            old in prop::collection::vec(0u32..2, 100..400), new in prop::collection::vec(0u32..2, 100..400),
        ) {
            check(&old, &new)?;
        }
    }

    #[test]
    fn texts_that_differ_everywhere_are_compared_in_bounded_time() {
        let numbers = |from: u32| (from..from + 100_000).collect::<Vec<u32>>();
        assert_eq!(
            hunks(&numbers(0), &numbers(100_000)),
            [Hunk {
                old: 0..100_000,
                new: 0..100_000
            }]
        );
        // The longest common run is one line, again and again.
        let back: Vec<u32> = numbers(0).into_iter().rev().collect();
        assert_eq!(hunks(&numbers(0), &back).len(), 2);
    }
}

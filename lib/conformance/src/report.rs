use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::{Contract, Sentence};

/// What came of checking a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The provider kept it whenever it was looked at.
    Passed,
    /// The provider broke it.
    Failed {
        /// What the sentence promises here.
        expected: String,
        /// What was seen instead.
        seen: String,
    },
    /// It could not be looked at here.
    NotApplicable {
        /// Why.
        why: String,
    },
}

/// What a provider made of a contract, sentence by sentence.
///
/// [`Report::assert`] is for a test; `Display` shows a line for each sentence and the count.
#[derive(Debug, Clone, Default)]
pub struct Report {
    entries: Vec<(Sentence, Verdict)>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every sentence that was looked at, in the order in which its verdict was found.
    pub fn entries(&self) -> impl Iterator<Item = (&Sentence, &Verdict)> {
        self.entries
            .iter()
            .map(|(sentence, verdict)| (sentence, verdict))
    }

    /// The sentences that the provider broke, in the order in which that was found.
    pub fn failures(&self) -> impl Iterator<Item = &Sentence> {
        let failed =
            |(sentence, verdict)| matches!(verdict, &Verdict::Failed { .. }).then_some(sentence);
        self.entries().filter_map(failed)
    }

    /// Appends what another suite found.
    pub fn append(&mut self, other: Self) {
        for (sentence, verdict) in other.entries {
            self.note(sentence, verdict);
        }
    }

    /// How many sentences passed, failed and were not applicable.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for (_, verdict) in &self.entries {
            counts[match verdict {
                Verdict::Passed => 0,
                Verdict::Failed { .. } => 1,
                Verdict::NotApplicable { .. } => 2,
            }] += 1;
        }
        counts
    }

    /// Does nothing when no sentence was broken.
    ///
    /// # Panics
    /// Otherwise, with each broken sentence, what was expected and what was seen.
    #[track_caller]
    pub fn assert(&self) {
        let mut text = String::new();
        for (sentence, verdict) in &self.entries {
            if matches!(verdict, Verdict::Failed { .. }) {
                text.push_str(&format!("\n{}", Line(sentence, verdict)));
            }
        }
        assert!(text.is_empty(), "the contract is broken:{text}");
    }

    /// Notes that `sentence` was kept when `kept`, and broken otherwise.
    pub fn check(&mut self, sentence: Sentence, kept: bool, expected: &str, seen: impl fmt::Debug) {
        let verdict = if kept {
            Verdict::Passed
        } else {
            Verdict::Failed {
                expected: expected.to_string(),
                seen: format!("{seen:?}"),
            }
        };
        self.note(sentence, verdict);
    }

    /// Notes that `sentence` was kept when `seen` is what was expected.
    pub fn equal<T: PartialEq + fmt::Debug>(&mut self, sentence: Sentence, seen: T, expected: T) {
        let kept = seen == expected;
        self.check(sentence, kept, &format!("{expected:?}"), seen);
    }

    /// Notes that `sentence` cannot be looked at here.
    pub fn not_applicable(&mut self, sentence: Sentence, why: &str) {
        let why = why.to_string();
        self.note(sentence, Verdict::NotApplicable { why });
    }

    /// A broken sentence stays broken, and stands behind those that were broken before it.
    fn note(&mut self, sentence: Sentence, verdict: Verdict) {
        let known = self.entries.iter().position(|entry| entry.0 == sentence);
        let before = known.map(|at| &self.entries[at].1);
        match (before, &verdict) {
            (Some(Verdict::Failed { .. }), _) | (Some(_), Verdict::NotApplicable { .. }) => return,
            (Some(Verdict::Passed), Verdict::Passed) => return,
            _ => {}
        }
        if let Some(at) = known {
            self.entries.remove(at);
        }
        self.entries.push((sentence, verdict));
    }

    /// Says of every sentence that has to be checked and was not that it was not reached. That is
    /// no verdict after a failure, and a failure of its own without one.
    pub(crate) fn complete(mut self, contract: &Contract) -> Self {
        let broken = self.failures().next().is_some();
        for sentence in contract.checked() {
            if !self.entries.iter().any(|entry| entry.0 == *sentence) {
                self.note(
                    *sentence,
                    match broken {
                        true => Verdict::NotApplicable {
                            why: "not reached: another sentence was broken before".to_string(),
                        },
                        false => Verdict::Failed {
                            expected: "the suite to reach this sentence".to_string(),
                            seen: "it ended before, and nothing failed".to_string(),
                        },
                    },
                );
            }
        }
        self
    }
}

/// A sentence and its verdict.
struct Line<'a>(&'a Sentence, &'a Verdict);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(sentence, verdict) = self;
        match verdict {
            Verdict::Passed => write!(f, "passed  {sentence}"),
            Verdict::Failed { expected, seen } => {
                write!(
                    f,
                    "FAILED  {sentence}\n        expected: {expected}\n        seen: {seen}"
                )
            }
            Verdict::NotApplicable { why } => write!(f, "n/a     {sentence}\n        {why}"),
        }
    }
}

impl fmt::Display for Report {
    /// A line for each sentence; the last one is `N passed, N failed, N not applicable`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sentence, verdict) in &self.entries {
            writeln!(f, "{}", Line(sentence, verdict))?;
        }
        let [passed, failed, absent] = self.counts();
        writeln!(
            f,
            "{passed} passed, {failed} failed, {absent} not applicable"
        )
    }
}

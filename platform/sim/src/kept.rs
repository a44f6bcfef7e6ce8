//! What of a run's faults is kept: everything at first, less and less while a failing run
//! shrinks, and in words what `MIRAGE_SIM` holds.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::dice;

/// What can happen to one frame or one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The frame never arrives.
    Lost = 1,
    /// The frame arrives twice.
    Doubled,
    /// A bit of the frame is wrong.
    Damaged,
    /// The frame is overtaken by those sent after it.
    Late,
    /// The frame or operation takes longer, and all after the frame do too.
    Slow,
    /// The operation of a block device fails.
    Failed,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Lost, "lost"),
    (Kind::Doubled, "doubled"),
    (Kind::Damaged, "damaged"),
    (Kind::Late, "late"),
    (Kind::Slow, "slow"),
    (Kind::Failed, "failed"),
];

impl Kind {
    fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }
}

/// Something that happened to the `number`th frame or operation of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mishap {
    pub kind: Kind,
    /// `MACHINE.DEVICE`, or the name of a disk.
    pub place: String,
    pub number: u64,
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}#{}", self.kind.name(), self.place, self.number)
    }
}

/// Refuses a name that `MIRAGE_SIM` could not hold between two quotes.
///
/// # Panics
///
/// Then.
pub(crate) fn check_name(name: &str) {
    let held = !name.contains(|c: char| c.is_whitespace() || c == '\'');
    assert!(
        held,
        "the name `{name}` has white space or a quote in it: the command that repeats a failing \
         run could not have it"
    );
}

/// A seed, and what is kept of the faults that follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    pub seed: u64,
    /// The numbers of the planned faults; `None` keeps all.
    pub faults: Option<BTreeSet<usize>>,
    /// What happens to single frames and operations; `None` leaves it to the dice.
    pub mishaps: Option<BTreeSet<Mishap>>,
    /// By how many powers of two every delay and every fault's duration is shortened.
    pub ease: u32,
}

impl Kept {
    /// Everything that follows from this seed.
    pub fn all(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// The same as numbers, which are quick to look up.
    pub fn chosen(&self) -> Option<BTreeSet<(Kind, u64, u64)>> {
        let number = |mishap: &Mishap| (mishap.kind, dice::place(&mishap.place), mishap.number);
        Some(self.mishaps.as_ref()?.iter().map(number).collect())
    }
}

/// `17`, or `17 faults=0,3 lost=client.net#12 ease=2`. A word `calm` stands for no mishap.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        if let Some(faults) = &self.faults {
            let numbers: Vec<String> = faults.iter().map(ToString::to_string).collect();
            write!(f, " faults={}", numbers.join(","))?;
        }
        match &self.mishaps {
            None => {}
            Some(none) if none.is_empty() => f.write_str(" calm")?,
            Some(some) => some.iter().try_for_each(|mishap| write!(f, " {mishap}"))?,
        }
        match self.ease {
            0 => Ok(()),
            ease => write!(f, " ease={ease}"),
        }
    }
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let seed = words.next().unwrap_or_default();
        let mut kept = Self::all(number(seed, text)?);
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "faults" => {
                    let numbers = value.split(',').filter(|part| !part.is_empty());
                    let numbers = numbers.map(|part| number(part, text));
                    kept.faults = Some(numbers.collect::<Result<_, _>>()?);
                }
                "calm" => kept.mishaps = Some(BTreeSet::new()),
                "ease" => kept.ease = number(value, text)?,
                _ => {
                    let known = KINDS.iter().find(|(_, known)| *known == name);
                    let (Some((kind, _)), Some((place, count))) = (known, value.rsplit_once('#'))
                    else {
                        return Err(wrong(word, text));
                    };
                    let mishap = Mishap {
                        kind: *kind,
                        place: place.to_owned(),
                        number: number(count, text)?,
                    };
                    kept.mishaps.get_or_insert_default().insert(mishap);
                }
            }
        }
        Ok(kept)
    }
}

fn number<T: FromStr>(word: &str, text: &str) -> Result<T, String> {
    word.parse().map_err(|_| wrong(word, text))
}

fn wrong(word: &str, text: &str) -> String {
    format!(
        "MIRAGE_SIM is `{text}`, where `{word}` means nothing; give a seed, or the whole of what a \
         failing search printed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_back_as_it_was_written() {
        for text in [
            "17",
            "17 calm",
            "0 faults=",
            "18446744073709551615 faults=0,3 lost=client.net#12 late=a.b.net#3 ease=2",
            "3 slow=a.net#1 failed=disk#0",
        ] {
            assert_eq!(text.parse::<Kept>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_named() {
        for (text, word) in [
            ("", "``"),
            ("x", "`x`"),
            ("1 lost", "`lost`"),
            ("1 lost=a", "`lost=a`"),
            ("1 found=a#1", "`found=a#1`"),
            ("1 faults=1,b", "`b`"),
        ] {
            let error = text.parse::<Kept>().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}

//! Random choices without a state: each is a hash of the seed and of what is being decided. One
//! that is left out moves no other, which is what makes a failing run shrink.

/// What is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// By how much a frame or an operation is delayed. Lower numbers are the kinds of mishaps.
    Delay = 32,
    /// How much later than others a frame arrives.
    Late,
    /// When the copy of a frame arrives.
    Copy,
    /// Which bit of a frame is wrong.
    Bit,
    /// Whether a sector of an unfinished write is old or new.
    Torn,
    /// What a power cut does to the writes that were not flushed.
    Cut,
    /// Whether one such write survives.
    Survives,
    /// What becomes of an operation that nobody waits for.
    Abandoned,
    /// What discarded sectors read as.
    Discarded,
    /// A unikernel's random bytes.
    Entropy,
    /// What is planned, and when.
    Plan,
}

/// The source of every choice in a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6d69_7261_6765))
    }

    /// Sixty-four random bits for the `number`th decision of this purpose at `place`.
    pub fn roll(self, purpose: Purpose, place: u64, number: u64) -> u64 {
        self.toss(purpose as u64, place, number)
    }

    /// As [`Dice::roll`] for a kind of mishap.
    pub fn toss(self, purpose: u64, place: u64, number: u64) -> u64 {
        let known = mix(self.0 ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ place;
        mix(known.wrapping_add(number.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    /// A number below `bound`, and 0 for the bound 0.
    pub fn below(self, purpose: Purpose, place: u64, number: u64, bound: u64) -> u64 {
        below(self.roll(purpose, place, number), bound)
    }
}

/// Whether something of this probability happens.
pub(crate) fn chance(roll: u64, share: f64) -> bool {
    ((roll >> 11) as f64) < share * (1_u64 << 53) as f64
}

/// A number below `bound` made from random bits, and 0 for the bound 0.
pub(crate) fn below(roll: u64, bound: u64) -> u64 {
    ((u128::from(roll) * u128::from(bound)) >> 64) as u64
}

/// The number of a name: the same in every run and for every order in which names come.
pub(crate) fn place(name: &str) -> u64 {
    name.bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

/// The finish of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of everything that happened, in order.
pub(crate) fn fold(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut hash = hash ^ (bytes.len() as u64).rotate_left(32);
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(hash, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_depends_on_all_that_names_it_and_on_nothing_else() {
        let dice = Dice::new(7);
        let roll = dice.roll(Purpose::Late, 1, 2);
        assert_eq!(roll, Dice::new(7).roll(Purpose::Late, 1, 2));
        for other in [
            Dice::new(8).roll(Purpose::Late, 1, 2),
            dice.roll(Purpose::Copy, 1, 2),
            dice.roll(Purpose::Late, 2, 2),
            dice.roll(Purpose::Late, 1, 3),
        ] {
            assert_ne!(roll, other);
        }
    }

    #[test]
    fn a_chance_is_met_as_often_as_it_says() {
        let dice = Dice::new(1);
        let met = |share| {
            let rolls = (0..10_000).map(|n| dice.roll(Purpose::Plan, 0, n));
            rolls.filter(|roll| chance(*roll, share)).count()
        };
        assert_eq!((met(0.0), met(1.0)), (0, 10_000));
        assert!((900..1100).contains(&met(0.1)));
    }

    #[test]
    fn a_trace_tells_bytes_and_lengths_apart() {
        let of = |bytes: &[u8]| fold(1, bytes);
        assert_ne!(of(b"a"), of(b"a\0"));
        assert_ne!(of(b"12345678a"), of(b"12345678b"));
        assert_ne!(of(b"a234567812345678"), of(b"b234567812345678"));
        assert_eq!(of(b"123456789"), of(b"123456789"));
    }
}

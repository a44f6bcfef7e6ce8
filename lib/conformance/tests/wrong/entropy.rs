//! Wrong sources of random bytes.

use mirage_conformance::entropy;
use mirage_device::{Entropy, EntropyError};

use crate::rigs::{Random, caught, run};

#[derive(Clone)]
struct Wrong(Random, fn(&Random, &mut [u8]));

impl Entropy for Wrong {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.1(&self.0, buffer);
        Ok(())
    }
}

#[test]
fn a_source_of_weak_bytes() {
    let zeros: fn(&Random, &mut [u8]) = |_, buffer| buffer.fill(0);
    let the_same: fn(&Random, &mut [u8]) = |_, buffer| {
        let _ = Random::default().fill(buffer);
    };
    let a_counter: fn(&Random, &mut [u8]) = |random, buffer| {
        let start = random.next() as u8;
        buffer
            .iter_mut()
            .zip(0_u8..=255)
            .for_each(|(byte, n)| *byte = start.wrapping_add(n));
        for at in 256..buffer.len() {
            buffer[at] = buffer[at - 256];
        }
    };
    let seven_bits: fn(&Random, &mut [u8]) = |random, buffer| {
        let _ = random.fill(buffer);
        buffer.iter_mut().for_each(|byte| *byte &= 0x7f);
    };
    let whole_words: fn(&Random, &mut [u8]) = |random, buffer| {
        let whole = buffer.len() / 8 * 8;
        let _ = random.fill(&mut buffer[..whole]);
    };
    for wrong in [zeros, the_same, a_counter, seven_bits, whole_words] {
        let report = run(async |s| entropy::check(&Wrong(Random::default(), wrong), &s).await);
        caught(&report, entropy::NEVER_WEAK);
    }
}

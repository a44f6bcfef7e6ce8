//! The contract of [`Entropy`].

use alloc::vec;

use mirage_device::{Entropy, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "entropy"
    "Entropy" {
        _: Does "Random bytes fit for keys.", because::IT_DESCRIBES;
    }
    "Entropy::fill" {
        _: Does "Fills `buffer` from the platform's best source.", "which source is best is judged where the platform is written";
        AT_ONCE: Waits "Returns at once.";
        NEVER_WEAK: Errors "Either the whole buffer is filled with bytes fit for cryptography or an error is returned and the buffer's content is unspecified: there are never weak bytes.";
        _: Owns "The caller owns the buffer.", because::TYPES_SAY_IT;
        NOT_FINAL: Errors "An error is not final: a source may become ready later.";
    }
}

/// Bytes that are looked at together.
const SAMPLE: usize = 4096;

/// Checks `entropy`. A sound source fails with a probability of less than one in a billion.
pub async fn check(entropy: &impl Entropy, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let (mut first, mut second) = (vec![0; SAMPLE], vec![0; SAMPLE]);
    let filled = at_once(&mut report, AT_ONCE, sleep, || entropy.fill(&mut first));
    if let Err(error) = filled {
        let again = at_once(&mut report, NOT_FINAL, sleep, || entropy.fill(&mut second));
        let expected = "the same error, or bytes, when asked again";
        report.check(NOT_FINAL, again == filled || again.is_ok(), expected, again);
        report.not_applicable(
            NEVER_WEAK,
            &alloc::format!("there are no bytes here: {error}"),
        );
        return report.complete(&CONTRACT);
    }
    report.not_applicable(NOT_FINAL, "this source gave no error");
    let again = entropy.clone().fill(&mut second);
    report.equal(NEVER_WEAK, again, Ok(()));
    report.check(
        NEVER_WEAK,
        first != second,
        "other bytes each time",
        "the same 4096 bytes twice",
    );

    // Eight standard deviations about the mean of 32,768 fair bits; the poker-like count of byte
    // values catches what is balanced and yet poor (a counter, a few values).
    for sample in [&first, &second] {
        let ones: u32 = sample.iter().map(|byte| byte.count_ones()).sum();
        let fair = (16_384 - 724..=16_384 + 724).contains(&ones);
        report.check(NEVER_WEAK, fair, "about 16,384 of 32,768 bits set", ones);
        let mut counts = [0_i64; 256];
        sample
            .iter()
            .for_each(|&byte| counts[usize::from(byte)] += 1);
        // Chi-squared of 255 degrees of freedom: mean 255, standard deviation 22.6. A counter
        // is far below, few values far above.
        let chi: i64 = counts.iter().map(|n| (n - 16) * (n - 16)).sum::<i64>() / 16;
        let expected = "each byte value about 16 times, with the spread of chance";
        report.check(
            NEVER_WEAK,
            (110..=460).contains(&chi),
            expected,
            ("chi-squared", chi),
        );
        let equal = sample.windows(2).filter(|pair| pair[0] == pair[1]).count();
        report.check(
            NEVER_WEAK,
            equal < 64,
            "about 16 bytes that repeat the one before",
            equal,
        );
    }

    // Every byte of a buffer of any length: one that is never touched stays the same.
    for len in [1, 2, 7, 32, 33, 255, 256, 257, 1000] {
        let mut touched = vec![false; len];
        for _ in 0..8 {
            let mut buffer = vec![0; len];
            report.equal(NEVER_WEAK, entropy.fill(&mut buffer), Ok(()));
            touched
                .iter_mut()
                .zip(&buffer)
                .for_each(|(touched, byte)| *touched |= *byte != 0);
        }
        let untouched = touched.iter().filter(|touched| !**touched).count();
        let expected = "every byte of the buffer filled";
        report.check(
            NEVER_WEAK,
            untouched == 0,
            expected,
            (untouched, "left alone of", len),
        );
    }
    report.equal(NEVER_WEAK, entropy.fill(&mut []), Ok(()));
    report.complete(&CONTRACT)
}

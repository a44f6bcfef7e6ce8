//! The contract of [`Clock`].

use core::time::Duration;

use mirage_device::{Clock, Instant, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "clock"
    "Clock" {
        _: Does "The monotonic clock.", because::IT_DESCRIBES;
    }
    "Clock::now" {
        _: Does "The time now.", because::IT_DESCRIBES;
        NOW_AT_ONCE: Waits "Returns at once.";
        NEVER_BACK: Does "Never less than an earlier answer of any clone.";
        RESOLUTION: Does "Resolution is the platform's best, at worst one millisecond.";
        _: Errors "Never fails.", because::TYPES_SAY_IT;
    }
}

/// Checks `clock`. Takes some milliseconds of the clock that `sleep` has.
pub async fn check(clock: &impl Clock, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let first = at_once(&mut report, NOW_AT_ONCE, sleep, || clock.now());
    let clone = clock.clone();
    let mut last = first;
    let mut finest: Option<Duration> = None;
    for round in 0..20 {
        for reading in 0..1_000 {
            let now = if reading % 2 == 0 {
                clock.now()
            } else {
                clone.now()
            };
            note(&mut report, &mut finest, &mut last, now);
        }
        // A simulated clock stands still while somebody runs.
        sleep.sleep(Duration::from_millis(1 + round % 2)).await;
        note(&mut report, &mut finest, &mut last, clock.now());
    }
    let fine = finest.is_some_and(|step| step <= Duration::from_millis(1));
    let expected = "steps of one millisecond or less while it is read and slept by";
    report.check(RESOLUTION, fine, expected, finest);
    report.complete(&CONTRACT)
}

fn note(report: &mut Report, finest: &mut Option<Duration>, last: &mut Instant, now: Instant) {
    let expected = "an answer no less than the one before";
    report.check(NEVER_BACK, now >= *last, expected, (*last, now));
    let step = now - *last;
    if !step.is_zero() {
        *finest = Some(finest.map_or(step, |finest| finest.min(step)));
    }
    *last = now;
}

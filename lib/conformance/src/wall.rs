//! The contract of [`Wall`].

use core::time::Duration;

use mirage_device::{Sleep, Wall};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "wall"
    "Wall" {
        _: Does "The wall clock.", because::IT_DESCRIBES;
    }
    "Wall::wall" {
        SINCE_1970: Does "Time since 1970-01-01T00:00:00 UTC, without leap seconds, as the host tells it.";
        AT_ONCE: Waits "Returns at once.";
        _: Does "May jump in either direction between two calls: use [`Clock`] to measure.", because::IT_ALLOWS;
        NONE_FOR_EVER: Does "`None` where the platform has no wall clock, and then at every call.";
    }
}

/// How far a wall clock may be from what the rig knows: a minute.
const TOLERANCE: Duration = Duration::from_secs(60);

/// Checks `wall`. `truth` is the time since 1970 that it should show now, where the rig knows.
pub async fn check(wall: &impl Wall, sleep: &impl Sleep, truth: Option<Duration>) -> Report {
    let mut report = Report::new();
    let first = at_once(&mut report, AT_ONCE, sleep, || wall.wall());
    match (first, truth) {
        (Some(shown), Some(truth)) => {
            let near = shown.abs_diff(truth) <= TOLERANCE;
            report.check(
                SINCE_1970,
                near,
                "within a minute of the true time",
                (truth, shown),
            );
        }
        (None, _) => report.not_applicable(SINCE_1970, "this platform has no wall clock"),
        (_, None) => report.not_applicable(SINCE_1970, "this rig does not know the true time"),
    }
    let mut there = [first.is_some(); 4];
    for later in &mut there[1..] {
        sleep.sleep(Duration::from_millis(1)).await;
        *later = wall.clone().wall().is_some();
    }
    let expected = "a wall clock at every call or at none";
    report.check(
        NONE_FOR_EVER,
        there == [first.is_some(); 4],
        expected,
        there,
    );
    report.complete(&CONTRACT)
}

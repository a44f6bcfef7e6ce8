//! The contract of [`Sleep`].

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{pending, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use mirage_device::{Instant, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::{Flag, Own, PATIENCE, cancelled, once, patiently};

contract! { "sleep"
    "Sleep" {
        _: Does "Waiting for time to pass.", because::IT_DESCRIBES;
    }
    "Sleep::sleep_until" {
        NOT_EARLY: Waits "Waits until the clock shows `deadline` or later; never returns early.";
        PAST: Waits "A deadline in the past completes at the first poll.";
        TOGETHER: Does "Any number of waits may go on together, whatever the order of their deadlines.";
        DROPPED: Cancel "Cancel-safe: dropping the future ends the wait, and its waker is let go.";
    }
    "Sleep::sleep" {
        FROM_THE_CALL: Waits "Waits for at least `duration`, counted from this call, not from the first poll.";
        SLEEP_DROPPED: Cancel "Cancel-safe.";
    }
    "Sleep::timeout" {
        AT_MOST: Waits "Runs `future` for at most `duration`: `None` when the time ran out first, and then `future` has been dropped.";
        AS_CANCEL_SAFE: Cancel "Exactly as cancel-safe as `future`.";
    }
}

/// The time that each wait of this suite takes, at most four times.
const NAP: Duration = Duration::from_millis(5);

/// Checks `sleep`, which may be `trusted` itself. `trusted` tells when a wait never ends.
pub async fn check(sleep: &impl Sleep, trusted: &impl Sleep) -> Report {
    let mut report = Report::new();
    let ended = "the wait to end";

    for nap in [
        Duration::from_nanos(1),
        Duration::from_micros(300),
        NAP,
        3 * NAP,
    ] {
        let deadline = sleep.now() + nap;
        match patiently(trusted, sleep.sleep_until(deadline)).await {
            Some(()) => {
                let now = sleep.now();
                let expected = "the deadline or a later time on its clock";
                report.check(NOT_EARLY, now >= deadline, expected, (deadline, now));
            }
            None => report.check(NOT_EARLY, false, ended, "no end"),
        }
    }

    for past in [Instant::ZERO, sleep.now()] {
        let answer = cancelled(sleep.sleep_until(past)).await;
        report.equal(PAST, answer, Some(()));
    }

    let start = sleep.now();
    let mut waits: Vec<_> = (0..50_u32)
        .map(|n| start + NAP + Duration::from_micros(u64::from(n * 37 % 50) * 100))
        .map(|deadline| (deadline, Own::new(sleep.sleep_until(deadline))))
        .collect();
    let all = poll_fn(|cx| {
        waits.retain_mut(|(deadline, wait)| match pin!(wait).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(()) => {
                let now = sleep.now();
                let expected = "none to end before its deadline";
                report.check(TOGETHER, now >= *deadline, expected, (*deadline, now));
                false
            }
        });
        if waits.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let all = patiently(trusted, all).await;
    report.check(
        TOGETHER,
        all.is_some(),
        "all fifty waits to end",
        "some that do not",
    );

    // The waker of a wait that was dropped long before its deadline: nobody else holds it.
    let flag = Flag::new(Waker::noop());
    let waker = Waker::from(flag.clone());
    let wait = sleep.sleep_until(sleep.now() + PATIENCE);
    {
        let mut wait = pin!(wait);
        let pending = wait
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending();
        report.check(
            DROPPED,
            pending,
            "a wait that is not over at its first poll",
            "its end",
        );
    }
    drop(waker);
    let _ = patiently(trusted, sleep.sleep(2 * NAP)).await;
    let holders = Arc::strong_count(&flag) - 1;
    report.check(
        DROPPED,
        holders == 0,
        "nobody to hold its waker",
        (holders, "holders"),
    );

    let start = sleep.now();
    let late = sleep.sleep(NAP);
    let _ = patiently(trusted, sleep.sleep(2 * NAP)).await;
    let mut late = pin!(late);
    match once(&mut late).await {
        Poll::Ready(()) => {
            let waited = sleep.now() - start;
            report.check(FROM_THE_CALL, waited >= NAP, "at least 5 ms", waited);
        }
        Poll::Pending => {
            let expected = "a wait that is over when its time has passed before the first poll";
            report.check(FROM_THE_CALL, false, expected, "a wait that goes on");
        }
    }
    let start = sleep.now();
    let slept = patiently(trusted, sleep.sleep(NAP)).await;
    let waited = sleep.now() - start;
    let kept = slept.is_some() && waited >= NAP;
    report.check(
        FROM_THE_CALL,
        kept,
        "an end after at least 5 ms",
        (slept, waited),
    );
    let start = sleep.now();
    let early = cancelled(sleep.sleep(NAP)).await;
    let after = patiently(trusted, sleep.sleep(NAP)).await;
    let waited = sleep.now() - start;
    let kept = early.is_none() && after.is_some() && waited >= NAP;
    let expected = "a dropped sleep to leave the next as it is";
    report.check(SLEEP_DROPPED, kept, expected, (early, after, waited));

    timeouts(&mut report, sleep, trusted).await;
    report.complete(&CONTRACT)
}

async fn timeouts(report: &mut Report, sleep: &impl Sleep, trusted: &impl Sleep) {
    let held = Rc::new(());
    let hold = || {
        let inside = held.clone();
        async move {
            let _inside = inside;
            pending::<u8>().await
        }
    };
    let start = sleep.now();
    let answer = patiently(trusted, sleep.timeout(NAP, hold())).await;
    let waited = sleep.now() - start;
    let kept = answer == Some(None) && waited >= NAP;
    report.check(
        AT_MOST,
        kept,
        "`None` after at least 5 ms",
        (answer, waited),
    );
    let gone = Rc::strong_count(&held) == 1;
    report.check(
        AT_MOST,
        gone,
        "the future to be dropped with the timeout",
        "that it still lives",
    );
    let answer = patiently(trusted, sleep.timeout(NAP, async { 7_u8 })).await;
    report.equal(AT_MOST, answer, Some(Some(7)));
    let answer = cancelled(sleep.timeout(NAP, hold())).await;
    let kept = answer.is_none() && Rc::strong_count(&held) == 1;
    let expected = "a dropped timeout to drop its future";
    report.check(
        AS_CANCEL_SAFE,
        kept,
        expected,
        (answer, Rc::strong_count(&held)),
    );
}

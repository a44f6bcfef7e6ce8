//! The contract of [`Listener`].

use alloc::vec::Vec;
use core::net::SocketAddr;

use mirage_device::{Flow, Listener, Sleep, Stack};

use crate::Report;
use crate::sentence::{because, contract};
use crate::stack::{ANY, carries, targets};
use crate::watch::{MOMENT, at_once, both, cancelled, patiently};

contract! { "stack"
    "Listener" {
        _: Does "A listening TCP port.", because::IT_DESCRIBES;
    }
    "Listener::Flow" {
        _: Does "What a connection is.", because::IT_DESCRIBES;
    }
    "Listener::local" {
        LOCAL: Does "The address listened on, with the port the stack chose.";
        LOCAL_AT_ONCE: Waits "Returns at once; never changes.";
    }
    "Listener::accept" {
        ACCEPT: Waits "Waits for the next established connection, oldest first.";
        ACCEPT_DROPPED: Cancel "Cancel-safe: a dropped call has taken none.";
        FLOW_OWNED: Owns "The caller owns the flow; the listener's end leaves it alone.";
        ACCEPT_FINAL: Errors "An error is final for the listener.";
    }
}

/// Checks the listeners of `near`, with connections from `far`.
pub async fn check(near: &impl Stack, far: &impl Stack, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    suite(&mut report, near, far, sleep).await;
    report.not_applicable(ACCEPT_FINAL, "this rig does not take the network away");
    report.complete(&CONTRACT)
}

/// Checks a listener whose network has been taken away, or is meanwhile.
pub async fn after_unplug(listener: &mut impl Listener, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    for _ in 0..3 {
        let accepted = patiently(sleep, listener.accept()).await;
        let kept = matches!(accepted, Some(Err(_)));
        let seen = accepted.map(|result| result.err());
        report.check(ACCEPT_FINAL, kept, "an error, at each call", seen);
    }
    report
}

async fn suite(report: &mut Report, near: &impl Stack, far: &impl Stack, sleep: &impl Sleep) {
    let (Some(target), Ok(mut listener)) =
        (targets(far, near).first().copied(), near.listen(ANY, 8))
    else {
        return report.check(LOCAL, false, "a listener with an address", "none");
    };
    let local = at_once(report, LOCAL_AT_ONCE, sleep, || listener.local());
    report.check(LOCAL, local.port() != 0, "a port", local);
    let remote = SocketAddr::new(target, local.port());

    // Nobody there: it waits, and is woken by who comes.
    let early = cancelled(listener.accept()).await;
    report.check(
        ACCEPT,
        early.is_none(),
        "to wait while nobody connects",
        early.map(|r| r.err()),
    );
    let (accepted, connected) = both(patiently(sleep, listener.accept()), async {
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
        patiently(sleep, far.connect(remote)).await
    })
    .await;
    let (mut ours, mut theirs) = match (accepted, connected) {
        (Some(Ok(ours)), Some(Ok(theirs))) => (ours, theirs),
        (accepted, connected) => {
            let seen = (
                accepted.map(|r| r.err()),
                "connected:",
                connected.map(|r| r.err()),
            );
            return report.check(ACCEPT, false, "to be woken by a connection", seen);
        }
    };

    // Two that wait come in the order in which they came.
    let mut waiting = Vec::new();
    for _ in 0..2 {
        match patiently(sleep, far.connect(remote)).await {
            Some(Ok(flow)) => waiting.push(flow),
            other => {
                let seen = other.map(|result| result.err());
                return report.check(ACCEPT, false, "a connection", seen);
            }
        }
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    }
    for mut theirs in waiting {
        match patiently(sleep, listener.accept()).await {
            Some(Ok(mut flow)) => {
                let (peer, expected) = (flow.peer(), theirs.local());
                let oldest = peer == expected || peer.is_none() || expected.is_none();
                report.check(ACCEPT, oldest, "the oldest connection", (peer, expected));
                let carried = carries(&mut theirs, &mut flow, sleep).await;
                report.check(
                    ACCEPT,
                    carried || !oldest,
                    "a flow that carries bytes",
                    "none",
                );
            }
            other => {
                let seen = other.map(|result| result.err());
                report.check(ACCEPT, false, "each connection", seen);
            }
        }
    }

    // A call that is dropped takes none: before one comes, and when one is there.
    let _ = cancelled(listener.accept()).await;
    let last = patiently(sleep, far.connect(remote)).await;
    let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    let accepted = match cancelled(listener.accept()).await {
        Some(accepted) => Some(accepted),
        None => patiently(sleep, listener.accept()).await,
    };
    match (last, accepted) {
        (Some(Ok(mut theirs)), Some(Ok(mut flow))) => {
            let carried = carries(&mut theirs, &mut flow, sleep).await;
            report.check(
                ACCEPT_DROPPED,
                carried,
                "the connection after dropped calls",
                "another",
            );
        }
        (_, accepted) => {
            let seen = accepted.map(|result| result.err());
            report.check(
                ACCEPT_DROPPED,
                false,
                "the connection after dropped calls",
                seen,
            );
        }
    }
    report.equal(LOCAL_AT_ONCE, listener.local(), local);

    drop(listener);
    let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    let carried = carries(&mut theirs, &mut ours, sleep).await
        && carries(&mut ours, &mut theirs, sleep).await;
    report.check(
        FLOW_OWNED,
        carried,
        "an accepted flow to outlive its listener",
        "one that does not",
    );
}

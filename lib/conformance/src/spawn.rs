//! The contract of [`Spawn`] and [`Task`].

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::pending;

use mirage_device::{Sleep, Spawn, Task};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::{MOMENT, at_once, cancelled, patiently, turn};

contract! { "spawn"
    "Spawn" {
        _: Does "Starting tasks.", because::IT_DESCRIBES;
    }
    "Spawn::Task" {
        _: Does "The handle of a task whose future yields `T`.", because::IT_DESCRIBES;
    }
    "Spawn::spawn" {
        OF_ITS_OWN: Does "Starts `future` as a task of its own.";
        LATER: Waits "Returns at once; the task first runs after the caller next waits.";
        IN_ORDER: Does "Tasks first run in the order in which they were started.";
        DROPPED: Cancel "Dropping the handle cancels the task: its future is dropped before the executor waits again.";
    }
    "Task" {
        _: Does "A running task.", because::IT_DESCRIBES;
        AWAITED: Waits "Awaiting it waits for its output.";
        HANDLE_DROPPED: Cancel "Dropping it cancels the task: use [`Task::detach`] to let it go on alone.";
    }
    "Task::detach" {
        DETACHED: Does "Lets the task run to its end with nobody waiting.";
        DETACH_AT_ONCE: Waits "Returns at once.";
    }
}

/// Checks `spawn`.
pub async fn check(spawn: &impl Spawn, sleep: &(impl Sleep + 'static)) -> Report {
    let mut report = Report::new();

    // It must run although nobody awaits it, and not before its starter waits.
    let ran = Rc::new(Cell::new(false));
    let mark = ran.clone();
    let task = at_once(&mut report, LATER, sleep, || {
        spawn.spawn(async move { mark.set(true) })
    });
    let expected = "a task that has not run before its starter waits";
    report.check(LATER, !ran.get(), expected, "a task that has run");
    patiently(sleep, sleep.sleep(MOMENT)).await;
    let expected = "a task that runs while its starter waits for something else";
    report.check(OF_ITS_OWN, ran.get(), expected, "a task that has not run");
    let output = patiently(sleep, task).await;
    report.equal(AWAITED, output, Some(()));

    // A task's own waits wake it, and its end wakes who awaits it.
    let clock = sleep.clone();
    let task = spawn.spawn(async move {
        clock.sleep(MOMENT).await;
        42_u8
    });
    let start = sleep.now();
    let output = patiently(sleep, task).await;
    let waited = sleep.now() - start;
    let kept = output == Some(42) && waited >= MOMENT;
    report.check(
        AWAITED,
        kept,
        "its output, 42, after 20 ms",
        (output, waited),
    );

    let order = Rc::new(RefCell::new(Vec::new()));
    for n in 0..5_u8 {
        let order = order.clone();
        spawn
            .spawn(async move { order.borrow_mut().push(n) })
            .detach();
    }
    patiently(sleep, sleep.sleep(MOMENT)).await;
    let seen = order.take();
    report.equal(IN_ORDER, seen, (0..5).collect());

    let held = Rc::new(());
    let hold = || {
        let inside = held.clone();
        async move {
            let _inside = inside;
            pending::<()>().await;
        }
    };
    for started in [false, true] {
        let task = spawn.spawn(hold());
        if started {
            turn().await;
        }
        drop(task);
        turn().await;
        let gone = Rc::strong_count(&held) == 1;
        let expected = "the task's future to be dropped with the handle";
        report.check(
            DROPPED,
            gone,
            expected,
            ("it still lives; it had started:", started),
        );
    }
    let task = spawn.spawn(hold());
    let early = cancelled(task).await;
    turn().await;
    let kept = early.is_none() && Rc::strong_count(&held) == 1;
    let expected = "a handle that is dropped while it is awaited to cancel its task";
    report.check(
        HANDLE_DROPPED,
        kept,
        expected,
        (early, Rc::strong_count(&held)),
    );

    let done = Rc::new(Cell::new(false));
    let (mark, clock) = (done.clone(), sleep.clone());
    let task = spawn.spawn(async move {
        clock.sleep(MOMENT).await;
        mark.set(true);
    });
    turn().await;
    at_once(&mut report, DETACH_AT_ONCE, sleep, || task.detach());
    patiently(sleep, sleep.sleep(2 * MOMENT)).await;
    turn().await;
    report.check(
        DETACHED,
        done.get(),
        "a task that runs to its end",
        "one that does not",
    );
    report.complete(&CONTRACT)
}

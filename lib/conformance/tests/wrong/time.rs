//! Wrong clocks and sleeps.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mirage_conformance::{clock, sleep, wall};
use mirage_device::{Clock, Instant, Sleep, Spawn, Task, Wall};
use mirage_sim::World;

use crate::rigs::{caught, run};

/// Every hundredth answer is a microsecond less than the one before.
#[derive(Clone)]
struct GoesBack(World, Rc<Cell<u32>>);

impl Clock for GoesBack {
    fn now(&self) -> Instant {
        self.1.set(self.1.get() + 1);
        let back = u64::from(self.1.get() % 100 == 99) * 1_000;
        Instant::from_nanos(self.0.now().as_nanos().saturating_sub(back))
    }
}

/// Shows tens of milliseconds only.
#[derive(Clone)]
struct Coarse(World);

impl Clock for Coarse {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now().as_nanos() / 10_000_000 * 10_000_000)
    }
}

#[test]
fn a_clock_that_goes_back() {
    let report = run(async |s| clock::check(&GoesBack(s.clone(), Rc::default()), &s).await);
    caught(&report, clock::NEVER_BACK);
}

#[test]
fn a_clock_of_ten_milliseconds() {
    let report = run(async |s| clock::check(&Coarse(s.clone()), &s).await);
    caught(&report, clock::RESOLUTION);
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Ends a tenth too early.
    Early,
    /// Never uses the waker.
    LostWakeUp,
    /// Waits once more for what is over.
    Past,
    /// A later wait takes the place of an earlier one.
    One,
    /// The waker stays with the clock when the wait is dropped.
    Keeps,
    /// The waker stays with the clock until its time has come.
    KeepsUntilDue,
    /// Counts from the first poll.
    FromPoll,
}

#[derive(Clone)]
struct Wrong {
    s: World,
    fault: Fault,
    current: Rc<Cell<u32>>,
}

impl Clock for Wrong {
    fn now(&self) -> Instant {
        self.s.now()
    }
}

impl Sleep for Wrong {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<> + 'static {
        let Self { s, fault, current } = self.clone();
        let left = deadline - s.now();
        let number = current.get() + 1;
        current.set(number);
        async move {
            match fault {
                Fault::Early => s.sleep(left * 9 / 10).await,
                Fault::LostWakeUp => {
                    poll_fn(|_| match s.now() < deadline {
                        true => Poll::Pending,
                        false => Poll::Ready(()),
                    })
                    .await;
                }
                Fault::Past => {
                    crate::rigs::turn().await;
                    s.sleep_until(deadline).await;
                }
                Fault::One => {
                    s.sleep_until(deadline).await;
                    if current.get() > number + 30 {
                        std::future::pending::<()>().await;
                    }
                }
                Fault::Keeps => {
                    poll_fn(|cx| {
                        std::mem::forget(cx.waker().clone());
                        Poll::Ready(())
                    })
                    .await;
                    s.sleep_until(deadline).await;
                }
                Fault::KeepsUntilDue => {
                    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                    let due = s.sleep_until(deadline);
                    let keeping = async move {
                        due.await;
                        drop(waker);
                    };
                    s.spawn(keeping).detach();
                    s.sleep_until(deadline).await;
                }
                Fault::FromPoll => s.sleep(left).await,
            }
        }
    }
}

#[test]
fn a_sleep_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::Early, sleep::NOT_EARLY),
        (Fault::LostWakeUp, sleep::NOT_EARLY),
        (Fault::Past, sleep::PAST),
        (Fault::One, sleep::TOGETHER),
        (Fault::Keeps, sleep::DROPPED),
        (Fault::KeepsUntilDue, sleep::DROPPED),
        (Fault::FromPoll, sleep::FROM_THE_CALL),
    ] {
        let report = run(async |s| {
            let wrong = Wrong {
                s: s.clone(),
                fault,
                current: Rc::default(),
            };
            sleep::check(&wrong, &s).await
        });
        caught(&report, sentence);
    }
}

/// A wall clock that is not always there, or is an hour late.
#[derive(Clone)]
struct WrongWall(Rc<Cell<u32>>, bool);

impl Wall for WrongWall {
    fn wall(&self) -> Option<Duration> {
        self.0.set(self.0.get() + 1);
        let late = Duration::from_secs(1_700_000_000 - 3_600);
        (self.1 || self.0.get() % 2 == 1).then_some(late)
    }
}

#[test]
fn a_wall_clock_that_comes_and_goes_or_is_late() {
    for (always, truth, sentence) in [
        (false, None, wall::NONE_FOR_EVER),
        (
            true,
            Some(Duration::from_secs(1_700_000_000)),
            wall::SINCE_1970,
        ),
    ] {
        let report = run(async |s| wall::check(&WrongWall(Rc::default(), always), &s, truth).await);
        caught(&report, sentence);
    }
}

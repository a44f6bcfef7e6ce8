//! Callbacks: functions that are called with what is watched.

use std::sync::Arc;
use std::vec::Vec;

use super::pool::POOL;
use super::task::{Audience, Task};
use super::{Event, Watch};
use crate::ReadError;

/// What calls a function for a watch, see [`Watch::on_event`]. Dropping it ends the calls: none
/// begins after that.
#[must_use = "dropping it ends the calls"]
pub struct Callback {
    task: Arc<Task>,
    audience: Arc<Audience>,
}

impl Watch {
    /// Has a function called with each event, or with the error that reading gave (and then again
    /// with the next change). Calls come one after the other, from a thread of a pool that all
    /// callbacks share; however long one takes, no other and no writer waits for it. Up to 64 calls
    /// can be under way.
    pub fn on_event(self, call: impl FnMut(Result<Event, ReadError>) + Send + 'static) -> Callback {
        let audience = self.channel.audience.clone();
        let task = Arc::new(Task::new(self, call));
        audience.join(task.clone());
        // The first turn finds what happened already.
        POOL.add(Arc::new(Vec::from([task.clone()])), None);
        Callback { task, audience }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.task.drop_work();
        self.audience.leave();
    }
}

impl Audience {
    /// Has everybody told what is new. Returns at once.
    pub(super) fn tell(self: &Arc<Self>) {
        if let Some(tasks) = self.turn() {
            POOL.add(tasks, Some(self.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::string::ToString;
    use std::sync::mpsc;
    use std::thread;
    use std::vec::Vec;

    use super::*;
    use crate::{Format, Info, Memory, Path, Repo, Signature};

    fn info(n: i64) -> Info {
        Info::new(Signature::new("A", "a@b", n, 0), "m\n")
    }

    #[test]
    fn a_callback_that_stalls_delays_no_other_and_no_writer_and_then_sees_the_last() {
        let repo = Repo::new(Memory::new(Format::Native));
        let main = repo.branch("main").unwrap();
        let set = |n: i64| {
            main.change(&info(n), |edit| edit.set("x", n.to_string()))
                .unwrap()
                .id()
        };
        let (release, stalled) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let (slow_tell, slow_told) = mpsc::channel();
        let slow = main.watch(Path::default()).unwrap().on_event(move |event| {
            slow_tell.send(event.unwrap().position().head).unwrap();
            let _ = stalled.recv();
        });
        let callbacks: Vec<Callback> = (0..100)
            .map(|n| {
                let tell = tell.clone();
                main.watch(Path::default())
                    .unwrap()
                    .on_event(move |event| tell.send((n, event.unwrap().position().head)).unwrap())
            })
            .collect();
        let first = set(1);
        assert_eq!(slow_told.recv().unwrap(), Some(first));
        let mut last = first;
        for n in 2..20 {
            last = set(n);
        }
        let mut seen = [None; 100];
        while seen.iter().any(|head| *head != Some(last)) {
            let (n, head) = told.recv().unwrap();
            seen[n] = head;
        }
        release.send(()).unwrap();
        assert_eq!(
            slow_told.recv().unwrap(),
            Some(last),
            "what came between is skipped"
        );
        release.send(()).unwrap();
        drop(callbacks);
        drop(slow);
        while told.try_recv().is_ok() {}
        set(99);
        assert!(told.try_recv().is_err(), "dropped: no call begins");
    }

    #[test]
    fn callbacks_come_and_go_and_panic_while_all_that_stay_see_the_last() {
        let repo = Repo::new(Memory::new(Format::Native));
        let main = repo.branch("main").unwrap();
        let (tell, told) = mpsc::channel();
        let watch = || main.watch(Path::default()).unwrap();
        let stay: Vec<Callback> = (0..50)
            .map(|n| {
                let tell = tell.clone();
                watch().on_event(move |event| tell.send((n, event.unwrap().position())).unwrap())
            })
            .collect();
        let mut last = None;
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    for _ in 0..200 {
                        let one = watch().on_event(|_| ());
                        let other = watch().on_event(|_| ());
                        drop(one);
                        thread::yield_now();
                        drop(other);
                    }
                });
            }
            for n in 0..100 {
                // More of them than threads can be lost.
                let bad = watch().on_event(|_| std::panic::resume_unwind(Box::new("expected")));
                let set = main.change(&info(n), |edit| edit.set("x", n.to_string()));
                last = Some(set.unwrap().id());
                drop(bad);
            }
        });
        let mut seen = [None; 50];
        let mut sequences = [0; 50];
        while seen.iter().any(|head| *head != last) {
            let (n, position) = told.recv().unwrap();
            assert!(position.sequence > sequences[n], "in order, one at a time");
            (seen[n], sequences[n]) = (position.head, position.sequence);
        }
        drop(stay);
        assert!(main_audience(&main).len() <= 1, "none stays behind");
    }

    fn main_audience(main: &crate::Branch) -> Arc<Audience> {
        let watch = main.watch(Path::default()).unwrap();
        watch.channel.audience.clone()
    }

    #[test]
    fn waiting_in_a_thread_ends_with_the_next_event() {
        let repo = Repo::new(Memory::new(Format::Native));
        let main = repo.branch("main").unwrap();
        let mut watch = main.watch(Path::default()).unwrap();
        thread::scope(|threads| {
            let waiting = threads.spawn(|| watch.next_blocking().unwrap().after().unwrap().clone());
            let new = main.change(&info(1), |edit| edit.set("x", "1")).unwrap();
            assert_eq!(waiting.join().unwrap(), new);
        });
    }
}

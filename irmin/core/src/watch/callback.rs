//! Callbacks: functions that are called with what is watched.

use std::boxed::Box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;

use super::pool::{POOL, locked};
use super::{Event, Position, Step, Watch};
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
        let work = Work {
            watch: self,
            call: Box::new(call),
        };
        let task = Arc::new(Task {
            again: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
            work: Mutex::new(Some(work)),
        });
        audience.join(task.clone());
        // The first turn finds what happened already.
        POOL.add(Arc::new(Vec::from([task.clone()])), None);
        Callback { task, audience }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.task.is_dropped.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // If a call is under way its thread sees the mark when it returns.
        self.task.end();
        self.audience.leave();
    }
}

/// All callbacks of one branch: one turn tells them all, so that who moves the branch does the same
/// little work however many there are.
#[derive(Default)]
pub(super) struct Audience {
    /// Replaced, not changed, while a turn goes through it.
    tasks: Mutex<Arc<Vec<Arc<Task>>>>,
    /// How many of them were dropped.
    gone: AtomicUsize,
    /// A turn waits that nobody has begun: it will see all that moved until then.
    waits: AtomicBool,
}

impl Audience {
    /// Has everybody told what is new. Returns at once.
    pub(super) fn tell(self: &Arc<Self>) {
        let tasks = locked(&self.tasks).clone();
        if !tasks.is_empty() && !self.waits.swap(true, Ordering::SeqCst) {
            POOL.add(tasks, Some(self.clone()));
        }
    }

    /// A turn begins.
    pub(super) fn begin(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }

    fn join(&self, task: Arc<Task>) {
        Arc::make_mut(&mut *locked(&self.tasks)).push(task);
    }

    fn leave(&self) {
        let mut tasks = locked(&self.tasks);
        let gone = self.gone.fetch_add(1, Ordering::Relaxed) + 1;
        if gone * 2 < tasks.len() {
            return;
        }
        let is_here = |task: &&Arc<Task>| !task.is_dropped.load(Ordering::SeqCst);
        let left = Arc::new(tasks.iter().filter(is_here).cloned().collect::<Vec<_>>());
        self.gone.store(0, Ordering::Relaxed);
        let before = std::mem::replace(&mut *tasks, left);
        drop(tasks);
        drop(before);
    }
}

/// A callback in the hands of the pool.
pub(super) struct Task {
    /// It was to be run while it ran.
    again: AtomicBool,
    is_dropped: AtomicBool,
    /// Locked while it runs.
    work: Mutex<Option<Work>>,
}

struct Work {
    watch: Watch,
    call: Box<dyn FnMut(Result<Event, ReadError>) + Send>,
}

impl Task {
    /// Calls until there is nothing new. If another thread is at it, that one sees to it.
    pub(super) fn run(&self, latest: &mut Latest) {
        loop {
            let Some(mut work) = self.begin() else {
                return;
            };
            while let Some(Work { watch, call }) = &mut *work
                && !self.is_dropped.load(Ordering::SeqCst)
                && let Some(event) = latest.event(watch).transpose()
            {
                let is_error = event.is_err();
                call(event);
                if is_error {
                    break;
                }
            }
            drop(work);
            // Who found it locked left a mark before: either it is seen here, or the lock was free.
            fence(Ordering::SeqCst);
            if self.is_dropped.load(Ordering::SeqCst) {
                return self.end();
            }
            if !self.again.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Takes the lock, or leaves a mark for who has it.
    fn begin(&self) -> Option<MutexGuard<'_, Option<Work>>> {
        let mut work = self.work.try_lock();
        if work.is_err() {
            self.again.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            work = self.work.try_lock();
        }
        // Poisoned by a call that panicked: it is never called again.
        let work = work.ok()?;
        if self.again.load(Ordering::Relaxed) {
            self.again.store(false, Ordering::SeqCst);
        }
        Some(work)
    }

    /// Frees what it holds, unless a call is under way.
    fn end(&self) {
        let ended = self.work.try_lock().ok().and_then(|mut work| work.take());
        drop(ended);
    }
}

/// What one thread last told in one turn: most watches want the same again, and nothing that
/// several threads write is touched for it.
#[derive(Default)]
pub(super) struct Latest {
    position: Option<Position>,
    step: Option<Arc<Step>>,
}

impl Latest {
    fn event(&mut self, watch: &mut Watch) -> Result<Option<Event>, ReadError> {
        let sequence = watch.channel.sequence.load(Ordering::Acquire);
        if sequence == watch.seen.sequence {
            return Ok(None);
        }
        let now = match self.position {
            Some(position) if position.sequence == sequence => position,
            _ => watch.channel.state.lock().position,
        };
        self.position = Some(now);
        watch.advance(now, |watch, from, to| {
            if let Some(step) = self.step.as_ref().filter(|step| step.is_between(from, to)) {
                return Ok(step.clone());
            }
            // A copy of its own, so that threads do not count its users in the same place.
            let step = Step::clone(&*watch.channel.step(&watch.store, from, to)?);
            Ok(self.step.insert(Arc::new(step)).clone())
        })
    }
}

#[cfg(test)]
mod tests {
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
        assert!(
            locked(&main_audience(&main).tasks).len() <= 1,
            "none stays behind"
        );
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

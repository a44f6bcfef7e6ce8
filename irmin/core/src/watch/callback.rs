//! Callbacks: functions that are called with what is watched, in threads made as they are needed.

use std::boxed::Box;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use futures_core::Stream;

use super::{Event, Watch};
use crate::ReadError;

/// The most threads that callbacks of one process run in: so many may stall, and all others still
/// are called.
const THREADS_MAX: usize = 64;

/// So long nothing is begun before those at work are taken to stall.
const PATIENCE: Duration = Duration::from_micros(500);

/// A thread that found nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(1);

/// What calls a function for a watch, see [`Watch::on_event`]. Dropping it ends the calls: none
/// begins after that.
#[must_use = "dropping it ends the calls"]
pub struct Callback(Arc<Task>);

impl Watch {
    /// Has a function called with each event, or with the error that reading gave (and then again
    /// with the next change). Calls come one after the other, from a thread of a pool that all
    /// callbacks share; however long one takes, no other and no writer waits for it. Up to 64 calls
    /// can be under way.
    pub fn on_event(self, call: impl FnMut(Result<Event, ReadError>) + Send + 'static) -> Callback {
        let work = Work {
            watch: self,
            call: Box::new(call),
        };
        let task = Task {
            state: AtomicU8::new(IDLING),
            is_dropped: AtomicBool::new(false),
            work: Mutex::new(Some(work)),
        };
        let task = Arc::new(task);
        // The first turn finds what happened already, and begins to wait.
        task.clone().wake();
        Callback(task)
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.0.is_dropped.store(true, Ordering::SeqCst);
        // If a call is under way its thread sees the mark when it returns.
        let work = self.0.work.try_lock().ok().and_then(|mut work| work.take());
        drop(work);
    }
}

struct Task {
    state: AtomicU8,
    is_dropped: AtomicBool,
    work: Mutex<Option<Work>>,
}

struct Work {
    watch: Watch,
    call: Box<dyn FnMut(Result<Event, ReadError>) + Send>,
}

/// Nothing to do.
const IDLING: u8 = 0;
/// In the pool's queue.
const QUEUED: u8 = 1;
/// A thread is at it.
const RUNNING: u8 = 2;
/// A thread is at it, and there is more to do.
const AGAIN: u8 = 3;

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let next = |state| match state {
            IDLING => Some(QUEUED),
            RUNNING => Some(AGAIN),
            _ => None,
        };
        if self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            == Ok(IDLING)
        {
            POOL.add(self);
        }
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        self.state.store(RUNNING, Ordering::SeqCst);
        let waker = self.clone().into();
        let mut context = Context::from_waker(&waker);
        let mut work = locked(&self.work);
        while let Some(Work { watch, call }) = &mut *work
            && !self.is_dropped.load(Ordering::SeqCst)
            && let Poll::Ready(Some(event)) = Pin::new(watch).poll_next(&mut context)
        {
            let is_error = event.is_err();
            call(event);
            if is_error {
                break;
            }
        }
        let ended = if self.is_dropped.load(Ordering::SeqCst) {
            work.take()
        } else {
            None
        };
        drop(work);
        drop(ended);
        // A drop of the callback that came just now found the work taken.
        if self.is_dropped.load(Ordering::SeqCst) {
            let ended = locked(&self.work).take();
            drop(ended);
            return;
        }
        if self
            .state
            .compare_exchange(RUNNING, IDLING, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            self.state.store(QUEUED, Ordering::SeqCst);
            POOL.add(self);
        }
    }
}

/// Threads that run what was woken: as many as there are processors, and one that looks on. When
/// nothing was begun for [`PATIENCE`] although something waits, all others stall, and it steps in.
struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
}

struct Queue {
    tasks: VecDeque<Arc<Task>>,
    /// How many tasks were begun.
    begun: u64,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// How many of them were woken and are not here yet.
    woken: usize,
    /// Threads that look on.
    spare: usize,
}

static POOL: Pool = Pool {
    queue: Mutex::new(Queue {
        tasks: VecDeque::new(),
        begun: 0,
        threads: 0,
        idle: 0,
        woken: 0,
        spare: 0,
    }),
    more: Condvar::new(),
};

impl Pool {
    fn add(&'static self, task: Arc<Task>) {
        let mut queue = locked(&self.queue);
        queue.tasks.push_back(task);
        if queue.idle > queue.woken {
            queue.woken += 1;
            drop(queue);
            self.more.notify_one();
        } else if queue.threads < workers() + 1 {
            self.grow(queue);
        }
    }

    fn grow(&'static self, mut queue: MutexGuard<'static, Queue>) {
        queue.threads += 1;
        drop(queue);
        let thread = thread::Builder::new().name("irmin-callback".into());
        if thread.spawn(|| self.work()).is_err() {
            // Those that are there go on; the next task tries again.
            locked(&self.queue).threads -= 1;
        }
    }

    fn work(&'static self) {
        let mut queue = locked(&self.queue);
        loop {
            // The last that is not at work looks on.
            let is_last = queue.idle <= queue.woken && queue.spare == 0;
            if is_last && !queue.tasks.is_empty() && queue.threads > workers() {
                queue = self.look_on(queue);
            }
            if let Some(task) = queue.tasks.pop_front() {
                queue.begun += 1;
                drop(queue);
                task.run();
                queue = locked(&self.queue);
                continue;
            }
            queue.idle += 1;
            let (after, waited) = self
                .more
                .wait_timeout(queue, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            queue = after;
            queue.idle -= 1;
            queue.woken = queue.woken.saturating_sub(1);
            if waited.timed_out() && queue.tasks.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }

    /// Returns when nothing waits, or all others stall: then there is one more to look on.
    fn look_on(&'static self, mut queue: MutexGuard<'static, Queue>) -> MutexGuard<'static, Queue> {
        queue.spare += 1;
        while !queue.tasks.is_empty() {
            let begun = queue.begun;
            drop(queue);
            thread::sleep(PATIENCE);
            queue = locked(&self.queue);
            if queue.begun == begun && !queue.tasks.is_empty() {
                queue.spare -= 1;
                if queue.threads < THREADS_MAX {
                    self.grow(queue);
                    queue = locked(&self.queue);
                }
                return queue;
            }
        }
        queue.spare -= 1;
        queue
    }
}

fn workers() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 16)
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::sync::mpsc;
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

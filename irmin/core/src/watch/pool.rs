//! The threads that callbacks are called from, made as they are needed.

use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use super::task::{Audience, Latest, Task, locked};

/// The most threads that callbacks of one process run in: so many may stall, and all others still
/// are called.
const THREADS_MAX: usize = 64;

/// A thread that begins no call for so long is taken to stall.
const PATIENCE: Duration = Duration::from_micros(500);

/// A thread that found nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(1);

/// Threads that run what waits: as many as there are processors, and one that looks on. For each
/// that stalls in a call there is one more.
pub(super) struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
}

struct Queue {
    turns: VecDeque<Arc<Turn>>,
    members: Vec<Arc<Member>>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// How many of them were woken and are not here yet.
    woken: usize,
    /// A thread looks on.
    is_watched: bool,
}

/// A thread of the pool. What it does changes under the lock of the queue, except for its calls.
#[derive(Default)]
struct Member {
    calls: AtomicU64,
    state: AtomicUsize,
}

/// What a member does.
const WAITS: usize = 0;
const WORKS: usize = 1;
const STALLS: usize = 2;

/// A thread's place in the pool, given up when the thread ends, also by a call that panicked.
#[derive(Default)]
struct Place(Arc<Member>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = locked(&POOL.queue);
        queue.threads -= 1;
        queue.members.retain(|one| !Arc::ptr_eq(one, &self.0));
        if queue.turn().is_some() {
            drop(POOL.call(queue));
        }
    }
}

/// Tasks that are to be run once each, by whoever has time.
struct Turn {
    tasks: Arc<Vec<Arc<Task>>>,
    audience: Option<Arc<Audience>>,
    /// One for each thread to begin with; who is through with one helps in the others, so that
    /// nothing waits behind a call that stalls.
    lanes: Box<[Lane]>,
    /// How many threads began.
    entered: AtomicUsize,
}

/// A range of tasks, on a cache line of its own.
#[repr(align(128))]
struct Lane {
    next: AtomicUsize,
    end: usize,
}

pub(super) static POOL: Pool = Pool {
    queue: Mutex::new(Queue {
        turns: VecDeque::new(),
        members: Vec::new(),
        threads: 0,
        idle: 0,
        woken: 0,
        is_watched: false,
    }),
    more: Condvar::new(),
};

impl Turn {
    fn new(tasks: Arc<Vec<Arc<Task>>>, audience: Option<Arc<Audience>>) -> Turn {
        let (count, len) = (workers().min(tasks.len()), tasks.len());
        let lanes = (0..count).map(|n| Lane {
            next: AtomicUsize::new(len * n / count),
            end: len * (n + 1) / count,
        });
        Turn {
            lanes: lanes.collect(),
            tasks,
            audience,
            entered: AtomicUsize::new(0),
        }
    }

    /// Runs what no other thread has begun.
    fn run(&self, first: usize, member: &Member) {
        let mut latest = Latest::default();
        let mut calls = member.calls.load(Ordering::Relaxed);
        for n in 0..self.lanes.len() {
            let lane = &self.lanes[(first + n) % self.lanes.len()];
            loop {
                let at = lane.next.fetch_add(1, Ordering::Relaxed);
                if at >= lane.end {
                    break;
                }
                calls += 1;
                member.calls.store(calls, Ordering::Relaxed);
                self.tasks[at].run(&mut latest);
            }
        }
    }

    /// Whether there is nothing left to begin.
    fn is_taken(&self) -> bool {
        self.entered.load(Ordering::Relaxed) >= self.tasks.len()
            || (self.lanes.iter()).all(|lane| lane.next.load(Ordering::Relaxed) >= lane.end)
    }
}

impl Pool {
    /// Has tasks run once each, soon. Returns at once.
    pub(super) fn add(&'static self, tasks: Arc<Vec<Arc<Task>>>, audience: Option<Arc<Audience>>) {
        let turn = Turn::new(tasks, audience);
        let threads = turn.lanes.len() + usize::from(turn.tasks.len() > 1);
        let mut queue = locked(&self.queue);
        queue.turns.push_back(Arc::new(turn));
        for _ in 0..threads {
            queue = self.call(queue);
        }
    }

    /// Wakes or makes one more thread, where one is wanted.
    fn call(&'static self, mut queue: MutexGuard<'static, Queue>) -> MutexGuard<'static, Queue> {
        if queue.idle > queue.woken {
            queue.woken += 1;
            self.more.notify_one();
        } else if queue.threads < THREADS_MAX && queue.threads - queue.count(STALLS) <= workers() {
            queue.threads += 1;
            drop(queue);
            let thread = thread::Builder::new().name("irmin-callback".into());
            let made = thread.spawn(|| self.work(&Place::default().0));
            queue = locked(&self.queue);
            if made.is_err() {
                // Those that are there go on; the next turn tries again.
                queue.threads -= 1;
            }
        }
        queue
    }

    fn work(&'static self, me: &Arc<Member>) {
        let mut queue = locked(&self.queue);
        queue.members.push(me.clone());
        loop {
            me.state.store(WAITS, Ordering::Relaxed);
            let turn = queue.turn();
            if let Some(turn) = &turn
                && queue.count(WORKS) < workers()
            {
                let first = turn.entered.fetch_add(1, Ordering::Relaxed);
                if let Some(audience) = turn.audience.as_ref().filter(|_| first == 0) {
                    audience.begin();
                }
                me.state.store(WORKS, Ordering::Relaxed);
                // Somebody has to look on, if this one is not to be the last.
                if !queue.is_watched && queue.turn().is_some() {
                    queue = self.call(queue);
                }
                drop(queue);
                turn.run(first, me);
                queue = locked(&self.queue);
                continue;
            }
            if turn.is_some() && !queue.is_watched {
                queue = self.look_on(queue);
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
            if waited.timed_out() && queue.turns.is_empty() {
                return;
            }
        }
    }

    /// Returns when nothing waits, or there is room for one more at work since another stalls.
    fn look_on(&'static self, mut queue: MutexGuard<'static, Queue>) -> MutexGuard<'static, Queue> {
        queue.is_watched = true;
        while queue.turn().is_some() && queue.count(WORKS) >= workers() {
            let calls = |member: &Arc<Member>| member.calls.load(Ordering::Relaxed);
            let before: Vec<_> = (queue.members.iter())
                .filter(|member| member.state.load(Ordering::Relaxed) == WORKS)
                .map(|member| (member.clone(), calls(member)))
                .collect();
            drop(queue);
            thread::sleep(PATIENCE);
            queue = locked(&self.queue);
            for (member, count) in before {
                if calls(&member) == count && member.state.load(Ordering::Relaxed) == WORKS {
                    member.state.store(STALLS, Ordering::Relaxed);
                }
            }
        }
        queue.is_watched = false;
        queue
    }
}

impl Queue {
    fn count(&self, state: usize) -> usize {
        let is_so = |member: &&Arc<Member>| member.state.load(Ordering::Relaxed) == state;
        self.members.iter().filter(is_so).count()
    }

    /// The first turn of which something is left.
    fn turn(&mut self) -> Option<Arc<Turn>> {
        while self.turns.front().is_some_and(|turn| turn.is_taken()) {
            self.turns.pop_front();
        }
        self.turns.front().cloned()
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

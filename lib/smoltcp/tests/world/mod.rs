//! A world to test a stack in: one thread, a clock that jumps, and wires.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod peer;
pub mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mirage_counters::Table;
use mirage_device::{Clock, Entropy, EntropyError, Instant, Net, Sleep, Spawn, Task};
use mirage_smoltcp::{Error, Keys, Smoltcp};

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// The executor and its clock. A clone is another handle.
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    now: Cell<u64>,
    next: Cell<u64>,
    jobs: RefCell<HashMap<u64, Option<Job>>>,
    ready: Ready,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    random: RefCell<Random>,
    /// How often the clock had to jump: what a real machine would have woken up for.
    wakeups: Cell<u64>,
    /// What the stacks count, each under its key `ipv4`.
    counters: Table,
    /// Time really passes, for measuring.
    real: Option<std::time::Instant>,
}

type Ready = Arc<Mutex<VecDeque<u64>>>;

struct Alarm {
    id: u64,
    ready: Ready,
    queued: std::sync::atomic::AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, std::sync::atomic::Ordering::Relaxed) {
            self.ready.lock().unwrap().push_back(self.id);
        }
    }
}

impl World {
    /// A world whose random choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::make(seed, None)
    }

    /// A world on the real clock.
    pub fn real() -> Self {
        Self::make(1, Some(std::time::Instant::now()))
    }

    fn make(seed: u64, real: Option<std::time::Instant>) -> Self {
        Self(Rc::new(Inner {
            now: Cell::new(1_000_000_000),
            next: Cell::new(0),
            jobs: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            random: RefCell::new(Random::new(seed)),
            wakeups: Cell::new(0),
            counters: Table::new(None),
            real,
        }))
    }

    /// Runs `future` and every task until it is done.
    pub fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        self.start(async move { *slot.borrow_mut() = Some(future.await) });
        let mut wakers = HashMap::new();
        loop {
            let id = self.0.ready.lock().unwrap().pop_front();
            if let Some(id) = id {
                let Some(mut job) = self.0.jobs.borrow_mut().get_mut(&id).and_then(Option::take)
                else {
                    continue;
                };
                let (alarm, waker) = wakers.entry(id).or_insert_with(|| {
                    let ready = self.0.ready.clone();
                    let alarm = Arc::new(Alarm {
                        id,
                        ready,
                        queued: true.into(),
                    });
                    (alarm.clone(), Waker::from(alarm))
                });
                alarm
                    .queued
                    .store(false, std::sync::atomic::Ordering::Relaxed);
                if job
                    .as_mut()
                    .poll(&mut Context::from_waker(waker))
                    .is_ready()
                {
                    self.0.jobs.borrow_mut().remove(&id);
                    wakers.remove(&id);
                    drop(job);
                } else if let Some(slot) = self.0.jobs.borrow_mut().get_mut(&id) {
                    *slot = Some(job);
                }
                if let Some(result) = result.borrow_mut().take() {
                    return result;
                }
                continue;
            }
            let Some(((at, _), waker)) = self.0.timers.borrow_mut().pop_first() else {
                panic!("nothing will ever happen again");
            };
            if self.0.real.is_none() {
                self.0.now.set(self.0.now.get().max(at));
                self.0.wakeups.set(self.0.wakeups.get() + 1);
            } else {
                while self.now().as_nanos() < at {
                    std::hint::spin_loop();
                }
            }
            waker.wake();
        }
    }

    fn start(&self, job: impl Future<Output = ()> + 'static) -> u64 {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        self.0.jobs.borrow_mut().insert(id, Some(Box::pin(job)));
        self.0.ready.lock().unwrap().push_back(id);
        id
    }

    /// How often the clock had to jump so far.
    pub fn wakeups(&self) -> u64 {
        self.0.wakeups.get()
    }

    /// Whether any timer stands.
    pub fn has_timers(&self) -> bool {
        !self.0.timers.borrow().is_empty()
    }

    pub fn random(&self, below: u64) -> u64 {
        self.0.random.borrow_mut().next() % below
    }

    /// Lets everything happen that needs no time.
    pub async fn settle(&self) {
        self.sleep(Duration::from_millis(1)).await;
    }

    /// A stack at this end of a wire.
    pub async fn stack(&self, end: wire::End, keys: Keys) -> Smoltcp {
        self.try_stack(end, keys).await.unwrap()
    }

    /// A stack on this device, if it is to its liking. It counts under its key `ipv4`.
    pub async fn try_stack(&self, net: impl Net, keys: Keys) -> Result<Smoltcp, Error> {
        let name = keys.ipv4.clone().leak();
        let (w, counters) = (|| self.clone(), self.0.counters.clone());
        Smoltcp::new(net, w(), w(), w(), counters, name, keys).await
    }

    /// What the stack of [`fixed`] number `n` shows on a counter.
    pub fn count(&self, n: u8, counter: &str) -> u64 {
        self.count_of(&fixed(n).ipv4, counter)
    }

    /// How many things of this kind, `frames` for instance, it has dropped for this cause.
    pub fn dropped(&self, n: u8, things: &str, cause: &str) -> u64 {
        self.count(n, &format!("{things}_dropped_total{{cause=\"{cause}\"}}"))
    }

    /// What the stack with this key `ipv4` shows on a counter.
    pub fn count_of(&self, device: &str, counter: &str) -> u64 {
        let mut value = None;
        self.0.counters.each(|sample| {
            if (sample.device, sample.name) == (device, counter) {
                value = Some(sample.value);
            }
        });
        value.unwrap_or_else(|| panic!("{device} does not count {counter}"))
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        Instant::from_nanos(match self.0.real {
            Some(start) => start.elapsed().as_nanos() as u64,
            None => self.0.now.get(),
        })
    }
}

impl Sleep for World {
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<> + 'static {
        Nap {
            world: self.clone(),
            until: deadline.as_nanos(),
            key: None,
        }
    }
}

struct Nap {
    world: World,
    until: u64,
    key: Option<(u64, u64)>,
}

impl Future for Nap {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.now().as_nanos() >= self.until {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            let id = self.world.0.next.get();
            self.world.0.next.set(id + 1);
            (self.until, id)
        });
        self.key = Some(key);
        self.world
            .0
            .timers
            .borrow_mut()
            .insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.world.0.timers.borrow_mut().remove(&key);
        }
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut random = self.0.random.borrow_mut();
        buffer
            .iter_mut()
            .for_each(|byte| *byte = random.next() as u8);
        Ok(())
    }
}

impl Spawn for World {
    type Task<T: 'static> = Handle<T>;
    fn spawn<F: Future + 'static>(&self, future: F) -> Handle<F::Output> {
        let shared = Rc::new(RefCell::new((None, None::<Waker>)));
        let result = shared.clone();
        let id = self.start(async move {
            let output = future.await;
            let waker = {
                let mut result = result.borrow_mut();
                result.0 = Some(output);
                result.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        Handle {
            world: self.clone(),
            id,
            shared,
            detached: false,
        }
    }
}

/// A task of the world.
pub struct Handle<T> {
    world: World,
    id: u64,
    shared: Rc<RefCell<(Option<T>, Option<Waker>)>>,
    detached: bool,
}

impl<T: 'static> Task<T> for Handle<T> {
    fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for Handle<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut shared = self.shared.borrow_mut();
        match shared.0.take() {
            Some(output) => Poll::Ready(output),
            None => {
                shared.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if !self.detached {
            let job = self.world.0.jobs.borrow_mut().remove(&self.id);
            drop(job);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Keys with static addresses, for host number `n` of two test networks.
pub fn fixed(n: u8) -> Keys {
    Keys {
        ipv4: format!("10.0.0.{n}/24"),
        ipv6: format!("fd00::{n}/64"),
        ..Keys::default()
    }
}

/// Two stacks, 1 and 2, joined by a wire.
pub async fn pair(world: &World, options: wire::Options) -> (Smoltcp, Smoltcp) {
    let (a, b) = wire::wire(world, options);
    (
        world.stack(a, fixed(1)).await,
        world.stack(b, fixed(2)).await,
    )
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

//! A hierarchical timing wheel (Varghese and Lauck, SOSP 1987): timers are started and stopped
//! in constant time, however many there are.
//!
//! Level 0 has one slot a tick; each slot of a level spans all slots of the level below. A timer
//! stands in the level where its deadline first differs from the present, and moves down as the
//! present comes nearer. Ticks only sort the timers: each fires at its exact deadline.

use alloc::vec::Vec;
use core::task::Waker;

use mirage_device::Instant;

/// A tick is 2^14 ns, about 16 microseconds.
const TICK_BITS: u32 = 14;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 9 levels of 6 bits above the tick's 14 bits hold every 64-bit instant.
const LEVELS: usize = 9;
const NONE: u32 = u32::MAX;

/// A started timer; give it back to [`Wheel::stop`].
#[derive(Debug)]
pub(crate) struct Key(u32);

enum State {
    /// In the list of this slot.
    Armed { slot: u16 },
    /// Its time has come; the owner has not taken notice yet.
    Fired,
    /// Not in use; `next` is the next free entry.
    Free,
}

struct Entry {
    deadline: u64,
    waker: Option<Waker>,
    state: State,
    previous: u32,
    next: u32,
}

pub(crate) struct Wheel {
    /// The present tick: no armed timer's tick is before this one, unless it was armed late.
    elapsed: u64,
    entries: Vec<Entry>,
    free: u32,
    /// Timers that have not fired yet.
    armed: u64,
    heads: [u32; LEVELS * SLOTS],
    /// For each slot, a time no later than its first deadline: exact until a timer is stopped.
    earliest: [u64; LEVELS * SLOTS],
    /// For each level, a bit for every slot that is not empty.
    occupied: [u64; LEVELS],
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            elapsed: now.as_nanos() >> TICK_BITS,
            entries: Vec::new(),
            free: NONE,
            armed: 0,
            heads: [NONE; LEVELS * SLOTS],
            earliest: [u64::MAX; LEVELS * SLOTS],
            occupied: [0; LEVELS],
        }
    }

    /// Arms a timer that wakes `waker` at `deadline`.
    pub(crate) fn start(&mut self, deadline: Instant, waker: Waker) -> Key {
        let entry = Entry {
            deadline: deadline.as_nanos(),
            waker: Some(waker),
            state: State::Free,
            previous: NONE,
            next: NONE,
        };
        let index = if self.free == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            index
        };
        self.link(index);
        self.armed += 1;
        Key(index)
    }

    /// Whether the timer's time has come.
    pub(crate) fn fired(&self, key: &Key) -> bool {
        matches!(self.entries[key.0 as usize].state, State::Fired)
    }

    /// Wakes `waker` instead of the one before.
    pub(crate) fn rearm(&mut self, key: &Key, waker: &Waker) {
        match &mut self.entries[key.0 as usize].waker {
            Some(present) => present.clone_from(waker),
            absent => *absent = Some(waker.clone()),
        }
    }

    /// Forgets the timer, fired or not.
    pub(crate) fn stop(&mut self, key: Key) {
        if let State::Armed { slot } = self.entries[key.0 as usize].state {
            self.unlink(key.0, slot);
            self.armed -= 1;
        }
        let entry = &mut self.entries[key.0 as usize];
        entry.waker = None;
        entry.state = State::Free;
        entry.next = self.free;
        self.free = key.0;
    }

    /// How many timers wait for their time.
    pub(crate) fn armed(&self) -> u64 {
        self.armed
    }

    /// When [`Wheel::advance`] must be called next. After a timer was stopped it may then find
    /// nothing to fire.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (place, _) = self.first()?;
        Some(Instant::from_nanos(self.earliest[place]))
    }

    /// Fires every timer due at `now` and hands its waker to `wake`.
    pub(crate) fn advance(&mut self, now: Instant, mut wake: impl FnMut(Waker)) {
        let now = now.as_nanos();
        while let Some((place, tick)) = self.first() {
            if tick > now >> TICK_BITS {
                break;
            }
            self.elapsed = self.elapsed.max(tick);
            let mut index = self.clear(place);
            let mut kept = false;
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let next = entry.next;
                if entry.deadline <= now {
                    entry.state = State::Fired;
                    self.armed -= 1;
                    if let Some(waker) = entry.waker.take() {
                        wake(waker);
                    }
                } else {
                    // It moves to a lower level, or stays for later in the present tick.
                    kept |= self.link(index) == place;
                }
                index = next;
            }
            if kept {
                break;
            }
        }
        self.elapsed = self.elapsed.max(now >> TICK_BITS);
    }

    /// Empties a slot and returns the first entry of the list that was there.
    fn clear(&mut self, place: usize) -> u32 {
        self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        self.earliest[place] = u64::MAX;
        core::mem::replace(&mut self.heads[place], NONE)
    }

    /// The first slot that is not empty, and the tick at which it begins.
    fn first(&self) -> Option<(usize, u64)> {
        // A lower level's slots all come before a higher level's next slot.
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = SLOT_BITS * level as u32;
        let slot = self.occupied[level].trailing_zeros() as usize;
        // The bits above this level are those of the present; the top level has none above.
        let above = self.elapsed.checked_shr(shift + SLOT_BITS).unwrap_or(0);
        let base = above.checked_shl(shift + SLOT_BITS).unwrap_or(0);
        Some((level * SLOTS + slot, base | (slot as u64) << shift))
    }

    /// Puts an entry into the slot where it belongs, and returns that slot.
    fn link(&mut self, index: u32) -> usize {
        let deadline = self.entries[index as usize].deadline;
        // A deadline that has passed stands in the present slot and fires with the next advance.
        let tick = (deadline >> TICK_BITS).max(self.elapsed);
        let differing = tick ^ self.elapsed;
        let level = (63 - (differing | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS;
        let slot = (tick >> (SLOT_BITS * level)) as usize & (SLOTS - 1);
        let place = level as usize * SLOTS + slot;
        let head = core::mem::replace(&mut self.heads[place], index);
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.state = State::Armed { slot: place as u16 };
        entry.previous = NONE;
        entry.next = head;
        self.occupied[place / SLOTS] |= 1 << slot;
        self.earliest[place] = self.earliest[place].min(deadline);
        place
    }

    fn unlink(&mut self, index: u32, place: u16) {
        let (previous, next) = {
            let entry = &self.entries[index as usize];
            (entry.previous, entry.next)
        };
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        } else if next != NONE {
            self.heads[place as usize] = next;
        } else {
            self.clear(place as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use proptest::prelude::*;

    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counter() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        (counter.clone(), counter.into())
    }

    #[test]
    fn a_timer_fires_once_at_its_deadline_and_not_before() {
        let (count, waker) = counter();
        let mut wheel = Wheel::new(Instant::ZERO);
        let deadline = Instant::from_nanos(10_000_000);
        let key = wheel.start(deadline, waker);
        wheel.advance(Instant::from_nanos(9_999_999), Waker::wake);
        assert!(!wheel.fired(&key));
        assert_eq!(wheel.next(), Some(deadline));
        wheel.advance(deadline, Waker::wake);
        assert!(wheel.fired(&key));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        wheel.stop(key);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn the_end_of_time_can_be_waited_for() {
        let (_, waker) = counter();
        let mut wheel = Wheel::new(Instant::from_nanos(u64::MAX / 3));
        let key = wheel.start(Instant::MAX, waker);
        assert!(!wheel.fired(&key));
        assert_eq!(wheel.next(), Some(Instant::MAX));
    }

    proptest! {
        #[test]
        fn against_a_sorted_list(
            start in any::<u32>(),
            steps in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 36, any::<bool>()), 1..60),
        ) {
            let mut now = u64::from(start);
            let mut wheel = Wheel::new(Instant::from_nanos(now));
            let mut model: Vec<(u64, Key, Arc<Counter>)> = Vec::new();
            for (delay, step, stop) in steps {
                let (count, waker) = counter();
                let deadline = now + delay;
                let key = wheel.start(Instant::from_nanos(deadline), waker);
                model.push((deadline, key, count));
                if stop && model.len() > 2 {
                    let (_, key, _) = model.swap_remove(model.len() / 2);
                    wheel.stop(key);
                }
                now += step;
                wheel.advance(Instant::from_nanos(now), Waker::wake);
                for (deadline, key, count) in &model {
                    let due = *deadline <= now;
                    prop_assert_eq!(wheel.fired(key), due);
                    prop_assert_eq!(count.0.load(Ordering::Relaxed), usize::from(due));
                }
                // The next wake-up is never later than the first deadline.
                let first = model.iter().filter(|(_, k, _)| !wheel.fired(k)).map(|(d, ..)| *d).min();
                match (wheel.next(), first) {
                    (Some(next), Some(first)) => prop_assert!(next.as_nanos() <= first),
                    (next, first) => prop_assert_eq!(next.is_some(), first.is_some()),
                }
            }
        }
    }
}

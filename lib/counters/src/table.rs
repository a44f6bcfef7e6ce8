//! The writer's side.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::sync::atomic::Ordering;

use crate::layout::{
    COUNT, LEN, MAGIC, MAX_DEVICE, NAMES_LEN, REFUSED, SLOTS, Sample, VALUES, VERSION, fits,
    lengths,
};

#[cfg(not(all(loom, test)))]
use core::sync::atomic::AtomicU64;
#[cfg(all(loom, test))]
use loom::sync::atomic::AtomicU64;

/// A table of counters. A clone is another handle on the same.
///
/// The counters are its own. Where it was given memory, every change is written there as well
/// and nothing is ever read back: what others do to that memory changes nothing here.
#[derive(Clone)]
pub struct Table(Rc<Shared>);

struct Shared {
    values: [Cell<u64>; SLOTS],
    names: RefCell<Vec<(&'static str, &'static str)>>,
    refused: Cell<u64>,
    memory: Option<&'static [AtomicU64]>,
}

impl Shared {
    // Not inlined: an image is small before it is fast, and this is fast enough.
    #[inline(never)]
    fn add(&self, slot: u8, n: u64) {
        self.set(slot, self.get(slot).wrapping_add(n));
    }

    #[inline(never)]
    fn set(&self, slot: u8, value: u64) {
        if let Some(own) = self.values.get(usize::from(slot)) {
            own.set(value);
            self.show(VALUES + usize::from(slot), value);
        }
    }

    fn get(&self, slot: u8) -> u64 {
        self.values.get(usize::from(slot)).map_or(0, Cell::get)
    }

    /// Whoever sees this sees what was shown before: a slot that is counted is whole, and so is
    /// the head of a table that begins like one.
    fn show(&self, word: usize, value: u64) {
        if let Some(word) = self.memory.and_then(|memory| memory.get(word)) {
            word.store(value, Ordering::Release);
        }
    }

    /// Shows a slot's names, and then that it is in use.
    fn show_slot(&self, slot: usize, names: (&str, &str)) {
        if self.memory.is_some() {
            for (word, value) in (lengths(slot)..).zip(words_of(names)) {
                self.show(word, value);
            }
            self.show(COUNT, slot as u64 + 1);
        }
    }

    /// The slot of this name, an old or a new one; [`NOWHERE`] when there can be none.
    #[inline(never)]
    fn slot(&self, device: &'static str, counter: &'static str) -> u8 {
        let mut names = self.names.borrow_mut();
        let count = names.len();
        let same = |names: &(&str, &str)| *names == (device, counter);
        if let Some(slot) = names.iter().position(same) {
            return slot as u8;
        }
        if count >= SLOTS || !fits(device, counter) {
            self.refused.set(self.refused.get() + 1);
            self.show(REFUSED, self.refused.get());
            return NOWHERE;
        }
        names.push((device, counter));
        self.show_slot(count, (device, counter));
        count as u8
    }
}

/// The slot of counters that have none.
const NOWHERE: u8 = u8::MAX;
const _: () = assert!(SLOTS <= NOWHERE as usize);

/// The words of a slot's names.
fn words_of((device, counter): (&str, &str)) -> [u64; NAMES_LEN] {
    let mut words = [0; NAMES_LEN];
    let [lengths, texts @ ..] = &mut words;
    *lengths = device.len() as u64 | (counter.len() as u64) << 8;
    let (first, second) = texts.split_at_mut(MAX_DEVICE / 8);
    for (words, text) in [(first, device), (second, counter)] {
        for (word, bytes) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
            let bytes = bytes.iter().rev();
            *word = bytes.fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
    }
    words
}

impl Table {
    /// An empty table that is shown in `memory`, when there is any and it has [`LEN`] words.
    /// Returns at once. Nobody else writes to that memory.
    pub fn new(memory: Option<&'static [AtomicU64]>) -> Self {
        let shared = Shared {
            values: [const { Cell::new(0) }; SLOTS],
            names: RefCell::default(),
            refused: Cell::new(0),
            memory: memory.filter(|memory| memory.len() >= LEN),
        };
        for (word, value) in [(COUNT, 0), (REFUSED, 0), (1, VERSION), (0, MAGIC)] {
            shared.show(word, value);
        }
        Self(Rc::new(shared))
    }

    /// The counter of this name that `device` keeps, from zero on; the same one each time.
    ///
    /// Returns at once. A name that is not well-formed or too long, and one that finds the table
    /// full, gets a counter that counts nothing.
    pub fn counter(&self, device: &'static str, name: &'static str) -> Counter {
        Counter {
            shared: self.0.clone(),
            slot: self.0.slot(device, name),
        }
    }

    /// The counters of these names that `device` keeps, each as [`Table::counter`] has it.
    pub fn tally(&self, device: &'static str, names: &[&'static str]) -> Tally {
        let slots = names.iter().map(|name| self.0.slot(device, name));
        Tally {
            shared: self.0.clone(),
            slots: slots.collect(),
        }
    }

    /// Shows every counter, in the order in which they were first asked for, and then how many
    /// found no place, when there are any: `counters_refused_total` of the device `counters`.
    /// Returns at once.
    pub fn each(&self, mut visit: impl FnMut(Sample<'_>)) {
        for (slot, (device, name)) in self.0.names.borrow().iter().enumerate() {
            visit(Sample {
                device,
                name,
                value: self.0.get(slot as u8),
            });
        }
        refused(self.0.refused.get()).into_iter().for_each(visit);
    }

    /// The table as it is laid out in memory. Returns at once.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; LEN * 8];
        let mut set = |word: usize, value: u64| {
            if let Some(place) = bytes.get_mut(word * 8..word * 8 + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        };
        let names = self.0.names.borrow();
        set(0, MAGIC);
        set(1, VERSION);
        set(COUNT, names.len() as u64);
        set(REFUSED, self.0.refused.get());
        for (slot, (device, counter)) in names.iter().enumerate() {
            set(VALUES + slot, self.0.get(slot as u8));
            for (word, value) in (lengths(slot)..).zip(words_of((device, counter))) {
                set(word, value);
            }
        }
        bytes
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        self.each(|sample| {
            map.entry(&(sample.device, sample.name), &sample.value);
        });
        map.finish()
    }
}

/// How many counters found no place, as a counter.
pub(crate) fn refused(value: u64) -> Option<Sample<'static>> {
    (value > 0).then_some(Sample {
        device: "counters",
        name: "counters_refused_total",
        value,
    })
}

/// A number that others may look at. A clone is another handle on the same number.
///
/// Every method returns at once and never fails; a number that would leave its 64 bits wraps.
#[derive(Clone)]
pub struct Counter {
    shared: Rc<Shared>,
    slot: u8,
}

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.shared.add(self.slot, n);
    }

    /// Takes `n` off: for a gauge.
    pub fn sub(&self, n: u64) {
        self.shared.add(self.slot, n.wrapping_neg());
    }

    /// Sets the number: for a gauge.
    pub fn set(&self, value: u64) {
        self.shared.set(self.slot, value);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.shared.get(self.slot)
    }
}

/// The counters of a device that has many: each is known by its place in the list of names it
/// was made with. One that is not in the list counts nothing. As [`Counter`] otherwise.
#[derive(Clone)]
pub struct Tally {
    shared: Rc<Shared>,
    slots: Box<[u8]>,
}

impl Tally {
    /// Adds `n` to a counter.
    #[inline(never)]
    pub fn add(&self, which: usize, n: u64) {
        self.shared.add(self.slot(which), n);
    }

    /// Takes `n` off: for a gauge.
    pub fn sub(&self, which: usize, n: u64) {
        self.add(which, n.wrapping_neg());
    }

    /// Sets a number: for a gauge.
    pub fn set(&self, which: usize, value: u64) {
        self.shared.set(self.slot(which), value);
    }

    /// A number.
    pub fn get(&self, which: usize) -> u64 {
        self.shared.get(self.slot(which))
    }

    fn slot(&self, which: usize) -> u8 {
        self.slots.get(which).copied().unwrap_or(NOWHERE)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MAX_NAME;
    use alloc::format;
    use alloc::string::ToString;

    fn shown(table: &Table) -> Vec<(alloc::string::String, u64)> {
        let mut shown = Vec::new();
        table.each(|s| shown.push((format!("{} {}", s.device, s.name), s.value)));
        shown
    }

    #[test]
    fn the_same_names_are_the_same_counter_and_a_gauge_goes_both_ways() {
        let table = Table::new(None);
        let one = table.counter("net", "frames_total");
        let two = table.clone().counter("net", "frames_total");
        let other = table.counter("net2", "frames_total");
        one.add(5);
        two.add(1);
        let gauge = table.counter("runtime", "tasks");
        gauge.add(3);
        gauge.sub(1);
        assert_eq!(
            (one.get(), two.get(), other.get(), gauge.get()),
            (6, 6, 0, 2)
        );
        let expected = [
            ("net frames_total".to_string(), 6),
            ("net2 frames_total".to_string(), 0),
            ("runtime tasks".to_string(), 2),
        ];
        assert_eq!(shown(&table), expected);
    }

    #[test]
    fn a_table_that_is_full_says_what_it_does_not_count() {
        let table = Table::new(None);
        for n in 0..SLOTS {
            table
                .counter("d", format!("c{n}_total").leak())
                .add(n as u64);
        }
        let late = table.counter("d", "late_total");
        late.add(7);
        assert_eq!(late.get(), 0);
        let tally = table.tally("d", &["c154_total", "Not A Name"]);
        (0..3).for_each(|which| tally.add(which, 1));
        assert_eq!([0, 1, 2].map(|which| tally.get(which)), [155, 0, 0]);
        assert_eq!(table.counter("d", "c155_total").get(), 155);
        let shown = shown(&table);
        assert_eq!(shown.len(), SLOTS + 1);
        let last = ("counters counters_refused_total".to_string(), 2);
        assert_eq!(shown.last(), Some(&last));
    }

    #[test]
    fn memory_that_is_given_shows_the_table_and_is_never_read() {
        let memory: &'static [AtomicU64] = Box::leak((0..LEN).map(|_| AtomicU64::new(0)).collect());
        let table = Table::new(Some(memory));
        let counter = table.counter("d", "c_total");
        counter.add(4);
        table.counter("d", "Bad").add(1);
        let seen: Vec<u8> = memory
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        assert_eq!(seen, table.bytes());
        for word in memory {
            word.store(99, Ordering::Relaxed);
        }
        counter.add(1);
        assert_eq!(memory[8].load(Ordering::Relaxed), 5);
        assert_eq!(table.counter("d", "c_total").get(), 5);
        // Too little memory is left alone.
        Table::new(Some(&memory[1..])).counter("d", "c").add(1);
        assert_eq!(memory[9].load(Ordering::Relaxed), 99);
    }

    #[test]
    fn the_longest_names_are_kept_whole() {
        let table = Table::new(None);
        let (device, name) = (
            &*"d".repeat(MAX_DEVICE).leak(),
            &*"n".repeat(MAX_NAME).leak(),
        );
        table.counter(device, name).add(1);
        table.counter(device, name).add(1);
        assert_eq!(shown(&table), [(format!("{device} {name}"), 2)]);
    }
}

/// The table's memory is read by another process while it is written.
#[cfg(all(loom, test))]
mod model {
    use loom::thread;

    use super::*;

    fn memory() -> &'static [AtomicU64] {
        Box::leak((0..LEN).map(|_| AtomicU64::new(0)).collect())
    }

    #[test]
    fn a_table_that_begins_like_one_is_whole_and_so_is_a_slot_that_is_counted() {
        loom::model(|| {
            let memory = memory();
            let reader = thread::spawn(|| {
                let word = |place: usize| memory[place].load(Ordering::Acquire);
                if word(0) == MAGIC {
                    assert_eq!(word(1), VERSION);
                    if word(COUNT) == 1 {
                        let [both, name, ..] = words_of(("d", "c"));
                        assert_eq!((word(lengths(0)), word(lengths(0) + 1)), (both, name));
                    }
                }
            });
            Table::new(Some(memory)).counter("d", "c");
            reader.join().unwrap();
        });
    }
}

//! A disk that loses power: what was not flushed is there by the sector or not, in any mixture.

#![allow(dead_code)] // Each test uses its part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use irmin::raw::CommitData;
use irmin::{Backend, BackendError, Format, Id, Kind, Object};
use irmin_pack::Device;

const SECTOR: usize = 512;

/// A generator of numbers that a seed repeats (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

type Sector = [u8; SECTOR];

struct State {
    /// What a power cut cannot take.
    durable: Vec<u8>,
    /// For each sector that was written since, all its contents in turn.
    cached: BTreeMap<u64, Vec<Sector>>,
    writes: u64,
    flushes: u64,
    /// The write at which the power goes; some of its sectors arrive.
    cut_at: Option<u64>,
    off: bool,
    /// Writes that fail with a full disk, once some of their sectors arrived: one in so many.
    full_in: u64,
    dice: Dice,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub fn new(size: usize, seed: u64) -> Disk {
        Disk::of(vec![0xa5; size], seed)
    }

    fn of(durable: Vec<u8>, seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            durable,
            cached: BTreeMap::new(),
            writes: 0,
            flushes: 0,
            cut_at: None,
            off: false,
            full_in: 0,
            dice: Dice(seed),
        })))
    }

    /// Cuts the power at this write, counted from the first ever.
    pub fn cut_at(&self, write: u64) {
        self.0.lock().unwrap().cut_at = Some(write);
    }

    pub fn full_in(&self, writes: u64) {
        self.0.lock().unwrap().full_in = writes;
    }

    pub fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }

    /// How many sectors may be lost now.
    pub fn uncertain(&self) -> usize {
        self.0.lock().unwrap().cached.len()
    }

    /// A disk with what is left after a power cut: each uncertain sector old or any of its later
    /// contents, by dice.
    pub fn after_cut(&self, seed: u64) -> Disk {
        let mut dice = Dice(seed);
        // Now and then nearly all arrived, or nearly nothing did.
        let odds = [1, 2, 8, 64][dice.below(4) as usize];
        let kept = dice.below(2) == 0;
        self.left(seed, |versions| {
            let rare = dice.below(odds) == 0;
            match (rare, kept) {
                (true, _) => dice.below(versions + 1),
                (false, true) => versions,
                (false, false) => 0,
            }
        })
    }

    /// The same, with the last content of the sectors whose bits are set, and the old one of the rest.
    pub fn with_subset(&self, mut bits: u64) -> Disk {
        self.left(bits, |versions| {
            let there = bits & 1 == 1;
            bits >>= 1;
            if there { versions } else { 0 }
        })
    }

    fn left(&self, seed: u64, mut version: impl FnMut(u64) -> u64) -> Disk {
        let state = self.0.lock().unwrap();
        let mut durable = state.durable.clone();
        for (sector, versions) in &state.cached {
            let version = version(versions.len() as u64) as usize;
            if version > 0 {
                let at = *sector as usize * SECTOR;
                durable[at..at + SECTOR].copy_from_slice(&versions[version - 1]);
            }
        }
        Disk::of(durable, seed)
    }

    /// Where what was never written begins.
    pub fn end(&self) -> usize {
        let state = self.0.lock().unwrap();
        state
            .durable
            .iter()
            .rposition(|byte| *byte != 0xa5)
            .unwrap_or(0)
    }

    /// Changes bytes behind everybody's back.
    pub fn damage(&self, at: usize, with: impl FnOnce(&mut [u8])) {
        with(&mut self.0.lock().unwrap().durable[at..]);
    }
}

fn off() -> BackendError {
    BackendError::Io {
        what: "the power is off".into(),
        source: Arc::new(std::fmt::Error),
    }
}

impl Device for Disk {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().durable.len() as u64
    }

    fn sector(&self) -> usize {
        SECTOR
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        let state = self.0.lock().unwrap();
        assert!(offset.is_multiple_of(SECTOR as u64) && into.len().is_multiple_of(SECTOR));
        let from = offset as usize;
        into.copy_from_slice(&state.durable[from..from + into.len()]);
        let first = offset / SECTOR as u64;
        let end = first + (into.len() / SECTOR) as u64;
        for (sector, versions) in state.cached.range(first..end) {
            let at = (sector - first) as usize * SECTOR;
            into[at..at + SECTOR].copy_from_slice(versions.last().unwrap());
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let mut state = self.0.lock().unwrap();
        assert!(offset.is_multiple_of(SECTOR as u64) && bytes.len().is_multiple_of(SECTOR));
        assert!(offset as usize + bytes.len() <= state.durable.len());
        if state.off {
            return Err(off());
        }
        let write = state.writes;
        state.writes += 1;
        let cut = state.cut_at == Some(write);
        let full = state.full_in > 0 && {
            let odds = state.full_in;
            state.dice.below(odds) == 0
        };
        for (n, content) in bytes.chunks_exact(SECTOR).enumerate() {
            if (cut || full) && state.dice.below(2) == 0 {
                continue;
            }
            let sector = offset / SECTOR as u64 + n as u64;
            state
                .cached
                .entry(sector)
                .or_default()
                .push(content.try_into().unwrap());
        }
        if cut {
            state.off = true;
            return Err(off());
        }
        if full {
            return Err(BackendError::Full {
                what: "the disk says so".into(),
            });
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        let mut state = self.0.lock().unwrap();
        if state.off {
            return Err(off());
        }
        state.flushes += 1;
        for (sector, versions) in core::mem::take(&mut state.cached) {
            let at = sector as usize * SECTOR;
            state.durable[at..at + SECTOR].copy_from_slice(versions.last().unwrap());
        }
        Ok(())
    }
}

/// A commit of this tree and these parents.
pub fn commit(format: Format, tree: &Id, parents: &[Id], n: u64) -> Object {
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        text += &format!("parent {parent}\n");
    }
    text += &format!("author A <a@b> {n} +0000\ncommitter A <a@b> {n} +0000\n\n");
    Object::new(format, Kind::Commit, text.into_bytes()).unwrap()
}

/// Checks that the store's index of commits says what is known of the commits; how many are in it.
pub fn check_index(store: &dyn Backend, parents: &dyn Fn(&Id) -> Option<Vec<Id>>) -> u32 {
    let Some(index) = store.commit_index().unwrap() else {
        return 0;
    };
    let mut found = Vec::new();
    for row in 0..index.len() {
        let id = index.id(row).unwrap();
        assert_eq!(index.position(&id).unwrap(), Some(row));
        found.clear();
        index.parents(row, &mut found).unwrap();
        let generations = found.iter().map(|row| index.generation(*row).unwrap());
        let generation = generations.max().unwrap_or(0) + 1;
        assert_eq!(index.generation(row).unwrap(), generation);
        let ids: Vec<Id> = found.iter().map(|row| index.id(*row).unwrap()).collect();
        if let Some(parents) = parents(&id) {
            assert_eq!(ids, parents, "the parents of {id}");
        }
    }
    index.len()
}

/// The parents of a commit, if it is here.
pub fn parents(store: &dyn Backend, id: &Id) -> Option<Vec<Id>> {
    let object = store.read(id).unwrap()?;
    let links = CommitData::decode_links(store.format(), &object.data);
    Some(links.unwrap().1)
}

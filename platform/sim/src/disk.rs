//! Block devices whose contents outlive their machines, and lose what they are allowed to lose.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use mirage_device::platform::{BlockOperation, Ticket};
use mirage_device::{BlockError, BlockInfo};

use crate::dice::{self, Purpose, mix};
use crate::events::What;
use crate::kept::{Kind, check_name};
use crate::machine::State;
use crate::network::nanos;
use crate::world::{Inner, World};

const SECTOR: u32 = 512;

/// How a disk answers. A new one has [`Medium::default`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Medium {
    /// How long an operation takes; at least a nanosecond.
    pub latency: Duration,
    /// At most this is added for some operations: those started together end in any order.
    pub jitter: Duration,
    /// The share of operations, 0 to 1, that fail with [`BlockError::Io`].
    pub errors: f64,
    /// The most sectors that it can hold, when the host has promised more than it has: a write
    /// of others then fails with [`BlockError::NoSpace`].
    pub room: Option<usize>,
}

impl Default for Medium {
    /// 100 microseconds, up to 50 more, and nothing fails.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100),
            jitter: Duration::from_micros(50),
            errors: 0.0,
            room: None,
        }
    }
}

/// A block device that [`World::disk`] made. A clone is another handle.
///
/// What its machine writes is durable after a flush. Without one, a power cut
/// ([`Machine::cut`](crate::Machine::cut)) leaves each sector as it was or as any later write
/// made it: sectors of one write and writes of one moment fare differently.
#[derive(Clone)]
pub struct Disk {
    pub(crate) state: Rc<DiskState>,
}

pub(crate) struct DiskState {
    pub name: String,
    place: u64,
    info: Cell<BlockInfo>,
    can_discard: Cell<bool>,
    medium: Cell<Medium>,
    machine: RefCell<(Weak<State>, u8)>,
    content: RefCell<Content>,
}

type Sector = Rc<[u8]>;

#[derive(Default)]
struct Content {
    durable: BTreeMap<u64, Sector>,
    /// What reads see where it differs from what is durable.
    seen: BTreeMap<u64, Sector>,
    /// What was written and not flushed, in order.
    unflushed: Vec<Unflushed>,
    writes: u64,
    operations: BTreeMap<u64, Operation>,
    count: u64,
    cuts: u64,
}

struct Unflushed {
    number: u64,
    sector: u64,
    data: Sector,
}

struct Operation {
    work: Work,
    done: Option<Result<(), BlockError>>,
    /// Nobody waits for it any more.
    abandoned: bool,
}

enum Work {
    Read,
    Write(Vec<(u64, Sector)>),
    /// Makes durable what was written before the write of this number.
    Flush(u64),
}

impl Disk {
    /// Lets it be read only, for machines that are made later.
    #[must_use]
    pub fn read_only(self) -> Self {
        let mut info = self.state.info.get();
        info.writable = false;
        self.state.info.set(info);
        self
    }

    /// Sets the size of its sectors, 512 bytes at first; for a disk without content.
    ///
    /// # Panics
    ///
    /// When that is no power of two, or its size no multiple of it.
    #[must_use]
    pub fn sector(self, bytes: u32) -> Self {
        let mut info = self.state.info.get();
        assert!(
            bytes.is_power_of_two() && info.size.is_multiple_of(u64::from(bytes)),
            "disk `{}` of {} bytes cannot have sectors of {bytes}",
            self.state.name,
            info.size
        );
        info.sector = bytes;
        self.state.info.set(info);
        self
    }

    /// What its discarded sectors read as: zero (`Some(true)`, at first), anything
    /// (`Some(false)`), or it cannot discard (`None`).
    #[must_use]
    pub fn discards(self, zeroes: Option<bool>) -> Self {
        let mut info = self.state.info.get();
        info.discard_zeroes = zeroes == Some(true);
        self.state.info.set(info);
        self.state.can_discard.set(zeroes.is_some());
        self
    }

    /// Changes how it answers, from the next operation on.
    pub fn set_medium(&self, medium: Medium) {
        self.state.medium.set(medium);
    }

    /// How it answers now.
    pub fn medium(&self) -> Medium {
        self.state.medium.get()
    }

    /// What a machine would read now.
    ///
    /// # Panics
    ///
    /// When the range is not inside the disk, or is not whole sectors.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        self.state.check(offset, len);
        let mut bytes = vec![0; len];
        self.state.copy(offset, &mut [&mut bytes]);
        bytes
    }

    /// Stores bytes durably, as if they had always been there.
    ///
    /// # Panics
    ///
    /// When the range is not inside the disk, or is not whole sectors.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.state.check(offset, bytes.len());
        let sectors = self.state.sectors(offset, &[bytes]);
        let mut content = self.state.content.borrow_mut();
        for (sector, data) in sectors {
            content.seen.remove(&sector);
            content.durable.insert(sector, data);
        }
    }

    /// What would be lost with a power cut now: how many writes of sectors are not durable.
    pub fn unflushed(&self) -> usize {
        self.state.content.borrow().unflushed.len()
    }
}

impl DiskState {
    pub fn new(name: &str, size: u64) -> Self {
        Self {
            name: name.to_owned(),
            place: dice::place(name),
            info: Cell::new(BlockInfo::new(size, SECTOR, true, true)),
            can_discard: Cell::new(true),
            medium: Cell::default(),
            machine: RefCell::default(),
            content: RefCell::default(),
        }
    }

    pub fn attach(&self, machine: &Rc<State>, device: u8) {
        let owner = self.machine.borrow().0.upgrade();
        if let Some(owner) = owner.filter(|owner| owner.on.get() && !Rc::ptr_eq(owner, machine)) {
            panic!(
                "disk `{}` is in use by the machine `{}`; stop that first",
                self.name, owner.name
            );
        }
        *self.machine.borrow_mut() = (Rc::downgrade(machine), device);
    }

    pub fn info(&self) -> BlockInfo {
        self.info.get()
    }

    fn check(&self, offset: u64, len: usize) {
        if let Err(error) = self.info.get().check(offset, len as u64) {
            panic!("disk `{}`: {error}", self.name);
        }
    }

    fn sectors(&self, offset: u64, buffers: &[&[u8]]) -> Vec<(u64, Sector)> {
        let len = self.info.get().sector as usize;
        let first = offset / len as u64;
        let joined;
        let bytes = match buffers {
            [one] => *one,
            _ => {
                joined = buffers.concat();
                &joined[..]
            }
        };
        let numbered = (first..).zip(bytes.chunks_exact(len));
        numbered.map(|(n, bytes)| (n, bytes.into())).collect()
    }

    /// Fills the buffers with what reads see.
    fn copy(&self, offset: u64, buffers: &mut [&mut [u8]]) {
        let content = self.content.borrow();
        let len = u64::from(self.info.get().sector);
        let mut at = offset;
        for buffer in buffers {
            let mut rest = &mut buffer[..];
            while !rest.is_empty() {
                let inside = (at % len) as usize;
                let count = (len as usize - inside).min(rest.len());
                let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
                let sector = at / len;
                let seen = content.seen.get(&sector);
                match seen.or_else(|| content.durable.get(&sector)) {
                    Some(data) => now.copy_from_slice(&data[inside..inside + count]),
                    None => now.fill(0),
                }
                at += count as u64;
                rest = later;
            }
        }
    }

    /// Starts an operation, or asks after it.
    pub fn operate(
        self: &Rc<Self>,
        world: &Inner,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        if ticket.0 == 0 {
            return match self.start(world, operation) {
                Ok(number) => {
                    ticket.0 = number;
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        let mut content = self.content.borrow_mut();
        let operations = &mut content.operations;
        let Some(result) = operations.get(&ticket.0).map(|started| started.done) else {
            panic!("disk `{}` knows no ticket {}", self.name, ticket.0);
        };
        let Some(result) = result else {
            return Poll::Pending;
        };
        operations.remove(&ticket.0);
        drop(content);
        if let BlockOperation::Read(offset, buffers) = operation {
            match result {
                Ok(()) => self.copy(offset, buffers),
                // Whatever came before the error.
                Err(_) => buffers.iter_mut().for_each(|buffer| buffer.fill(0xdd)),
            }
        }
        Poll::Ready(result)
    }

    fn start(
        self: &Rc<Self>,
        world: &Inner,
        operation: BlockOperation<'_, '_>,
    ) -> Result<u64, BlockError> {
        let info = self.info.get();
        let work = match operation {
            BlockOperation::Read(..) => Work::Read,
            BlockOperation::Flush => Work::Flush(self.content.borrow().writes),
            _ if !info.writable => return Err(BlockError::ReadOnly),
            BlockOperation::Write(offset, buffers) => Work::Write(self.sectors(offset, buffers)),
            BlockOperation::Discard(..) if !self.can_discard.get() => {
                return Err(BlockError::Unsupported);
            }
            BlockOperation::Discard(offset, len) => Work::Write(self.discarded(world, offset, len)),
        };
        let medium = self.medium.get();
        let mut content = self.content.borrow_mut();
        content.count += 1;
        let number = content.count;
        content.operations.insert(
            number,
            Operation {
                work,
                done: None,
                abandoned: false,
            },
        );
        drop(content);
        let jitter = nanos(medium.jitter);
        let share = if jitter > 0 { 1.0 } else { 0.0 };
        let place = || self.name.clone();
        let mut at = world.now.get().saturating_add(nanos(medium.latency).max(1));
        if world.mishap(Kind::Slow, share, self.place, number, place) {
            let delay = world.dice.below(Purpose::Delay, self.place, number, jitter);
            at = at.saturating_add(world.ease(delay));
        }
        world.schedule(at, What::Block(self.clone(), number));
        Ok(number)
    }

    /// What sectors hold once they are discarded.
    fn discarded(&self, world: &Inner, offset: u64, len: u64) -> Vec<(u64, Sector)> {
        let info = self.info.get();
        let size = info.sector as usize;
        let first = offset / u64::from(info.sector);
        let zero: Sector = vec![0; size].into();
        let content = self.content.borrow();
        let sectors = first..first + len / u64::from(info.sector);
        let held = sectors.map(|sector| {
            let old = content.seen.get(&sector);
            let old = old.or_else(|| content.durable.get(&sector));
            let roll = world.dice.roll(Purpose::Discarded, self.place, sector);
            let data = match roll % 3 {
                _ if info.discard_zeroes => zero.clone(),
                0 => old.unwrap_or(&zero).clone(),
                1 => zero.clone(),
                _ => vec![mix(roll) as u8; size].into(),
            };
            (sector, data)
        });
        held.collect()
    }

    /// The time of an operation has come.
    pub fn complete(&self, world: &Inner, number: u64) {
        let medium = self.medium.get();
        let mut content = self.content.borrow_mut();
        let Some(operation) = content.operations.get_mut(&number) else {
            return;
        };
        let work = std::mem::replace(&mut operation.work, Work::Read);
        let abandoned = operation.abandoned;
        let place = || self.name.clone();
        let failed = world.mishap(Kind::Failed, medium.errors, self.place, number, place);
        let mut result = if failed { Err(BlockError::Io) } else { Ok(()) };
        match work {
            Work::Read => {}
            Work::Write(sectors) => {
                if result.is_ok() && !content.fits(&sectors, medium.room) {
                    result = Err(BlockError::NoSpace);
                }
                let whole = result.is_ok() && !self.is_torn(world, abandoned, number);
                for (sector, data) in sectors {
                    let roll = world.dice.roll(Purpose::Torn, self.place ^ number, sector);
                    let fits = content.fits(&[(sector, data.clone())], medium.room);
                    if whole || (fits && roll & 1 == 0) {
                        content.write(sector, data);
                    }
                }
            }
            // What a flush that failed does to each write, nobody knows: some are durable, and
            // of the others no later flush will speak.
            Work::Flush(before) => {
                let survives = |number: u64| {
                    let roll = world.dice.roll(Purpose::Survives, self.place, number);
                    !failed || roll & 1 == 0
                };
                content.flush(before, survives);
            }
        }
        if abandoned {
            content.operations.remove(&number);
            return;
        }
        if let Some(operation) = content.operations.get_mut(&number) {
            operation.done = Some(result);
        }
        drop(content);
        world.note(self.place, &number.to_le_bytes());
        let (machine, device) = &*self.machine.borrow();
        if let Some(machine) = machine.upgrade() {
            world.report(&machine, 1 << device, 0);
        }
    }

    /// Whether an operation that nobody waits for is carried out in part only.
    fn is_torn(&self, world: &Inner, abandoned: bool, number: u64) -> bool {
        let roll = world.dice.roll(Purpose::Abandoned, self.place, number);
        abandoned && roll & 1 == 0
    }

    /// Nobody waits for this operation any more; it may still be carried out.
    pub fn abandon(&self, number: u64) {
        let mut content = self.content.borrow_mut();
        match content.operations.get_mut(&number) {
            Some(operation) if operation.done.is_none() => operation.abandoned = true,
            _ => drop(content.operations.remove(&number)),
        }
    }

    /// The machine has ended; what it wrote stays.
    pub fn release(&self) {
        let mut content = self.content.borrow_mut();
        content
            .operations
            .retain(|_, operation| operation.done.is_none());
        for operation in content.operations.values_mut() {
            operation.abandoned = true;
        }
    }

    /// The power is gone: what is not durable is lost, or not.
    pub fn cut(&self, world: &Inner) {
        let mut content = self.content.borrow_mut();
        for (number, operation) in std::mem::take(&mut content.operations) {
            let Work::Write(sectors) = operation.work else {
                continue;
            };
            for (sector, data) in sectors {
                let roll = world.dice.roll(Purpose::Torn, self.place ^ number, sector);
                if operation.done.is_none() && roll & 1 == 0 {
                    content.write(sector, data);
                }
            }
        }
        content.cuts += 1;
        let mode = world.dice.roll(Purpose::Cut, self.place, content.cuts) % 4;
        let survives = |number: u64| match mode {
            0 => false,
            1 => true,
            _ => world.dice.roll(Purpose::Survives, self.place, number) & 1 == 0,
        };
        content.flush(u64::MAX, survives);
        content.seen.clear();
    }
}

impl Content {
    /// Whether the sectors can be stored where there is room for so many.
    fn fits(&self, sectors: &[(u64, Sector)], room: Option<usize>) -> bool {
        let Some(room) = room else { return true };
        let mut held: BTreeSet<u64> = self
            .durable
            .keys()
            .chain(self.seen.keys())
            .copied()
            .collect();
        held.extend(sectors.iter().map(|(sector, _)| *sector));
        held.len() <= room
    }

    fn write(&mut self, sector: u64, data: Sector) {
        self.seen.insert(sector, data.clone());
        self.unflushed.push(Unflushed {
            number: self.writes,
            sector,
            data,
        });
        self.writes += 1;
    }

    /// Makes durable what was written before the write of this number, if it survives.
    fn flush(&mut self, before: u64, survives: impl Fn(u64) -> bool) {
        let count = self
            .unflushed
            .partition_point(|write| write.number < before);
        for write in self.unflushed.drain(..count) {
            if !survives(write.number) {
                continue;
            }
            let newest = self.seen.get(&write.sector);
            if newest.is_some_and(|newest| Rc::ptr_eq(newest, &write.data)) {
                self.seen.remove(&write.sector);
            }
            self.durable.insert(write.sector, write.data);
        }
    }
}

impl World {
    /// Makes a disk of this many bytes, all zero, in sectors of 512. Returns at once.
    ///
    /// # Panics
    ///
    /// When there is one of that name, when the name has white space or a `'` in it, or when the
    /// size is no multiple of 512.
    pub fn disk(&self, name: &str, size: u64) -> Disk {
        check_name(name);
        assert!(
            size.is_multiple_of(u64::from(SECTOR)),
            "disk `{name}`: {size} bytes are no multiple of {SECTOR}"
        );
        let mut disks = self.inner().disks.borrow_mut();
        let taken = disks.iter().any(|disk| disk.name == name);
        assert!(!taken, "there is a disk `{name}` already");
        let state = Rc::new(DiskState::new(name, size));
        disks.push(state.clone());
        drop(disks);
        Disk { state }
    }
}

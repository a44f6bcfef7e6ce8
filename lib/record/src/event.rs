use core::fmt;

use crate::tape::Tape;
use crate::wire::{LONGEST, Line, number};

/// What an event is: one call of the platform boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// The monotonic clock was asked.
    Now = 1,
    /// The wall clock was asked.
    Wall,
    /// Random bytes were asked for.
    Entropy,
    /// Bytes went to the console.
    Console,
    /// A frame was asked for.
    Receive,
    /// A frame was given.
    Send,
    /// A block operation: reading.
    Read,
    /// Writing.
    Write,
    /// Making durable.
    Flush,
    /// Giving up.
    Discard,
    /// A pending block operation was forgotten.
    Abandon,
    /// It waited.
    Wait,
    /// It ended.
    Exit,
    /// An argument of its command line, before everything else.
    Argument,
    /// A device, after the arguments.
    Device,
}

const KINDS: [Kind; 15] = [
    Kind::Now,
    Kind::Wall,
    Kind::Entropy,
    Kind::Console,
    Kind::Receive,
    Kind::Send,
    Kind::Read,
    Kind::Write,
    Kind::Flush,
    Kind::Discard,
    Kind::Abandon,
    Kind::Wait,
    Kind::Exit,
    Kind::Argument,
    Kind::Device,
];

// The fields a kind has, and those that the program decides: they must be the same in replay.
const DEVICE: u16 = 1;
const OFFSET: u16 = 2;
const LEN: u16 = 4;
const CHECKSUM: u16 = 8;
const PAYLOAD: u16 = 16;
const SAME_OFFSET: u16 = 32;
const SAME_LEN: u16 = 64;

/// By the kind's number.
const FIELDS: [u16; 16] = [
    0,
    OFFSET,
    OFFSET | LEN,
    LEN | PAYLOAD | SAME_LEN,
    LEN | CHECKSUM | SAME_LEN,
    DEVICE | LEN | PAYLOAD,
    DEVICE | LEN | CHECKSUM | SAME_LEN,
    DEVICE | OFFSET | LEN | PAYLOAD | SAME_OFFSET | SAME_LEN,
    DEVICE | OFFSET | LEN | CHECKSUM | SAME_OFFSET | SAME_LEN,
    DEVICE,
    DEVICE | OFFSET | LEN | SAME_OFFSET | SAME_LEN,
    DEVICE,
    OFFSET | LEN,
    OFFSET | SAME_OFFSET,
    LEN | PAYLOAD,
    DEVICE | LEN | PAYLOAD,
];

impl Kind {
    fn fields(self) -> u16 {
        FIELDS.get(self as usize).copied().unwrap_or(0)
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        KINDS.get(usize::from(bits & 15).checked_sub(1)?).copied()
    }
}

/// One event. Which fields mean something depends on the kind, see [`format`](crate::format).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// The platform's answer.
    pub code: u8,
    /// The device.
    pub device: u8,
    /// An offset, a time, a set of devices or a status.
    pub offset: u64,
    /// A length, or a set of devices.
    pub len: u64,
    /// The checksum of what the program gave.
    pub checksum: u32,
    /// Where in the file the payload begins.
    pub payload: usize,
}

impl Event {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            code: 0,
            device: 0,
            offset: 0,
            len: 0,
            checksum: 0,
            payload: 0,
        }
    }

    /// Writes what stands before the payload.
    pub(crate) fn write(&self, line: &mut Line) {
        let fields = self.kind.fields();
        line.byte(self.kind as u8 | self.code << 4);
        if fields & DEVICE != 0 {
            line.byte(self.device);
        }
        if fields & OFFSET != 0 {
            line.number(self.offset);
        }
        if fields & LEN != 0 {
            line.number(self.len);
        }
        if fields & CHECKSUM != 0 {
            for byte in self.checksum.to_le_bytes() {
                line.byte(byte);
            }
        }
    }

    /// Reads an event of a tape, and where the next one begins. `None` when it is none, or not
    /// whole before `end`.
    pub(crate) fn read<T: Tape + ?Sized>(tape: &T, at: usize, end: usize) -> Option<(Self, usize)> {
        let mut line = [0; LONGEST];
        let line = line.get_mut(..end.checked_sub(at)?.min(LONGEST))?;
        tape.read(at, line);
        let mut bytes = line.iter().copied();
        let mut event = Self::parse(&mut bytes)?;
        event.payload = at + (line.len() - bytes.len());
        let has_payload = event.kind.fields() & PAYLOAD != 0 && event.code < 2;
        let payload = if has_payload { event.len } else { 0 };
        let next = event.payload.checked_add(usize::try_from(payload).ok()?)?;
        (next <= end).then_some((event, next))
    }

    fn parse(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let first = bytes.next()?;
        let mut event = Self::new(Kind::from_bits(first)?);
        let fields = event.kind.fields();
        event.code = first >> 4;
        if fields & DEVICE != 0 {
            event.device = bytes.next()?;
        }
        if fields & OFFSET != 0 {
            event.offset = number(bytes)?;
        }
        if fields & LEN != 0 {
            event.len = number(bytes)?;
        }
        if fields & CHECKSUM != 0 {
            for shift in [0, 8, 16, 24] {
                event.checksum |= u32::from(bytes.next()?) << shift;
            }
        }
        Some(event)
    }

    /// Whether the program, doing `self`, does what it did when `recorded` was written.
    pub(crate) fn agrees(&self, recorded: &Self) -> bool {
        let fields = self.kind.fields();
        let same = |field, ours: u64, theirs: u64| fields & field == 0 || ours == theirs;
        self.kind == recorded.kind
            && same(DEVICE, self.device.into(), recorded.device.into())
            && same(SAME_OFFSET, self.offset, recorded.offset)
            && same(SAME_LEN, self.len, recorded.len)
            && same(CHECKSUM, self.checksum.into(), recorded.checksum.into())
            // A frame must fit the buffer it is wanted in.
            && (self.kind != Kind::Receive || recorded.code > 1 || recorded.len <= self.len)
    }
}

impl fmt::Display for Event {
    /// What the program does: `it sends a frame of 60 bytes on device 0 (checksum 1234abcd)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            offset,
            len,
            checksum,
            ..
        } = *self;
        match self.kind {
            Kind::Now => f.write_str("it asks the clock"),
            Kind::Wall => f.write_str("it asks the wall clock"),
            Kind::Entropy => write!(f, "it asks for {len} random bytes"),
            Kind::Console => {
                write!(
                    f,
                    "it writes {len} bytes to the console (checksum {checksum:08x})"
                )
            }
            Kind::Receive => write!(f, "it asks device {device} for a frame"),
            Kind::Send => write!(
                f,
                "it sends a frame of {len} bytes on device {device} (checksum {checksum:08x})"
            ),
            Kind::Read => write!(f, "it reads {len} bytes at {offset} of device {device}"),
            Kind::Write => write!(
                f,
                "it writes {len} bytes at {offset} of device {device} (checksum {checksum:08x})"
            ),
            Kind::Flush => write!(f, "it flushes device {device}"),
            Kind::Discard => write!(f, "it discards {len} bytes at {offset} of device {device}"),
            Kind::Abandon => write!(f, "it forgets an operation of device {device}"),
            Kind::Wait => f.write_str("it waits"),
            Kind::Exit => write!(f, "it ends with status {offset}"),
            Kind::Argument | Kind::Device => f.write_str("it begins"),
        }
    }
}

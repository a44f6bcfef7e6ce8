use core::fmt;

use crate::event::{Event, Kind};
use crate::format::OUTCOME;
use crate::tape::Tape;

/// How a recording or a replay ended, as the unikernel itself has left it on the tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did not end by itself: it runs still, or was ended, or crashed.
    Open,
    /// It ended with this status.
    Exited(u8),
    /// Recording stopped at this event: the tape takes no more.
    Full {
        /// The event's number.
        event: u64,
    },
    /// Recording stopped at this event: the state of the program has so many bytes, too many for
    /// a checkpoint.
    TooLarge {
        /// The event's number.
        event: u64,
        /// The state's length in bytes.
        state: u64,
    },
    /// Replay has come to the end of the recording, before this event.
    UsedUp {
        /// The event's number.
        event: u64,
        /// What the program does next.
        call: Event,
    },
    /// Replay does something else than the recording.
    Diverged {
        /// The event's number.
        event: u64,
        /// What the program does.
        call: Event,
        /// What it did when it was recorded.
        recorded: Option<Event>,
    },
    /// The recording is not one, from this event on.
    Corrupt {
        /// The event's number.
        event: u64,
    },
}

// The kinds on the tape.
pub(crate) const EXITED: u64 = 1;
pub(crate) const FULL: u64 = 2;
pub(crate) const TOO_LARGE: u64 = 3;
pub(crate) const USED_UP: u64 = 4;
pub(crate) const DIVERGED: u64 = 5;
pub(crate) const CORRUPT: u64 = 6;

/// Leaves an outcome on the tape.
pub(crate) fn write<T: Tape + ?Sized>(tape: &T, kind: u64, number: u64, at: usize, call: &Event) {
    let words = [
        number,
        at as u64,
        u64::from(call.kind as u8) | u64::from(call.device) << 8,
        call.offset,
        call.len,
        call.checksum.into(),
    ];
    for (place, word) in (OUTCOME + 8..).step_by(8).zip(words) {
        tape.set_word(place, word);
    }
    tape.set_word(OUTCOME, kind);
}

impl Outcome {
    /// Reads what is on the tape.
    pub fn read<T: Tape + ?Sized>(tape: &T) -> Self {
        let word = |number: usize| tape.word(OUTCOME + 8 * number);
        let event = word(1);
        let kind = Kind::from_bits(word(3) as u8).unwrap_or(Kind::Argument);
        let mut call = Event::new(kind);
        call.device = (word(3) >> 8) as u8;
        call.offset = word(4);
        call.len = word(5);
        call.checksum = word(6) as u32;
        match word(0) {
            0 => Self::Open,
            EXITED => Self::Exited(call.offset as u8),
            FULL => Self::Full { event },
            TOO_LARGE => Self::TooLarge {
                event,
                state: call.len,
            },
            USED_UP => Self::UsedUp { event, call },
            DIVERGED => {
                let at = usize::try_from(word(2)).unwrap_or(usize::MAX);
                let recorded = Event::read(tape, at, tape.len()).map(|(event, _)| event);
                Self::Diverged {
                    event,
                    call,
                    recorded,
                }
            }
            _ => Self::Corrupt { event },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("it did not end by itself"),
            Self::Exited(status) => write!(f, "it ended with status {status}"),
            Self::Full { event } => write!(
                f,
                "the recording ends at event {event}: it is full, and this platform takes no \
                 checkpoints, or the event is larger than a segment; record with more space"
            ),
            Self::TooLarge { event, state } => write!(
                f,
                "the recording ends at event {event}: the unikernel uses {state} bytes, too many \
                 for a checkpoint; record with more space"
            ),
            Self::UsedUp { event, .. } => write!(f, "the recording ends at event {event}"),
            Self::Diverged {
                event,
                call,
                recorded: Some(recorded),
            } => write!(
                f,
                "the run diverges from the recording at event {event}: in the recording \
                 {recorded}, now {call}"
            ),
            Self::Diverged { event, call, .. } => write!(
                f,
                "the run diverges from the recording at event {event}: now {call}"
            ),
            Self::Corrupt { event } => {
                write!(f, "the recording is damaged at event {event}")
            }
        }
    }
}

//! A door that repeats.

use alloc::vec::Vec;

use mirage_device::Platform;

use super::codes::NOTHING;
use super::{Door, Mode};
use crate::begin::{self, Begin, Device};
use crate::event::{Event, Kind};
use crate::format::{EVENTS, EVENTS_END};
use crate::outcome::{self, CORRUPT, DIVERGED, USED_UP};
use crate::tape::{Tape, number, resumes_at};

/// The status with which a replay ends that cannot go on; the tape says why.
const CANNOT_GO_ON: u8 = 123;

/// Replay.
impl<P: Platform, T: Tape> Door<P, T> {
    pub(super) fn start_replay(&mut self) {
        self.enter();
        let begins = self.tape.as_ref().is_some_and(|t| resumes_at(t).is_none());
        self.begin = begins.then(|| self.read_begin()).flatten();
        if self.begin.is_none() {
            self.fail(CORRUPT, &Event::new(Kind::Argument));
        }
    }

    pub(super) fn read_begin(&self) -> Option<Begin> {
        let tape = self.tape.as_ref()?;
        let next = |event: &Event| {
            let event = self.answer(event);
            (event.code < NOTHING).then_some((event.payload, event.len as usize))
        };
        let mut begin = Begin {
            arguments: Vec::new(),
            devices: Vec::new(),
        };
        let mut event = Event::new(Kind::Argument);
        while let Some((at, len)) = next(&event) {
            begin.arguments.push(begin::text(tape, at, len)?);
        }
        event.kind = Kind::Device;
        while let Some((at, len)) = next(&event) {
            begin.devices.push(Device::read(tape, at, len)?);
            event.device = begin.devices.len() as u8;
        }
        Some(begin)
    }

    /// Goes on with the first event of the copy that is repeated.
    pub(super) fn enter(&self) {
        self.mode.set(Mode::Replay);
        if let Some(tape) = &self.tape {
            self.at.set(number(tape, EVENTS));
            self.end.set(number(tape, EVENTS_END).min(tape.len()));
        }
    }

    pub(super) fn replaying(&self) -> bool {
        self.mode.get() == Mode::Replay
    }

    /// The recorded answer to what the program does. Where there is none, the program ends.
    pub(super) fn answer(&self, call: &Event) -> Event {
        let Some(tape) = &self.tape else {
            self.fail(CORRUPT, call);
        };
        let at = self.at.get();
        if at >= self.end.get() {
            self.fail(USED_UP, call);
        }
        match Event::read(tape, at, self.end.get()) {
            None => self.fail(CORRUPT, call),
            Some((recorded, _)) if !call.agrees(&recorded) => self.fail(DIVERGED, call),
            Some((recorded, next)) => {
                self.at.set(next);
                self.events.set(self.events.get() + 1);
                recorded
            }
        }
    }

    #[cold]
    pub(super) fn fail(&self, kind: u64, call: &Event) -> ! {
        if let Some(tape) = &self.tape {
            outcome::write(tape, kind, self.events.get(), self.at.get(), call);
            tape.pause();
        }
        self.platform.exit(CANNOT_GO_ON)
    }

    pub(super) fn payload(&self, event: &Event, buffer: &mut [u8]) {
        if let Some(tape) = &self.tape {
            tape.read(event.payload, buffer);
        }
    }
}

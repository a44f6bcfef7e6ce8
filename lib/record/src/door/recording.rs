//! A door that records.

use mirage_device::Platform;
use mirage_device::platform::DeviceId;

use super::codes::NOTHING;
use super::{Door, Mode};
use crate::begin::describe;
use crate::event::{Event, Kind};
use crate::format::{SEGMENT_HEAD, number_at};
use crate::outcome::{self, FULL, TOO_LARGE};
use crate::tape::{Checkpoint, Tape, place};
use crate::wire::{LONGEST, Line};

/// Recording.
impl<P: Platform, T: Tape> Door<P, T> {
    pub(super) fn start_recording(&mut self) {
        self.mode.set(Mode::Record);
        if !self.next_segment() {
            return;
        }
        let first = self.at.get();
        let mut event = Event::new(Kind::Argument);
        for argument in self.platform.arguments() {
            event.len = argument.len() as u64;
            if self.recording(argument.len()) {
                self.record(&event, argument.as_bytes());
            }
        }
        self.record_end(event);
        event.kind = Kind::Device;
        for entry in self.platform.devices() {
            let info = describe(&self.platform, DeviceId(event.device), entry.kind);
            let len = info.len() + entry.name.len();
            event.len = len as u64;
            if self.recording(len) {
                self.put(&event);
                self.bytes(&info);
                self.record_bytes(entry.name.as_bytes());
            }
            event.device += 1;
        }
        self.record_end(event);
        if self.mode.get() == Mode::Record {
            // Read in the same way as in replay, so that both use memory in the same way.
            self.at.set(first);
            self.events.set(0);
            self.mode.set(Mode::Replay);
            self.begin = self.read_begin();
            self.mode.set(Mode::Record);
        }
    }

    /// Records that there is no more of a kind.
    pub(super) fn record_end(&self, mut event: Event) {
        (event.code, event.len) = (NOTHING, 0);
        if self.recording(0) {
            self.record(&event, &[]);
        }
    }

    /// Whether this call is recorded: there is room for its event with so many bytes of payload.
    ///
    /// When the segment has none, the next one begins here, with the state of the program as it
    /// is now. The replay that begins with that state comes out of this function, too.
    pub(super) fn recording(&self, payload: usize) -> bool {
        if self.mode.get() != Mode::Record {
            return false;
        }
        let fits = |door: &Self| {
            let left = door.end.get().saturating_sub(door.at.get());
            payload.checked_add(LONGEST).is_some_and(|len| len <= left)
        };
        if fits(self) {
            return true;
        }
        if self.next_segment() && !fits(self) {
            self.stop(FULL, 0);
        }
        self.mode.get() == Mode::Record
    }

    /// Begins the next segment. Whether recording goes on in it.
    #[cold]
    pub(super) fn next_segment(&self) -> bool {
        let Some(tape) = &self.tape else {
            return false;
        };
        let number = self.segment.get() + 1;
        // The first one in place 0.
        let index = (number as usize & 1) ^ 1;
        let (start, len) = place(tape, index);
        let end = start.saturating_add(len);
        let checkpoint = start.saturating_add(SEGMENT_HEAD);
        let room = len.saturating_sub(SEGMENT_HEAD);
        let mut saved = 0;
        if number > 1 && self.begin.is_none() {
            // What comes first of all is read back from one segment.
            self.stop(FULL, 0);
            return false;
        }
        if number > 1 {
            // Until it is whole again, there is only the other one.
            let before = tape.word(number_at(index));
            tape.set_word(number_at(index), 0);
            // A segment that is little but its checkpoint would make a recording of nothing else.
            match tape.checkpoint(checkpoint, room / 4 * 3) {
                Checkpoint::Saved(len) => saved = len,
                Checkpoint::TooLarge(state) => {
                    tape.set_word(number_at(index), before);
                    self.stop(TOO_LARGE, state);
                    return false;
                }
                Checkpoint::Unsupported => {
                    self.stop(FULL, 0);
                    return false;
                }
                Checkpoint::Resumed => {
                    self.enter();
                    return false;
                }
            }
        }
        if end > tape.len() || saved > room {
            self.stop(FULL, 0);
            return false;
        }
        let words = [number, self.events.get(), saved as u64, self.clock.get()];
        for (word, at) in words.iter().zip((start..).step_by(8)) {
            tape.set_word(at, *word);
        }
        self.segment.set(number);
        self.start.set(start);
        self.at.set(checkpoint + saved);
        self.end.set(end);
        self.commit();
        tape.set_word(number_at(index), number);
        true
    }

    /// Ends the recording, not the program.
    pub(super) fn stop(&self, kind: u64, state: usize) {
        self.mode.set(Mode::Live);
        if let Some(tape) = &self.tape {
            let mut event = Event::new(Kind::Argument);
            event.len = state as u64;
            outcome::write(tape, kind, self.events.get(), self.at.get(), &event);
        }
    }

    /// Writes what stands before an event's payload.
    pub(super) fn put(&self, event: &Event) {
        let mut line = Line::new();
        event.write(&mut line);
        self.bytes(line.as_bytes());
        self.events.set(self.events.get() + 1);
    }

    /// Writes a part of an event's payload.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        if let Some(tape) = &self.tape {
            tape.write(self.at.get(), bytes);
        }
        self.at.set(self.at.get() + bytes.len());
    }

    /// What was written counts from now on.
    #[inline(never)]
    pub(super) fn commit(&self) {
        let Some(tape) = &self.tape else { return };
        let index = (self.segment.get() as usize & 1) ^ 1;
        let used = self.at.get().saturating_sub(self.start.get());
        tape.set_word(number_at(index) + 8, used as u64);
    }

    pub(super) fn record(&self, event: &Event, payload: &[u8]) {
        self.put(event);
        self.record_bytes(payload);
    }

    /// Writes the last part of an event's payload: the event counts from now on.
    pub(super) fn record_bytes(&self, bytes: &[u8]) {
        self.bytes(bytes);
        self.commit();
    }
}

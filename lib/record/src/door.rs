mod calls;
mod codes;
mod recording;
mod replay;

use core::cell::Cell;
use core::sync::atomic::AtomicU64;
use core::task::Poll;
use core::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, Platform, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Received, Transmit,
};

use crate::begin::{Begin, Device, Info};
use crate::event::{Event, Kind};
use crate::format::{MODE, RECORD};
use crate::outcome::{self, CORRUPT, EXITED, Outcome};
use crate::tape::{Tape, is_replay};
use crate::wire::Checksum;
use codes::NOTHING;

/// A platform whose answers are recorded, or come from a recording, or neither.
///
/// Each method is as [`Platform`] has it. In replay nothing is asked of the platform inside but
/// to write to the console and to end.
pub struct Door<P, T> {
    platform: P,
    tape: Option<T>,
    /// What the platform says once and for all, as it stands on the tape.
    begin: Option<Begin>,
    mode: Cell<Mode>,
    /// The segment's number.
    segment: Cell<u64>,
    /// Where on the tape it begins.
    start: Cell<usize>,
    /// Where on the tape the next event is.
    at: Cell<usize>,
    /// Where the segment ends.
    end: Cell<usize>,
    /// How many events came before.
    events: Cell<u64>,
    /// What the clock showed last.
    clock: Cell<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Record,
    Replay,
}

impl<P: Platform, T: Tape> Door<P, T> {
    /// Records on the tape or repeats what is on it, as the tape says; neither without one.
    ///
    /// Returns at once. A recording that cannot be repeated ends the program: the tape's
    /// [`Outcome`] says why.
    pub fn new(platform: P, tape: Option<T>) -> Self {
        let mut door = Self {
            platform,
            tape,
            begin: None,
            mode: Cell::new(Mode::Live),
            segment: Cell::new(0),
            start: Cell::new(0),
            at: Cell::new(0),
            end: Cell::new(0),
            events: Cell::new(0),
            clock: Cell::new(0),
        };
        match &door.tape {
            None => {}
            Some(tape) if is_replay(tape) => door.start_replay(),
            Some(tape) if tape.word(MODE) == RECORD => door.start_recording(),
            Some(_) => door.fail(CORRUPT, &Event::new(Kind::Argument)),
        }
        door
    }

    /// The platform inside.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The tape.
    pub fn tape(&self) -> Option<&T> {
        self.tape.as_ref()
    }

    /// How the recording or replay ended, as far as it has.
    pub fn outcome(&self) -> Outcome {
        self.tape().map_or(Outcome::Open, Outcome::read)
    }

    fn device(&self, device: DeviceId) -> Option<&Device> {
        self.begin.as_ref()?.devices.get(usize::from(device.0))
    }
}

impl<P: Platform, T: Tape + 'static> Platform for Door<P, T> {
    fn now(&self) -> Instant {
        match self.live() {
            true => self.platform.now(),
            false => self.taped_now(),
        }
    }

    fn wall(&self) -> Option<Duration> {
        let mut event = Event::new(Kind::Wall);
        if self.recording(0) {
            let wall = self.platform.wall();
            match wall {
                Some(time) => {
                    event.offset = time.as_secs();
                    event.len = time.subsec_nanos().into();
                }
                None => event.code = NOTHING,
            }
            self.record(&event, &[]);
            wall
        } else if self.replaying() {
            let event = self.answer(&event);
            let nanos = (event.len % 1_000_000_000) as u32;
            (event.code == 0).then(|| Duration::new(event.offset, nanos))
        } else {
            self.platform.wall()
        }
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut event = Event::new(Kind::Entropy);
        event.len = buffer.len() as u64;
        if self.recording(buffer.len()) {
            let result = self.platform.entropy(buffer);
            event.code = match result {
                Ok(()) => 0,
                Err(EntropyError::NotReady) => 3,
                Err(_) => 4,
            };
            let given: &[u8] = if result.is_ok() { buffer } else { &[] };
            self.record(&event, given);
            result
        } else if self.replaying() {
            let event = self.answer(&event);
            match event.code {
                0 | 1 => {
                    self.payload(&event, buffer);
                    Ok(())
                }
                3 => Err(EntropyError::NotReady),
                _ => Err(EntropyError::NoSource),
            }
        } else {
            self.platform.entropy(buffer)
        }
    }

    fn console(&self, bytes: &[u8]) {
        // In replay, too, somebody wants to see it: above all what is said where a recording ends.
        self.platform.console(bytes);
        if !self.live() {
            let mut event = Event::new(Kind::Console);
            event.len = bytes.len() as u64;
            event.checksum = Checksum::of(bytes);
            self.taped_plain(&event);
        }
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        let begin = self.begin.as_ref();
        let taped = begin.into_iter().flat_map(|begin| &begin.arguments);
        let live = begin.is_none().then(|| self.platform.arguments());
        taped
            .map(|argument| argument.as_str())
            .chain(live.into_iter().flatten())
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        let begin = self.begin.as_ref();
        let taped = begin.into_iter().flat_map(|begin| &begin.devices);
        let live = begin.is_none().then(|| self.platform.devices());
        taped.map(Device::entry).chain(live.into_iter().flatten())
    }

    fn net_info(&self, device: DeviceId) -> NetInfo {
        match self.device(device).map(|device| device.info) {
            Some(Info::Net(info)) => info,
            _ => self.platform.net_info(device),
        }
    }

    fn net_receive(
        &self,
        device: DeviceId,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, NetError> {
        match self.live() {
            true => self.platform.net_receive(device, buffer),
            false => self.taped_receive(device, buffer),
        }
    }

    fn net_send(&self, device: DeviceId, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        match self.live() {
            true => self.platform.net_send(device, frame, transmit),
            false => self.taped_send(device, frame, transmit),
        }
    }

    fn block_info(&self, device: DeviceId) -> BlockInfo {
        match self.device(device).map(|device| device.info) {
            Some(Info::Block(info)) => info,
            _ => self.platform.block_info(device),
        }
    }

    fn block(
        &self,
        device: DeviceId,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        match self.live() {
            true => self.platform.block(device, ticket, operation),
            false => self.taped_block(device, ticket, operation),
        }
    }

    fn block_abandon(&self, device: DeviceId, ticket: Ticket) {
        let mut event = Event::new(Kind::Abandon);
        event.device = device.0;
        if self.taped_plain(&event) {
            self.platform.block_abandon(device, ticket);
        }
    }

    fn counters(&self) -> Option<&'static [AtomicU64]> {
        self.platform.counters()
    }

    fn wait(&self, deadline: Option<Instant>) -> Ready {
        match self.live() {
            true => self.platform.wait(deadline),
            false => self.taped_wait(deadline),
        }
    }

    fn exit(&self, status: u8) -> ! {
        if !self.live() {
            let mut event = Event::new(Kind::Exit);
            event.offset = status.into();
            self.taped_plain(&event);
            if let Some(tape) = self.tape.as_ref().filter(|_| !self.live()) {
                outcome::write(tape, EXITED, self.events.get(), self.at.get(), &event);
            }
        }
        self.platform.exit(status)
    }
}

#[cfg(test)]
impl<P: Platform, T: Tape> Door<P, T> {
    /// Resumes with the state that a checkpoint would have: that of this door.
    pub(crate) fn resume_of_test(&self, (events, clock): (u64, u64)) -> bool {
        self.events.set(events);
        self.clock.set(clock);
        !self.next_segment() && self.replaying()
    }
}

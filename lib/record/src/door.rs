use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::AtomicU64;
use core::task::Poll;
use core::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, Platform, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, ChecksumStart, EntropyError, Instant, NetError, NetInfo, Received,
    Transmit,
};

use crate::begin::{self, Begin, Device, Info, describe};
use crate::event::{Event, Kind};
use crate::format::{EVENTS, EVENTS_END, MODE, RECORD, SEGMENT_HEAD, number_at};
use crate::outcome::{self, CORRUPT, DIVERGED, EXITED, FULL, Outcome, TOO_LARGE, USED_UP};
use crate::tape::{Checkpoint, Tape, is_replay, number, place, resumes_at};
use crate::wire::{Checksum, LONGEST, Line};

/// The status with which a replay ends that cannot go on; the tape says why.
const CANNOT_GO_ON: u8 = 123;

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
    /// The clock as it was asked last in this segment.
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

/// Recording.
impl<P: Platform, T: Tape> Door<P, T> {
    fn start_recording(&mut self) {
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
    fn record_end(&self, mut event: Event) {
        (event.code, event.len) = (NOTHING, 0);
        if self.recording(0) {
            self.record(&event, &[]);
        }
    }

    /// Whether this call is recorded: there is room for its event with so many bytes of payload.
    ///
    /// When the segment has none, the next one begins here, with the state of the program as it
    /// is now. The replay that begins with that state comes out of this function, too.
    fn recording(&self, payload: usize) -> bool {
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
    fn next_segment(&self) -> bool {
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
    fn stop(&self, kind: u64, state: usize) {
        self.mode.set(Mode::Live);
        if let Some(tape) = &self.tape {
            let mut event = Event::new(Kind::Argument);
            event.len = state as u64;
            outcome::write(tape, kind, self.events.get(), self.at.get(), &event);
        }
    }

    /// Writes what stands before an event's payload.
    fn put(&self, event: &Event) {
        let mut line = Line::new();
        event.write(&mut line);
        self.bytes(line.as_bytes());
        self.events.set(self.events.get() + 1);
    }

    /// Writes a part of an event's payload.
    fn bytes(&self, bytes: &[u8]) {
        if let Some(tape) = &self.tape {
            tape.write(self.at.get(), bytes);
        }
        self.at.set(self.at.get() + bytes.len());
    }

    /// What was written counts from now on.
    #[inline(never)]
    fn commit(&self) {
        let Some(tape) = &self.tape else { return };
        let index = (self.segment.get() as usize & 1) ^ 1;
        let used = self.at.get().saturating_sub(self.start.get());
        tape.set_word(number_at(index) + 8, used as u64);
    }

    fn record(&self, event: &Event, payload: &[u8]) {
        self.put(event);
        self.record_bytes(payload);
    }

    /// Writes the last part of an event's payload: the event counts from now on.
    fn record_bytes(&self, bytes: &[u8]) {
        self.bytes(bytes);
        self.commit();
    }
}

/// Replay.
impl<P: Platform, T: Tape> Door<P, T> {
    fn start_replay(&mut self) {
        self.enter();
        let begins = self.tape.as_ref().is_some_and(|t| resumes_at(t).is_none());
        self.begin = begins.then(|| self.read_begin()).flatten();
        if self.begin.is_none() {
            self.fail(CORRUPT, &Event::new(Kind::Argument));
        }
    }

    fn read_begin(&self) -> Option<Begin> {
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
    fn enter(&self) {
        self.mode.set(Mode::Replay);
        if let Some(tape) = &self.tape {
            self.at.set(number(tape, EVENTS));
            self.end.set(number(tape, EVENTS_END).min(tape.len()));
        }
    }

    fn replaying(&self) -> bool {
        self.mode.get() == Mode::Replay
    }

    /// The recorded answer to what the program does. Where there is none, the program ends.
    fn answer(&self, call: &Event) -> Event {
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
    fn fail(&self, kind: u64, call: &Event) -> ! {
        if let Some(tape) = &self.tape {
            outcome::write(tape, kind, self.events.get(), self.at.get(), call);
            tape.pause();
        }
        self.platform.exit(CANNOT_GO_ON)
    }

    fn payload(&self, event: &Event, buffer: &mut [u8]) {
        if let Some(tape) = &self.tape {
            tape.read(event.payload, buffer);
        }
    }
}

/// The calls. Each does the same in three ways: it records the platform's answer; it takes the
/// recorded one; or neither. The first is asked first, as it may turn out to be another.
impl<P: Platform, T: Tape> Door<P, T> {
    #[cold]
    #[inline(never)]
    fn taped_now(&self) -> Instant {
        let mut event = Event::new(Kind::Now);
        if self.recording(0) {
            let now = self.platform.now();
            event.offset = now.as_nanos().wrapping_sub(self.clock.get());
            self.clock.set(now.as_nanos());
            self.record(&event, &[]);
            now
        } else if self.replaying() {
            let since = self.answer(&event).offset;
            self.clock.set(self.clock.get().wrapping_add(since));
            Instant::from_nanos(self.clock.get())
        } else {
            self.platform.now()
        }
    }

    #[cold]
    #[inline(never)]
    fn taped_wait(&self, deadline: Option<Instant>) -> Ready {
        let mut event = Event::new(Kind::Wait);
        if self.recording(0) {
            let ready = self.platform.wait(deadline);
            (event.offset, event.len) = (ready.input, ready.output);
            self.record(&event, &[]);
            ready
        } else if self.replaying() {
            let event = self.answer(&event);
            Ready {
                input: event.offset,
                output: event.len,
            }
        } else {
            self.platform.wait(deadline)
        }
    }

    #[cold]
    #[inline(never)]
    fn taped_receive(
        &self,
        device: DeviceId,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, NetError> {
        let mut event = Event::new(Kind::Receive);
        event.device = device.0;
        if self.recording(buffer.len()) {
            let received = self.platform.net_receive(device, buffer);
            let mut len = 0;
            event.code = match received {
                Ok(Some(received)) => {
                    len = received.len;
                    u8::from(received.checksum_valid)
                }
                Ok(None) => NOTHING,
                Err(error) => net_code(error),
            };
            event.len = len as u64;
            self.record(&event, buffer.get(..len).unwrap_or_default());
            received
        } else if self.replaying() {
            event.len = buffer.len() as u64;
            let event = self.answer(&event);
            match event.code {
                0 | 1 => {
                    let len = event.len as usize;
                    self.payload(&event, buffer.get_mut(..len).unwrap_or_default());
                    Ok(Some(Received::new(len, event.code == 1)))
                }
                NOTHING => Ok(None),
                code => Err(net_error(code)),
            }
        } else {
            self.platform.net_receive(device, buffer)
        }
    }

    #[cold]
    #[inline(never)]
    fn taped_send(
        &self,
        device: DeviceId,
        frame: &[u8],
        transmit: Transmit,
    ) -> Result<(), NetError> {
        let mut event = Event::new(Kind::Send);
        event.device = device.0;
        event.len = frame.len() as u64;
        let mut checksum = Checksum::new();
        checksum.add(frame);
        let mut offload = 0;
        if let Some(ChecksumStart { start, offset }) = transmit.checksum {
            offload = 1 << 63 | u64::from(start) << 16 | u64::from(offset);
        }
        if let Some(part) = transmit.segmentation {
            let kind = 2 | u64::from(part.ipv6);
            let lens = u64::from(part.header_len) << 16 | u64::from(part.segment_size);
            checksum.add(&(kind << 32 | lens).to_le_bytes());
        }
        checksum.add(&offload.to_le_bytes());
        event.checksum = checksum.finish();
        if self.recording(0) {
            let sent = self.platform.net_send(device, frame, transmit);
            event.code = sent.err().map_or(0, net_code);
            self.record(&event, &[]);
            sent
        } else if self.replaying() {
            match self.answer(&event).code {
                0 => Ok(()),
                code => Err(net_error(code)),
            }
        } else {
            self.platform.net_send(device, frame, transmit)
        }
    }

    #[cold]
    #[inline(never)]
    fn taped_block(
        &self,
        device: DeviceId,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        let mut event = Event::new(Kind::Flush);
        event.device = device.0;
        let mut payload = 0;
        match &operation {
            BlockOperation::Read(offset, buffers) => {
                event.kind = Kind::Read;
                payload = buffers.iter().map(|buffer| buffer.len()).sum();
                (event.offset, event.len) = (*offset, payload as u64);
            }
            BlockOperation::Write(offset, buffers) => {
                event.kind = Kind::Write;
                let mut checksum = Checksum::new();
                event.offset = *offset;
                for buffer in *buffers {
                    event.len += buffer.len() as u64;
                    checksum.add(buffer);
                }
                event.checksum = checksum.finish();
            }
            BlockOperation::Flush => {}
            BlockOperation::Discard(offset, len) => {
                event.kind = Kind::Discard;
                (event.offset, event.len) = (*offset, *len);
            }
        }
        if self.recording(payload) {
            // The operation is needed once more, for what was read.
            let (result, read): (_, &mut [&mut [u8]]) = match operation {
                BlockOperation::Read(offset, buffers) => {
                    let operation = BlockOperation::Read(offset, &mut *buffers);
                    (self.platform.block(device, ticket, operation), buffers)
                }
                other => (self.platform.block(device, ticket, other), &mut []),
            };
            event.code = match result {
                Poll::Ready(Ok(())) => 0,
                Poll::Pending => NOTHING,
                Poll::Ready(Err(error)) => block_code(error),
            };
            self.put(&event);
            if event.code == 0 {
                read.iter().for_each(|buffer| self.bytes(buffer));
            }
            self.commit();
            result
        } else if self.replaying() {
            let event = self.answer(&event);
            match event.code {
                0 | 1 => {
                    if let BlockOperation::Read(_, buffers) = operation {
                        let mut part = event;
                        for buffer in buffers {
                            self.payload(&part, buffer);
                            part.payload += buffer.len();
                        }
                    }
                    Poll::Ready(Ok(()))
                }
                NOTHING => Poll::Pending,
                code => Poll::Ready(Err(block_error(code))),
            }
        } else {
            self.platform.block(device, ticket, operation)
        }
    }

    /// An event that is all there is to say. Whether the platform is to be asked.
    fn taped_plain(&self, event: &Event) -> bool {
        if self.recording(0) {
            self.record(event, &[]);
        } else if self.replaying() {
            self.answer(event);
            return false;
        }
        true
    }

    fn live(&self) -> bool {
        self.mode.get() == Mode::Live
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

/// The code of an answer that is none: no frame, no wall clock, still pending.
const NOTHING: u8 = 2;

fn net_code(error: NetError) -> u8 {
    match error {
        NetError::Full => 3,
        NetError::TooLong => 4,
        _ => 5,
    }
}

fn net_error(code: u8) -> NetError {
    match code {
        3 => NetError::Full,
        4 => NetError::TooLong,
        _ => NetError::Gone,
    }
}

fn block_code(error: BlockError) -> u8 {
    match error {
        BlockError::Misaligned => 3,
        BlockError::OutOfRange => 4,
        BlockError::ReadOnly => 5,
        BlockError::Unsupported => 6,
        BlockError::NoSpace => 7,
        _ => 8,
    }
}

fn block_error(code: u8) -> BlockError {
    match code {
        3 => BlockError::Misaligned,
        4 => BlockError::OutOfRange,
        5 => BlockError::ReadOnly,
        6 => BlockError::Unsupported,
        7 => BlockError::NoSpace,
        _ => BlockError::Io,
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

//! The calls that are made often, or carry data.

use core::task::Poll;

use mirage_device::platform::{BlockOperation, DeviceId, Ready, Ticket};
use mirage_device::{BlockError, ChecksumStart, Instant, NetError, Platform, Received, Transmit};

use super::codes::{NOTHING, block_code, block_error, net_code, net_error};
use super::{Door, Mode};
use crate::event::{Event, Kind};
use crate::tape::Tape;
use crate::wire::Checksum;

/// Each does the same in three ways: it records the platform's answer; it takes the
/// recorded one; or neither. The first is asked first, as it may turn out to be another.
impl<P: Platform, T: Tape> Door<P, T> {
    #[cold]
    #[inline(never)]
    pub(super) fn taped_now(&self) -> Instant {
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
    pub(super) fn taped_wait(&self, deadline: Option<Instant>) -> Ready {
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
    pub(super) fn taped_receive(
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
    pub(super) fn taped_send(
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
    pub(super) fn taped_block(
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
    pub(super) fn taped_plain(&self, event: &Event) -> bool {
        if self.recording(0) {
            self.record(event, &[]);
        } else if self.replaying() {
            self.answer(event);
            return false;
        }
        true
    }

    pub(super) fn live(&self) -> bool {
        self.mode.get() == Mode::Live
    }
}

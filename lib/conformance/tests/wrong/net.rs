//! Wrong network devices.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use mirage_conformance::net;
use mirage_device::{Net, NetError, NetInfo, Received, Transmit};

use crate::rigs::{End, caught, run, wire};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Waits without leaving a waker behind.
    LostWakeUp,
    /// The same for room.
    LostRoom,
    /// Cuts a frame that does not fit, and says nothing.
    CutsFrames,
    /// Keeps each second frame back until the next one has left.
    Reorders,
    /// Says `Full` and takes the frame all the same.
    FullTakes,
    /// Hands over four bytes more.
    CheckSequence,
}

struct Wrong {
    end: End,
    fault: Fault,
    kept: RefCell<Option<Vec<u8>>>,
    sent: Cell<u32>,
}

impl Net for Wrong {
    fn info(&self) -> NetInfo {
        let mut info = self.end.info();
        info.max_frame += 4;
        info
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let mut whole = [0; 1600];
        let Some(received) = self.end.receive(&mut whole)? else {
            return Ok(None);
        };
        let mut len = received.len;
        match self.fault {
            Fault::CutsFrames => len = len.min(buffer.len()),
            Fault::CheckSequence => len += 4,
            _ => {}
        }
        buffer
            .get_mut(..len)
            .ok_or(NetError::TooLong)?
            .copy_from_slice(&whole[..len]);
        Ok(Some(Received::new(len, false)))
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.sent.set(self.sent.get() + 1);
        match self.fault {
            Fault::Reorders if self.sent.get() > 4 => {
                let kept = self.kept.take();
                if self.sent.get().is_multiple_of(2) && kept.is_none() {
                    self.kept.replace(Some(frame.to_vec()));
                    return Ok(());
                }
                self.end.send(frame, transmit)?;
                kept.map_or(Ok(()), |kept| self.end.send(&kept, transmit))
            }
            Fault::FullTakes if self.sent.get().is_multiple_of(50) => {
                self.end.send(frame, transmit)?;
                Err(NetError::Full)
            }
            _ => self.end.send(frame, transmit),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.fault {
            Fault::LostWakeUp => self
                .end
                .poll_readable(&mut Context::from_waker(Waker::noop())),
            _ => self.end.poll_readable(cx),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.fault {
            Fault::LostRoom => self
                .end
                .poll_writable(&mut Context::from_waker(Waker::noop())),
            _ => self.end.poll_writable(cx),
        }
    }
}

#[test]
fn a_network_device_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::LostWakeUp, net::READABLE),
        (Fault::LostRoom, net::WRITABLE),
        (Fault::CutsFrames, net::NO_PIECES),
        (Fault::Reorders, net::IN_ORDER),
        (Fault::FullTakes, net::FULL),
        (Fault::CheckSequence, net::RECEIVES),
    ] {
        let report = run(async |s| {
            let (end, far) = wire();
            let wrong = Wrong {
                end,
                fault,
                kept: RefCell::default(),
                sent: Cell::default(),
            };
            net::check(&wrong, &far, &s).await
        });
        caught(&report, sentence);
    }
}

/// Says once that it is gone.
struct ComesBack(Cell<bool>);

impl Net for ComesBack {
    fn info(&self) -> NetInfo {
        NetInfo::plain([2, 0, 0, 0, 0, 1], 1500)
    }

    fn receive(&self, _: &mut [u8]) -> Result<Option<Received>, NetError> {
        if self.0.replace(true) {
            Ok(None)
        } else {
            Err(NetError::Gone)
        }
    }

    fn send(&self, _: &[u8], _: Transmit) -> Result<(), NetError> {
        Err(NetError::Gone)
    }

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn a_network_device_that_comes_back() {
    let report = run(async |s| net::after_unplug(&ComesBack(Cell::new(false)), &s).await);
    caught(&report, net::RECEIVE_FINAL);
}

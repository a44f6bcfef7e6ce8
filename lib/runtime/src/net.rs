use core::cell::Cell;
use core::task::{Context, Poll};

use mirage_device::platform::{DeviceId, DeviceKind};
use mirage_device::{NetError, NetInfo, Platform, Received, Tally, Transmit};

use crate::devices::find;
use crate::readiness::Direction;
use crate::{MissingDevice, Runtime};

/// One of the platform's network devices.
pub struct Net<P> {
    runtime: Runtime<P>,
    device: DeviceId,
    /// The device had no frame, and no later one has been reported: there is nothing to ask it.
    drained: Cell<bool>,
    tally: Tally,
}

const FRAMES_RECEIVED: usize = 0;
const BYTES_RECEIVED: usize = 1;
const TOO_LONG: usize = 2;
const FRAMES_SENT: usize = 3;
const BYTES_SENT: usize = 4;
const FULL: usize = 5;
const UNSENDABLE: usize = 6;
const NAMES: [&str; 7] = [
    "frames_received_total",
    "bytes_received_total",
    "frames_dropped_total{cause=\"too_long\"}",
    "frames_sent_total",
    "bytes_sent_total",
    "frames_refused_total{cause=\"full\"}",
    "frames_refused_total{cause=\"too_long\"}",
];

impl<P: Platform> Net<P> {
    /// The network device that was given under this name. Returns at once.
    pub fn new(runtime: Runtime<P>, name: &'static str) -> Result<Self, MissingDevice> {
        let device = find(&runtime, name, DeviceKind::Net)?;
        let drained = Cell::new(false);
        let tally = runtime.0.counters.table.tally(name, &NAMES);
        Ok(Self {
            runtime,
            device,
            drained,
            tally,
        })
    }
}

impl<P: Platform> mirage_device::Net for Net<P> {
    fn info(&self) -> NetInfo {
        self.runtime.platform().net_info(self.device)
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let readiness = &self.runtime.0.readiness;
        if self.drained.get() && !readiness.borrow().edge(self.device, Direction::Input) {
            return Ok(None);
        }
        let received = self.runtime.platform().net_receive(self.device, buffer);
        match received {
            Ok(Some(Received { len, .. })) => {
                self.tally.add(FRAMES_RECEIVED, 1);
                self.tally.add(BYTES_RECEIVED, len as u64);
            }
            Err(NetError::TooLong) => self.tally.add(TOO_LONG, 1),
            _ => {}
        }
        self.drained.set(received == Ok(None));
        if self.drained.get() {
            // What was reported until now has been received: only a later edge counts.
            readiness.borrow_mut().forget(self.device, Direction::Input);
        }
        received
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        let sent = self
            .runtime
            .platform()
            .net_send(self.device, frame, transmit);
        match sent {
            Ok(()) => {
                self.tally.add(FRAMES_SENT, 1);
                self.tally.add(BYTES_SENT, frame.len() as u64);
            }
            Err(NetError::Full) => self.tally.add(FULL, 1),
            Err(NetError::TooLong) => self.tally.add(UNSENDABLE, 1),
            Err(_) => {}
        }
        sent
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut readiness = self.runtime.0.readiness.borrow_mut();
        let poll = readiness.poll(self.device, Direction::Input, cx);
        if poll.is_ready() {
            self.drained.set(false);
        }
        poll
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.runtime
            .0
            .readiness
            .borrow_mut()
            .poll(self.device, Direction::Output, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Simple;
    use core::task::Waker;
    use mirage_device::{Instant, Net as _};
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Arrive,
        Report,
        Receive,
        Poll,
    }

    proptest! {
        #[test]
        fn a_drained_device_is_asked_nothing_and_what_was_reported_is_never_missed(
            steps in proptest::collection::vec(
                prop_oneof![Just(Step::Arrive), Just(Step::Report), Just(Step::Receive), Just(Step::Poll)],
                0..60,
            ),
        ) {
            let runtime = Runtime::new(Simple::default());
            let net = Net::new(runtime.clone(), "net").unwrap();
            let mut buffer = [0; 64];
            // Frames that are there to be received, and those among them that a report has told of.
            let (mut number, mut waiting, mut told) = (0_u8, 0, 0);
            // Something arrived since the last report; a report told so; `None` was heard since.
            let (mut arrived, mut edge, mut drained) = (false, false, false);
            for step in steps {
                match step {
                    Step::Arrive => {
                        number += 1;
                        (waiting, arrived) = (waiting + 1, true);
                        net.send(&[number; 20], Transmit::default()).unwrap();
                    }
                    Step::Report => {
                        runtime.resume(Some(Instant::ZERO));
                        edge |= core::mem::take(&mut arrived);
                        told = waiting;
                    }
                    Step::Receive => {
                        let before = runtime.platform().asked.get();
                        let received = net.receive(&mut buffer).unwrap();
                        let asked = runtime.platform().asked.get() - before;
                        prop_assert_eq!(asked, usize::from(!drained || edge));
                        if received.is_some() {
                            prop_assert_eq!(buffer[0], number + 1 - waiting);
                            waiting -= 1;
                            told = told.min(waiting);
                            drained = false;
                        } else {
                            prop_assert_eq!(told, 0, "a frame was missed");
                            (edge, drained) = (false, true);
                        }
                    }
                    Step::Poll => {
                        let context = &mut Context::from_waker(Waker::noop());
                        let ready = net.poll_readable(context).is_ready();
                        prop_assert_eq!(ready, core::mem::take(&mut edge));
                        prop_assert!(ready || told == 0 || !drained, "nobody would be woken");
                        drained &= !ready;
                    }
                }
            }
        }
    }
}

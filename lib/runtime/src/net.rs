use core::cell::Cell;
use core::task::{Context, Poll};

use mirage_device::platform::{DeviceId, DeviceKind};
use mirage_device::{NetError, NetInfo, Platform, Received, Transmit};

use crate::devices::find;
use crate::readiness::Direction;
use crate::{MissingDevice, Runtime};

/// One of the platform's network devices.
pub struct Net<P> {
    runtime: Runtime<P>,
    device: DeviceId,
    /// The device had no frame, and no later one has been reported: there is nothing to ask it.
    drained: Cell<bool>,
}

impl<P: Platform> Net<P> {
    /// The network device that was given under this name. Returns at once.
    pub fn new(runtime: Runtime<P>, name: &'static str) -> Result<Self, MissingDevice> {
        let device = find(&runtime, name, DeviceKind::Net)?;
        let drained = Cell::new(false);
        Ok(Self {
            runtime,
            device,
            drained,
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
        self.drained.set(received == Ok(None));
        if self.drained.get() {
            // What was reported until now has been received: only a later edge counts.
            readiness.borrow_mut().forget(self.device, Direction::Input);
        }
        received
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.runtime
            .platform()
            .net_send(self.device, frame, transmit)
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

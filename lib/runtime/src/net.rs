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
}

impl<P: Platform> Net<P> {
    /// The network device that was given under this name. Returns at once.
    pub fn new(runtime: Runtime<P>, name: &'static str) -> Result<Self, MissingDevice> {
        let device = find(&runtime, name, DeviceKind::Net)?;
        Ok(Self { runtime, device })
    }
}

impl<P: Platform> mirage_device::Net for Net<P> {
    fn info(&self) -> NetInfo {
        self.runtime.platform().net_info(self.device)
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        self.runtime.platform().net_receive(self.device, buffer)
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.runtime
            .platform()
            .net_send(self.device, frame, transmit)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.runtime
            .0
            .readiness
            .borrow_mut()
            .poll(self.device, Direction::Input, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.runtime
            .0
            .readiness
            .borrow_mut()
            .poll(self.device, Direction::Output, cx)
    }
}

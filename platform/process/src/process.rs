use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;
use core::task::Poll;
use core::time::Duration;

use mirage_device::platform::{
    BlockOperation, DeviceEntry, DeviceId, DeviceKind, Platform, Ready, Ticket,
};
use mirage_device::{
    BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Received, Transmit,
};
use mirage_manifest::Device;

use crate::attached::Attached;
use crate::block::Block;
use crate::net::Net;
use crate::start::{Start, StartError};
use crate::syscall::{Fd, exit_group, getrandom, write};
use crate::{clock, ready, vdso};

const CONSOLE: Fd = 1;
const EPOLL: Fd = 3;

/// Writes to the console, best effort: what it does not take is dropped. Returns at once when
/// the tender's console does not block.
pub fn console(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(CONSOLE, bytes) {
            Ok(len @ 1..) => bytes = bytes.get(len..).unwrap_or_default(),
            _ => return,
        }
    }
}

/// Ends the process with this status.
pub fn exit(status: u8) -> ! {
    exit_group(status)
}

/// A sandboxed process.
pub struct Process {
    start: Start,
    devices: &'static [Device<'static>],
    attached: Vec<Attached>,
    counters: Option<&'static [AtomicU64]>,
}

impl Process {
    /// The process of an image that repeats a recording: it has no device, and nothing but its
    /// console and its end is of use.
    ///
    /// Returns at once.
    pub fn replaying(start: Start, devices: &'static [Device<'static>]) -> Self {
        Self {
            start,
            devices,
            // As long as it was when the recording was made: what is allocated later lies in the
            // same place.
            attached: Vec::with_capacity(devices.len()),
            counters: None,
        }
    }

    /// The same process with memory that shows its counters.
    #[must_use]
    pub fn showing(self, counters: Option<&'static [AtomicU64]>) -> Self {
        Self { counters, ..self }
    }

    /// Takes over what the tender prepared, which must be exactly the `devices`.
    ///
    /// Returns at once.
    pub fn new(start: Start, devices: &'static [Device<'static>]) -> Result<Self, StartError> {
        // SAFETY: the kernel says where its vDSO lies, and its `clock_gettime` has the signature
        // of the system call.
        unsafe {
            if let Some(function) = vdso::function(start.vdso(), b"__vdso_clock_gettime") {
                clock::use_vdso(function);
            }
        }
        let mut attached = Vec::with_capacity(devices.len());
        for (number, &device) in devices.iter().enumerate() {
            let line = start.device(number).ok_or(StartError::Missing(device))?;
            let parsed = str::from_utf8(line)
                .ok()
                .and_then(|line| Attached::parse(device.kind, number, line));
            attached.push(parsed.ok_or(StartError::Line(device))?);
        }
        if start.device(devices.len()).is_some() {
            return Err(StartError::Extra(devices.len()));
        }
        for (at, word) in start.arguments().enumerate().skip(1) {
            str::from_utf8(word).map_err(|_| StartError::NotText(at))?;
        }
        Ok(Self {
            start,
            devices,
            attached,
            counters: None,
        })
    }

    /// # Panics
    /// As [`Platform`] has it, when there is no such device.
    fn net(&self, device: DeviceId) -> &Net {
        match self.attached.get(usize::from(device.0)) {
            Some(Attached::Net(net)) => net,
            _ => panic!("device {} is not a network device", device.0),
        }
    }

    /// # Panics
    /// As [`Platform`] has it, when there is no such device.
    fn block_device(&self, device: DeviceId) -> &Block {
        match self.attached.get(usize::from(device.0)) {
            Some(Attached::Block(block)) => block,
            _ => panic!("device {} is not a block device", device.0),
        }
    }
}

impl Platform for Process {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn wall(&self) -> Option<Duration> {
        Some(clock::wall())
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            match getrandom(rest) {
                Ok(len @ 1..) => rest = rest.get_mut(len..).unwrap_or_default(),
                _ => return Err(EntropyError::NoSource),
            }
        }
        Ok(())
    }

    fn console(&self, bytes: &[u8]) {
        console(bytes);
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        let words = self.start.arguments().skip(1);
        words.filter_map(|word| str::from_utf8(word).ok())
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        self.devices
            .iter()
            .zip(&self.attached)
            .map(|(device, attached)| DeviceEntry {
                name: device.name,
                kind: match attached {
                    Attached::Net(_) => DeviceKind::Net,
                    Attached::Block(_) => DeviceKind::Block,
                },
            })
    }

    fn net_info(&self, device: DeviceId) -> NetInfo {
        self.net(device).info()
    }

    fn net_receive(
        &self,
        device: DeviceId,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, NetError> {
        self.net(device).receive(buffer)
    }

    fn net_send(&self, device: DeviceId, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.net(device).send(frame, transmit)
    }

    fn block_info(&self, device: DeviceId) -> BlockInfo {
        self.block_device(device).info()
    }

    fn block(
        &self,
        device: DeviceId,
        _ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        Poll::Ready(self.block_device(device).operate(operation))
    }

    fn counters(&self) -> Option<&'static [AtomicU64]> {
        self.counters
    }

    fn wait(&self, deadline: Option<Instant>) -> Ready {
        ready::wait(EPOLL, deadline.map(|deadline| deadline - clock::now()))
    }

    fn exit(&self, status: u8) -> ! {
        exit(status)
    }
}

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, DeviceKind, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Platform, Received, Transmit,
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::block::{BlockFile, BlockFileError, Disk};
use crate::console;
use crate::poller::Poller;
use crate::publish::Published;
use crate::shown::Shown;

/// What a [`Host`] gives its unikernel.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The words after the program's name.
    pub arguments: Vec<&'static str>,
    /// The files of its block devices, in the order of the devices' numbers.
    pub blocks: Vec<BlockFile>,
    /// Where the ports are opened that it asks for.
    pub publish: Vec<Published>,
    /// The file that shows its counters, if there is one.
    pub counters: Option<PathBuf>,
}

/// The platform of an ordinary program.
pub struct Host {
    started: std::time::Instant,
    arguments: Vec<&'static str>,
    disks: Vec<Disk>,
    pub(crate) publish: Vec<Published>,
    pub(crate) poller: Poller,
    shown: Option<Shown>,
}

impl Host {
    /// A platform with these devices. Returns at once.
    ///
    /// # Errors
    ///
    /// When a file cannot be opened, or, wrapped in [`BlockFileError::Open`] without a path, when
    /// the process has no descriptor left.
    pub fn new(options: Options) -> Result<Self, BlockFileError> {
        let failure = |error: io::Error| BlockFileError::Open("the poller".into(), error);
        Ok(Self {
            started: std::time::Instant::now(),
            arguments: options.arguments,
            disks: options
                .blocks
                .into_iter()
                .map(Disk::open)
                .collect::<Result<_, _>>()?,
            publish: options.publish,
            // A file that cannot be opened shows nothing; the unikernel runs all the same.
            shown: options.counters.and_then(|path| Shown::open(&path).ok()),
            poller: Poller::new().map_err(failure)?,
        })
    }

    fn disk(&self, device: DeviceId) -> &Disk {
        &self.disks[usize::from(device.0)]
    }
}

impl Platform for Host {
    fn now(&self) -> Instant {
        let nanos = self.started.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Option<Duration> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok()
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::NONBLOCK) {
                Ok(len) => filled += len,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(EntropyError::NotReady),
                Err(_) => return Err(EntropyError::NoSource),
            }
        }
        Ok(())
    }

    fn console(&self, bytes: &[u8]) {
        console::write(bytes);
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().copied()
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        self.disks.iter().map(|disk| DeviceEntry {
            name: &disk.name,
            kind: DeviceKind::Block,
        })
    }

    fn net_info(&self, device: DeviceId) -> NetInfo {
        no_net(device)
    }

    fn net_receive(&self, device: DeviceId, _: &mut [u8]) -> Result<Option<Received>, NetError> {
        no_net(device)
    }

    fn net_send(&self, device: DeviceId, _: &[u8], _: Transmit) -> Result<(), NetError> {
        no_net(device)
    }

    fn block_info(&self, device: DeviceId) -> BlockInfo {
        self.disk(device).info
    }

    fn block(
        &self,
        device: DeviceId,
        _: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        Poll::Ready(self.disk(device).operate(operation))
    }

    fn counters(&self) -> Option<&'static [AtomicU64]> {
        self.shown.as_ref().map(Shown::memory)
    }

    fn wait(&self, deadline: Option<Instant>) -> Ready {
        let mut timeout = deadline.map(|deadline| deadline - self.now());
        if let Some(shown) = &self.shown
            && timeout != Some(Duration::ZERO)
        {
            timeout = shown.before_wait(self.now(), timeout);
        }
        self.poller.wait(timeout);
        Ready::default()
    }

    fn exit(&self, status: u8) -> ! {
        std::process::exit(status.into())
    }
}

/// The contract of [`Platform`] makes this a programming error.
fn no_net(device: DeviceId) -> ! {
    panic!(
        "device {} is not a network device: this platform has none",
        device.0
    )
}

//! The door between a unikernel and its simulated machine.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Platform, Received, Transmit,
};

use mirage_record::{Door, Memory};

use crate::dice::Purpose;
use crate::disk::DiskState;
use crate::failure::{Cause, Exit};
use crate::machine::{Attached, Entropy, State};
use crate::network::Port;
use crate::world::Inner;

/// So often a unikernel may look at the clock before it waits: after that it waits for a time
/// that cannot come.
const LOOKS: u64 = 10_000_000;

/// A simulated machine as its unikernel sees it: a recorder, off unless
/// [`Builder::record`](crate::Builder::record) turns it on, and what is simulated behind it.
pub type Sim = Door<Hardware, Rc<Memory>>;

/// What is simulated of a machine.
pub struct Hardware {
    world: Rc<Inner>,
    machine: Rc<State>,
    /// Which start of the machine this is.
    life: u64,
}

impl Hardware {
    /// The platform of a machine's present life, recorded on a tape if there is one.
    pub(crate) fn of(world: &Rc<Inner>, machine: &Rc<State>) -> Sim {
        let hardware = Self {
            world: world.clone(),
            machine: machine.clone(),
            life: machine.boots.get(),
        };
        let tape = machine.tape.borrow().clone();
        Door::new(hardware, tape)
    }

    /// Whether the machine is on, and is not in a later life: what is dropped with it can do
    /// nothing any more.
    fn alive(&self) -> bool {
        self.machine.on.get() && self.machine.boots.get() == self.life
    }

    fn device(&self, device: DeviceId) -> &Attached {
        match self.machine.devices.get(usize::from(device.0)) {
            Some((_, attached)) => attached,
            None => panic!("machine `{}` has no {device:?}", self.machine.name),
        }
    }

    fn port(&self, device: DeviceId) -> &Rc<Port> {
        match self.device(device) {
            Attached::Net(port) => port,
            Attached::Disk(_) => panic!("{device:?} is not a network device"),
        }
    }

    fn disk(&self, device: DeviceId) -> &Rc<DiskState> {
        match self.device(device) {
            Attached::Disk(disk) => disk,
            Attached::Net(_) => panic!("{device:?} is not a block device"),
        }
    }
}

impl Platform for Hardware {
    fn now(&self) -> Instant {
        let looks = self.machine.looks.get() + 1;
        self.machine.looks.set(looks);
        if looks > LOOKS {
            let message = "it looks at the clock again and again and never waits";
            self.world
                .fail(Cause::Busy, Some(&self.machine), message.into());
        }
        self.machine.clock(&self.world)
    }

    fn wall(&self) -> Option<Duration> {
        self.world.wall(&self.machine)
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        match self.machine.entropy {
            Entropy::Never => return Err(EntropyError::NoSource),
            Entropy::After(duration) => {
                if self.machine.clock(&self.world) < Instant::ZERO + duration {
                    return Err(EntropyError::NotReady);
                }
            }
        }
        for chunk in buffer.chunks_mut(8) {
            let number = self.machine.drawn.replace(self.machine.drawn.get() + 1);
            let roll = self
                .world
                .dice
                .roll(Purpose::Entropy, self.machine.place, number);
            chunk.copy_from_slice(&roll.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn console(&self, bytes: &[u8]) {
        self.world.console(&self.machine, bytes);
        if self.machine.outside {
            print!("{}", String::from_utf8_lossy(bytes));
        }
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        self.machine.words.iter().copied()
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        self.machine
            .devices
            .iter()
            .map(|(name, device)| DeviceEntry {
                name,
                kind: device.kind(),
            })
    }

    fn net_info(&self, device: DeviceId) -> NetInfo {
        self.port(device).info()
    }

    fn net_receive(
        &self,
        device: DeviceId,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, NetError> {
        let port = self.port(device);
        if self.alive() {
            port.receive(&self.world, buffer)
        } else {
            Err(NetError::Gone)
        }
    }

    fn net_send(&self, device: DeviceId, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        let port = self.port(device);
        if self.alive() {
            port.send(&self.world, frame, transmit)
        } else {
            Err(NetError::Gone)
        }
    }

    fn block_info(&self, device: DeviceId) -> BlockInfo {
        self.disk(device).info()
    }

    fn block(
        &self,
        device: DeviceId,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        let disk = self.disk(device);
        if self.alive() {
            disk.operate(&self.world, ticket, operation)
        } else {
            Poll::Pending
        }
    }

    fn block_abandon(&self, device: DeviceId, ticket: Ticket) {
        let disk = self.disk(device);
        if self.alive() {
            disk.abandon(ticket.0);
        }
    }

    /// Never stops the thread: a machine of the world is asked only once something is there, and
    /// one that the scenario runs lets the world go on meanwhile.
    fn wait(&self, deadline: Option<Instant>) -> Ready {
        self.machine.looks.set(0);
        if self.machine.outside {
            self.world.wait_outside(&self.machine, deadline);
        }
        self.machine.ready.take()
    }

    fn exit(&self, status: u8) -> ! {
        if self.machine.outside {
            panic!("the unikernel exited with status {status}");
        }
        std::panic::resume_unwind(Box::new(Exit(status)))
    }
}

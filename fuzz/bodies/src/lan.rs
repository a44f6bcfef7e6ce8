//! A network device in memory whose other end is held by a body.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mirage_counters::Table;
use mirage_device::{Entropy, EntropyError, Net, NetError, NetInfo, Received, Transmit};
use mirage_sim::World;
use mirage_smoltcp::{Keys, Smoltcp};

use crate::packet::{self, Checksums, Mac};

/// The stack's hardware address, and that of the other station.
pub(crate) const OURS: Mac = [2, 0, 0, 0, 0, 2];
pub(crate) const THEIRS: Mac = [2, 0, 0, 0, 0, 1];
pub(crate) const OUR_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const THEIR_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const THEIR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

const MTU: usize = 1500;

/// Keys with static addresses, and the other station as router and name server.
pub(crate) fn fixed() -> Keys {
    Keys {
        ipv4: format!("{OUR_V4}/24"),
        ipv6: format!("{OUR_V6}/64"),
        gateway: Some(THEIR_V4.into()),
        dns: Some(THEIR_V4.into()),
        ..Keys::default()
    }
}

#[derive(Default)]
struct Wire {
    arriving: VecDeque<Vec<u8>>,
    sent: Vec<(Vec<u8>, Transmit)>,
    reader: Option<Waker>,
}

/// The other station's end. A clone is another handle on it.
#[derive(Clone)]
pub(crate) struct Lan {
    wire: Rc<RefCell<Wire>>,
    offload: bool,
    pub(crate) injected: Rc<Cell<u64>>,
    counters: Table,
}

impl Lan {
    pub(crate) fn new(offload: bool) -> Self {
        Self {
            wire: Rc::default(),
            offload,
            injected: Rc::default(),
            counters: Table::new(None),
        }
    }

    /// A stack at this end, its other end.
    pub(crate) fn stack(&self, simulation: &World, keys: Keys) -> Smoltcp {
        let device = Device {
            wire: self.wire.clone(),
            offload: self.offload,
        };
        let (clock, counters) = (|| simulation.clone(), self.counters.clone());
        let noise = Noise::default();
        let stack = Smoltcp::new(device, clock(), clock(), noise, counters, "stack", keys);
        simulation.block_on(stack).expect("keys that are valid")
    }

    /// Frames that the stack counts as received.
    pub(crate) fn received(&self) -> u64 {
        self.counters
            .counter("stack", "frames_received_total")
            .get()
    }

    pub(crate) fn inject(&self, frame: &[u8]) {
        let mut wire = self.wire.borrow_mut();
        wire.arriving.push_back(frame.to_vec());
        let fits = frame.len() <= if self.offload { 65_535 + 14 } else { MTU + 14 };
        self.injected.set(self.injected.get() + u64::from(fits));
        let reader = wire.reader.take();
        drop(wire);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Every frame that the stack has sent, judged; and what is in those that are TCP.
    pub(crate) fn drain(&self) -> Vec<(Vec<u8>, Option<packet::Seen>)> {
        let sent = std::mem::take(&mut self.wire.borrow_mut().sent);
        sent.into_iter()
            .map(|(frame, transmit)| {
                let checksums = match transmit.checksum {
                    Some(_) => Checksums::NotTcpUdp,
                    None => Checksums::All,
                };
                assert!(self.offload || transmit == Transmit::default());
                assert!(transmit.segmentation.is_some() || frame.len() <= MTU + 14);
                let seen = packet::judge(&frame, OURS, checksums);
                (frame, seen)
            })
            .collect()
    }
}

struct Device {
    wire: Rc<RefCell<Wire>>,
    offload: bool,
}

impl Net for Device {
    fn info(&self) -> NetInfo {
        match self.offload {
            true => NetInfo::offloading(OURS, MTU),
            false => NetInfo::plain(OURS, MTU),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let Some(frame) = self.wire.borrow_mut().arriving.pop_front() else {
            return Ok(None);
        };
        let space = buffer.get_mut(..frame.len()).ok_or(NetError::TooLong)?;
        space.copy_from_slice(&frame);
        Ok(Some(Received::new(frame.len(), false)))
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.wire.borrow_mut().sent.push((frame.to_vec(), transmit));
        Ok(())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut wire = self.wire.borrow_mut();
        if !wire.arriving.is_empty() {
            return Poll::Ready(());
        }
        wire.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), always from the same start.
#[derive(Clone, Default)]
struct Noise(Rc<Cell<u64>>);

impl Entropy for Noise {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for byte in buffer {
            let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.0.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 56) as u8;
        }
        Ok(())
    }
}

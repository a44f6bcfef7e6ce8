//! A socket with its timer: what the driver turns over.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use mirage_device::Net;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::time::{Duration, Instant};

use crate::port::Port;
use crate::slots::Id;

/// Later than every clock.
pub(crate) const NEVER: Instant = Instant::from_micros_const(i64::MAX);

/// The most segments one socket sends before others have their turn.
const BURST: usize = 16;

/// Something that may have to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    Tcp(Id),
    Udp(Id),
    Dhcp,
}

/// What waits for a neighbour's hardware address, each once. Backlogs bound how many there are: a
/// list is searched sooner than a table.
#[derive(Default)]
pub(crate) struct Starved(Vec<Work>);

impl Starved {
    pub fn add(&mut self, work: Work) {
        if !self.0.contains(&work) {
            self.0.push(work);
        }
    }

    pub fn remove(&mut self, work: Work) {
        self.0.retain(|waiting| *waiting != work);
    }

    pub fn take(&mut self) -> Vec<Work> {
        core::mem::take(&mut self.0)
    }
}

/// One smoltcp socket, alone in its set, and when it wants to be looked at.
pub(crate) struct Endpoint {
    pub set: SocketSet<'static>,
    pub handle: SocketHandle,
    /// When it has something to do next, [`NEVER`] when only a frame or a caller can tell.
    pub due: Instant,
    /// The time its earliest timer stands at.
    scheduled: Instant,
    /// It stands in the queue of those to be looked at.
    pub queued: bool,
    /// It waits for a neighbour's hardware address.
    pub starved: bool,
    /// It has sent something since this was last cleared.
    pub sent: bool,
}

impl Endpoint {
    pub fn new(set: SocketSet<'static>, handle: SocketHandle) -> Self {
        Self {
            set,
            handle,
            due: NEVER,
            scheduled: NEVER,
            queued: false,
            starved: false,
            sent: false,
        }
    }

    /// Sends what there is to send. Whether there is more, for which there was no room or turn.
    pub fn transmit<N: Net>(
        &mut self,
        interface: &mut Interface,
        port: &mut Port<N>,
        now: Instant,
    ) -> bool {
        for _ in 0..BURST {
            port.mark();
            interface.poll_egress(now, port, &mut self.set);
            let sent = port.sent() > 0;
            self.sent |= sent;
            self.due = interface.poll_at(now, &self.set).unwrap_or(NEVER);
            // smoltcp does not even try for a second after it has asked for an address.
            self.starved = port.unsent() || (self.starved && !sent && self.due != NEVER);
            if self.due > now {
                return false;
            }
            if port.blocked() || port.gone() {
                return true;
            }
            if !sent {
                // Nothing to be done about it now: no reason to spin.
                self.due = now + Duration::from_millis(1);
                return false;
            }
        }
        true
    }
}

/// When which endpoint is due. An entry may be out of date: the endpoint knows.
pub(crate) struct Timers(BinaryHeap<Reverse<(Instant, Work)>>);

impl Timers {
    pub fn with_capacity(capacity: usize) -> Self {
        Self(BinaryHeap::with_capacity(capacity))
    }

    /// Makes sure that a timer stands at or before the endpoint's `due`. A timer that stands too
    /// early is left alone and put right when it is looked at, so that the usual case, a
    /// retransmission timer that moves on with every segment, costs nothing.
    pub fn schedule(&mut self, work: Work, endpoint: &mut Endpoint) {
        if endpoint.due < endpoint.scheduled {
            endpoint.scheduled = endpoint.due;
            self.0.push(Reverse((endpoint.due, work)));
        }
    }

    /// The earliest entry.
    pub fn peek(&self) -> Option<(Instant, Work)> {
        self.0.peek().map(|&Reverse(entry)| entry)
    }

    /// Drops the earliest entry, and puts its endpoint's timer where it belongs.
    pub fn pop(&mut self, endpoint: Option<&mut Endpoint>) {
        if let Some(Reverse((at, work))) = self.0.pop()
            && let Some(endpoint) = endpoint
            && endpoint.scheduled == at
        {
            endpoint.scheduled = NEVER;
            self.schedule(work, endpoint);
        }
    }
}

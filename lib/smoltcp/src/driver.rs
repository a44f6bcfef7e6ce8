//! The task that moves frames: the only one that touches the device.
//!
//! One turn takes a batch of frames, which wakes tasks, and lets those run before it sends: the
//! answer of a task and the acknowledgement of the question leave in one segment.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};

use mirage_device::{Net, Sleep};
use smoltcp::time::Instant;

use crate::counters::Count;
use crate::endpoint::{NEVER, Work};
use crate::frame::{self, Class, Discovery, Drop};
use crate::port::{Fetched, Port};
use crate::reply;
use crate::state::{Shared, State, instant};

/// The most frames that are taken before the tasks they wake have their turn.
const BATCH: usize = 64;

/// Moves frames until the device goes away.
pub(crate) async fn drive<N: Net, S: Sleep>(port: Port<N>, sleep: S, shared: Rc<Shared>) {
    let mut driver = Driver {
        port,
        sleep,
        shared,
        alarm: None,
    };
    poll_fn(|cx| driver.turn(cx)).await;
}

struct Driver<N, S> {
    port: Port<N>,
    sleep: S,
    shared: Rc<Shared>,
    alarm: Option<(Instant, Alarm)>,
}

type Alarm = Pin<Box<dyn Future<Output = ()>>>;

impl<N: Net, S: Sleep> Driver<N, S> {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        shared.driving(cx.waker());
        let mut state = shared.state_now();
        loop {
            let unblocked = self.port.unblock();
            state.expire();
            state.tend(&mut self.port);
            if unblocked {
                state.transmit_all(&mut self.port);
            }
            let taken = state.receive(&mut self.port);
            if self.port.gone() {
                state.end();
                return Poll::Ready(());
            }
            if taken > 0 || (!state.queue.is_empty() && !self.port.blocked()) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Nothing to be done: wait for a frame, for room, for the clock or for a task.
            let due = state.due();
            let readable = self.port.net().poll_readable(cx).is_ready();
            let writable = self.port.blocked() && self.port.net().poll_writable(cx).is_ready();
            if !readable && !writable && self.wait(due, cx).is_pending() {
                return Poll::Pending;
            }
            state.now = instant(&self.sleep);
        }
    }

    /// Waits until `due`. An alarm that stands earlier is left alone: letting it ring once for
    /// nothing is cheaper than moving it with every segment.
    fn wait(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if due == NEVER {
            self.alarm = None;
            return Poll::Pending;
        }
        let alarm = match &mut self.alarm {
            Some((at, alarm)) if *at <= due => alarm,
            _ => {
                let nanos = (due.total_micros() as u64).saturating_mul(1000);
                let alarm = self
                    .sleep
                    .sleep_until(mirage_device::Instant::from_nanos(nanos));
                &mut self.alarm.insert((due, Box::pin(alarm))).1
            }
        };
        let rung = alarm.as_mut().poll(cx);
        if rung.is_ready() {
            self.alarm = None;
        }
        rung
    }
}

impl State {
    /// When something has to be done.
    fn due(&mut self) -> Instant {
        let timer = self.next_timer().map_or(NEVER, |(at, _)| at);
        timer.min(self.configuration.due())
    }

    /// Has everything sent that is to be sent, until there is no room.
    fn transmit_all<N: Net>(&mut self, port: &mut Port<N>) {
        let mut queue = core::mem::take(&mut self.queue);
        let mut done = 0;
        for &work in &queue {
            done += 1;
            if let Some(endpoint) = self.endpoint(work) {
                endpoint.queued = false;
                match work {
                    Work::Tcp(id) => self.tcp_transmit(id, port),
                    Work::Udp(id) => self.udp_transmit(id, port),
                    Work::Dhcp => {
                        self.transmit(work, port);
                        self.dhcp_changed();
                    }
                }
            }
            if port.blocked() || port.gone() {
                break;
            }
        }
        // Those that had no turn go first the next time.
        queue.drain(..done);
        queue.append(&mut self.queue);
        self.queue = queue;
    }

    /// Takes a batch of frames. How many there were.
    fn receive<N: Net>(&mut self, port: &mut Port<N>) -> usize {
        for count in 0..BATCH {
            match port.fetch() {
                Fetched::Frame => self.take(port),
                Fetched::Lost => (),
                Fetched::Nothing | Fetched::Gone => return count,
            }
        }
        BATCH
    }

    fn take<N: Net>(&mut self, port: &mut Port<N>) {
        let mac = port.info().mac;
        match frame::classify(port.frame(), mac, !port.checksum_valid()) {
            Ok(Class::Tcp(segment)) => self.tcp_segment(&segment, port),
            Ok(Class::Udp(datagram)) => {
                if !self.udp_datagram(&datagram) {
                    let to = datagram.destination.port();
                    self.udp_stranger(to, port);
                }
            }
            Ok(Class::Arp) => {
                self.pass(port);
                self.feed();
            }
            Ok(Class::Membership) => {
                self.configuration.queried(self.now);
                self.pass(port);
            }
            Ok(Class::Neighbour(discovery)) => match discovery {
                Discovery::Advertisement { router, message } => {
                    self.advertised(router, message);
                }
                Discovery::Probe(target) => {
                    // Somebody is about to take this address (RFC 4862 §5.4.3).
                    if self.is_own(target.into()) {
                        reply::announce_ipv6(port, target);
                    }
                }
                Discovery::Other => {
                    self.pass(port);
                    self.feed();
                }
            },
            Ok(Class::Other) => self.pass(port),
            Err(Drop::Malformed) => self.tally.add(Count::DroppedMalformed),
            Err(Drop::Checksum) => self.tally.add(Count::DroppedChecksum),
            Err(Drop::Fragment) => self.tally.add(Count::DroppedFragment),
            Err(Drop::NotForUs) => self.tally.add(Count::DroppedNotForUs),
        }
    }

    /// Lets smoltcp answer a frame that belongs to no socket.
    fn pass<N: Net>(&mut self, port: &mut Port<N>) {
        self.interface
            .poll_ingress_single(self.now, port, &mut self.nobody);
    }

    /// Takes a datagram that belongs to no bound socket.
    fn udp_stranger<N: Net>(&mut self, to: u16, port: &mut Port<N>) {
        const DHCP_CLIENT: u16 = 68;
        match &mut self.dhcp {
            Some(endpoint) if to == DHCP_CLIENT => {
                self.interface
                    .poll_ingress_single(self.now, port, &mut endpoint.set);
                self.dhcp_changed();
                self.enqueue(Work::Dhcp);
            }
            _ => self.pass(port),
        }
    }
}

//! A connection and a listening port, as the stack keeps them.

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::task::Waker;

use mirage_device::FlowError;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};

use crate::endpoint::{Endpoint, NEVER};
use crate::frame::Tuple;
use crate::slots::Id;
use crate::state::ROOM;

/// How long a peer may say nothing at all while it owes an acknowledgement (RFC 9293 §3.8.3
/// asks for 100 seconds at least).
const USER_TIMEOUT: Duration = Duration::from_secs(100);

/// Who a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A listener, and the peer has not answered yet.
    HalfOpen(Id),
    /// A listener, ready to be accepted.
    Ready(Id),
    /// An attempt to connect that began then.
    Connecting(Instant),
    /// A flow.
    Flow,
    /// Nobody, since then: it has only to end in order.
    Nobody(Instant),
}

/// What a tuple stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Connection(Id),
    /// A connection that has ended, in TIME-WAIT: all that is left of it is what its last
    /// acknowledgement said. Its socket serves another already.
    Ended {
        until: Instant,
        seq: u32,
        ack: u32,
    },
}

/// What a dropped handle leaves to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parting {
    Reader(Id),
    Writer(Id),
    Abort(Id),
    Listener(Id),
    Udp(Id),
}

/// A connection.
pub(crate) struct Connection {
    pub endpoint: Endpoint,
    /// The size of its socket, for the pool.
    pub size: usize,
    pub tuple: Tuple,
    /// `tuple` still leads here.
    pub linked: bool,
    pub owner: Owner,
    /// Why it ended, when not in order.
    pub fate: Option<FlowError>,
    /// Its neighbour never told its hardware address.
    pub unreachable: bool,
    /// When patience with the peer ends.
    pub give_up: Instant,
    /// In TIME-WAIT: the numbers of its last acknowledgement.
    pub ended: Option<(u32, u32)>,
    /// The sequence number up to which it has ever sent.
    pub highest: u32,
    /// Bytes read since the peer was last told of the window.
    pub unannounced: usize,
    /// Whether the reading and the writing half are held.
    pub reader: bool,
    pub writer: bool,
}

impl Connection {
    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.endpoint.set.get_mut(self.endpoint.handle)
    }

    pub fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.tuple.remote, self.tuple.remote_port)
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.tuple.local, self.tuple.local_port)
    }

    /// Notes that `len` bytes were read. Whether the window has grown so much that the peer
    /// should hear of it (RFC 9293 §3.8.6.2.2).
    pub fn read(&mut self, len: usize) -> bool {
        self.unannounced += len;
        let socket = self.endpoint.set.get::<Socket>(self.endpoint.handle);
        let window = socket.recv_capacity() - socket.recv_queue();
        self.unannounced * 2 >= window
    }

    /// The peer owes an acknowledgement.
    fn unacknowledged(&mut self) -> bool {
        let socket = self.socket();
        socket.send_queue() > 0
            || matches!(
                socket.state(),
                State::FinWait1 | State::Closing | State::LastAck
            )
    }

    /// Starts, moves on or ends the patience with a peer that owes an acknowledgement.
    pub fn watch(&mut self, now: Instant, heard: bool) {
        if matches!(self.owner, Owner::Ready(_) | Owner::Flow) {
            if !self.unacknowledged() {
                self.give_up = NEVER;
            } else if heard || self.give_up == NEVER {
                self.give_up = now + USER_TIMEOUT;
            }
        }
    }
}

/// A listening port.
pub(crate) struct Listening {
    pub local: SocketAddr,
    pub backlog: usize,
    /// Connections that are not accepted yet, half-open ones included.
    pub pending: usize,
    /// The half-open ones and when they came, oldest first; some have moved on.
    pub half_open: VecDeque<(Instant, Id)>,
    /// Those to accept, oldest first; some may have died.
    pub ready: VecDeque<Id>,
    waker: Option<Waker>,
}

impl Listening {
    pub fn new(local: SocketAddr, backlog: usize) -> Self {
        Self {
            local,
            backlog: backlog.max(1),
            pending: 0,
            half_open: VecDeque::with_capacity(backlog.min(ROOM)),
            ready: VecDeque::with_capacity(backlog.min(ROOM)),
            waker: None,
        }
    }

    /// Has `waker` woken when there is a connection to accept.
    pub fn wait(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

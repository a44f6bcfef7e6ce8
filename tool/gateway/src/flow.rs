//! One TCP connection: a kernel socket on the host's side, an engine's socket on the guest's.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;

use crate::packet::Ends;

/// Bytes buffered in each direction; what the guest may send unread, and what it may be sent
/// unacknowledged.
const BUFFER: usize = 128 << 10;
/// Bytes moved in each direction before others have their turn.
const TURN: usize = 512 << 10;
/// An acknowledgement waits this long for data to travel with.
const ACK_DELAY: Duration = Duration::from_millis(1);
/// A guest that has not answered for so long while a connection is opened will not.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The engine's side. A set of one: segments are told apart before they come here, so the cost of
/// one does not grow with the number of connections.
pub(crate) struct Connection {
    pub(crate) set: SocketSet<'static>,
    handle: SocketHandle,
}

impl Connection {
    pub(crate) fn new() -> Self {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(ACK_DELAY.into()));
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Self { set, handle }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Forgets the last connection and limits how long the next may take to open.
    pub(crate) fn renew(&mut self) -> &mut Socket<'static> {
        let socket = self.socket();
        socket.abort();
        socket.set_timeout(Some(OPEN_TIMEOUT.into()));
        socket
    }
}

/// Opening a published connection anew, towards a guest that is still booting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Retry {
    pub(crate) at: Option<Instant>,
    pub(crate) attempts: u32,
    /// The guest has refused the last attempt: nothing is to be expected before the next.
    pub(crate) refused: bool,
}

pub(crate) struct Flow {
    pub(crate) ends: Ends,
    pub(crate) host: OwnedFd,
    pub(crate) connection: Connection,
    /// The published port it came through; outgoing without.
    pub(crate) published: Option<usize>,
    pub(crate) retry: Retry,
    pub(crate) established: bool,
    /// In the queue of flows with something to do.
    pub(crate) queued: bool,
    /// In the list of flows that wait for the guest to read.
    pub(crate) stalled: bool,
    /// The earliest entry among the timers.
    pub(crate) scheduled: Option<Instant>,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Nothing comes after what can be read from the host now.
    pub(crate) ended: bool,
    /// The host's end of stream was passed on to the guest.
    host_done: bool,
    /// The guest's end of stream was passed on to the host.
    guest_done: bool,
}

/// What moving bytes has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// All that could be moved was.
    Idle,
    /// More could be moved at once.
    More,
    /// The host's side is broken.
    Broken,
}

impl Flow {
    pub(crate) fn new(
        ends: Ends,
        host: OwnedFd,
        connection: Connection,
        published: Option<usize>,
    ) -> Self {
        Self {
            ends,
            host,
            connection,
            published,
            retry: Retry::default(),
            established: false,
            queued: false,
            stalled: false,
            scheduled: None,
            readable: true,
            writable: true,
            ended: false,
            host_done: false,
            guest_done: false,
        }
    }

    /// Both sides have ended in order.
    pub(crate) fn is_complete(&self) -> bool {
        self.host_done && self.guest_done
    }

    /// Whether the connection has just been established.
    pub(crate) fn became_established(&mut self) -> bool {
        let socket = self
            .connection
            .set
            .get_mut::<Socket>(self.connection.handle);
        let opening = matches!(
            socket.state(),
            State::Listen | State::SynSent | State::SynReceived | State::Closed
        );
        if self.established || opening {
            return false;
        }
        socket.set_timeout(None);
        self.retry.at = None;
        self.established = true;
        true
    }

    /// Moves bytes both ways, as much as the other side takes: what it does not take stays where
    /// it is, and the window closes on the sender.
    pub(crate) fn move_bytes(&mut self) -> Moved {
        let out = self.pump_out();
        let back = self.pump_in();
        match (out, back) {
            (Moved::Broken, _) | (_, Moved::Broken) => Moved::Broken,
            (Moved::More, _) | (_, Moved::More) => Moved::More,
            _ => Moved::Idle,
        }
    }

    fn pump_out(&mut self) -> Moved {
        let socket = self
            .connection
            .set
            .get_mut::<Socket>(self.connection.handle);
        let mut moved = 0;
        while self.writable && socket.can_recv() {
            if moved >= TURN {
                return Moved::More;
            }
            let host = &self.host;
            let sent = socket.recv(|bytes| match send(host, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => (sent, Ok(sent == bytes.len())),
                Err(Errno::AGAIN) => (0, Ok(false)),
                Err(Errno::INTR) => (0, Ok(true)),
                Err(error) => (0, Err(error)),
            });
            match sent {
                // The last byte of the ring is there twice at most: a wrapped buffer needs two.
                Ok(Ok(all)) => self.writable = all,
                Ok(Err(_)) => return Moved::Broken,
                Err(_) => break,
            }
            moved += BUFFER;
        }
        if !self.guest_done && !socket.can_recv() && finished(socket) {
            self.guest_done = true;
            // It fails when the host's side has gone: reading tells.
            let _ = shutdown(&self.host, Shutdown::Write);
        }
        Moved::Idle
    }

    fn pump_in(&mut self) -> Moved {
        let socket = self
            .connection
            .set
            .get_mut::<Socket>(self.connection.handle);
        let mut moved = 0;
        while self.readable && !self.host_done && socket.can_send() {
            if moved >= TURN {
                return Moved::More;
            }
            let host = &self.host;
            let received = socket.send(|room| {
                let wanted = room.len();
                match recv(host, room, RecvFlags::empty()) {
                    Ok((_, len)) => (len, Ok((len, len == wanted))),
                    Err(error) => (0, Err(error)),
                }
            });
            match received {
                Ok(Ok((0, _))) => {
                    self.host_done = true;
                    socket.close();
                }
                Ok(Ok((len, full))) => {
                    moved += len;
                    // Less than asked for is all there was, unless the end stands behind it.
                    self.readable = full || self.ended;
                }
                Ok(Err(Errno::AGAIN)) => self.readable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(_)) => return Moved::Broken,
                Err(_) => break,
            }
        }
        Moved::Idle
    }
}

/// Everything the guest sent has been read, its end of stream included.
fn finished(socket: &mut Socket<'_>) -> bool {
    matches!(socket.recv(|_| (0, ())), Err(RecvError::Finished))
}

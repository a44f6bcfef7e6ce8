//! Memory for connections: smoltcp's sockets with their buffers, reused.
//!
//! smoltcp's buffers are fixed when a socket is made. The first connections therefore get large
//! ones and a crowd small ones. Memory is asked for zeroed and a buffer's pages are touched only
//! where data has been; a socket that was closed is used again, the one closed last first, so
//! that no page is touched, or zeroed, for a connection that needs none.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

/// A kind of socket: its buffers' sizes in bytes, and how many there may be.
struct Size {
    receive: usize,
    send: usize,
    most: usize,
    /// How many are kept while they are not in use.
    keep: usize,
}

/// The receive ring walks through all of its memory however little is received at a time; the
/// send ring starts at its beginning whenever it was empty. So a large send buffer costs only
/// what is used of it, and a large receive buffer all of it.
const SIZES: [Size; 4] = [
    // Whole segments of 64,240 bytes fit the send buffer: 44 of an Ethernet's, the most that one
    // frame takes (see `Port`).
    Size {
        receive: 512 << 10,
        send: 8 * 64_240,
        most: 2,
        keep: 2,
    },
    Size {
        receive: 64 << 10,
        send: 2 * 64_240,
        most: 6,
        keep: 6,
    },
    Size {
        receive: 24 << 10,
        send: 32 << 10,
        most: 24,
        keep: 24,
    },
    Size {
        receive: 4 << 10,
        send: 4 << 10,
        most: usize::MAX,
        keep: 0,
    },
];

/// A socket alone in its set: smoltcp looks at every socket of a set it is given, so each
/// connection is given alone.
pub(crate) struct Socket {
    pub set: SocketSet<'static>,
    pub handle: SocketHandle,
    /// Which of [`SIZES`] it has.
    pub size: usize,
}

pub(crate) struct Pool {
    idle: [Vec<Socket>; SIZES.len()],
    made: [usize; SIZES.len()],
    /// Bytes of buffers that may be made yet, and at most of each size but the last.
    left: usize,
    share: usize,
}

impl Pool {
    /// Finds out how much memory there is, and takes a part of it for connections: a crowd of
    /// them must not end the unikernel for want of memory.
    pub fn new() -> Self {
        // Half of the largest block that can be had, to an eighth. It is not touched. The last
        // question is one that succeeds: an allocator that has gone to its limit for the others
        // goes back.
        let sizes = (16..28)
            .rev()
            .flat_map(|shift| (8..16).rev().map(move |n| n << (shift - 3)));
        let block = sizes
            .into_iter()
            .find(|&size| Vec::<u8>::new().try_reserve_exact(size).is_ok());
        let left = block.unwrap_or(0) / 2;
        Self {
            idle: Default::default(),
            made: [0; SIZES.len()],
            left,
            share: left / 4,
        }
    }

    /// A closed socket, the largest there is. `None`: there is no memory.
    pub fn take(&mut self) -> Option<Socket> {
        for (index, size) in SIZES.iter().enumerate() {
            let bytes = size.receive + size.send;
            let last = index + 1 == SIZES.len();
            let mut socket = match self.idle[index].pop() {
                Some(socket) => socket,
                None if self.made[index] >= size.most
                    || bytes > self.left
                    || (!last && bytes * (self.made[index] + 1) > self.share) =>
                {
                    continue;
                }
                None => {
                    self.made[index] += 1;
                    self.left -= bytes;
                    make(size, index)
                }
            };
            let tcp = socket.set.get_mut::<tcp::Socket>(socket.handle);
            // Nothing is held back (RFC 9293 §3.7.4). An acknowledgement leaves with the answer
            // when the tasks that were woken write one, at once when they do not: see the driver.
            tcp.set_nagle_enabled(false);
            tcp.set_ack_delay(None);
            tcp.set_congestion_control(tcp::CongestionControl::Reno);
            return Some(socket);
        }
        None
    }

    /// Takes back a socket that nobody needs any more, whatever its state.
    pub fn give(&mut self, mut socket: Socket) {
        let index = socket.size;
        socket.set.get_mut::<tcp::Socket>(socket.handle).abort();
        if self.idle[index].len() < SIZES[index].keep {
            self.idle[index].push(socket);
        } else {
            self.made[index] -= 1;
            self.left += SIZES[index].receive + SIZES[index].send;
        }
    }
}

fn make(size: &Size, index: usize) -> Socket {
    let receive = tcp::SocketBuffer::new(vec![0; size.receive]);
    let send = tcp::SocketBuffer::new(vec![0; size.send]);
    let mut set = SocketSet::new(Vec::with_capacity(1));
    let handle = set.add(tcp::Socket::new(receive, send));
    Socket {
        set,
        handle,
        size: index,
    }
}

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

/// A kind of socket: how many there may be, and their buffers' sizes in bytes.
struct Size {
    most: usize,
    receive: usize,
    send: usize,
    /// How many are kept when they are not in use.
    keep: usize,
}

/// The receive ring walks through all of its memory however little is received at a time; the
/// send ring starts at its beginning whenever it was empty. So a large send buffer costs only
/// what is used of it, and a large receive buffer all of it.
const SIZES: [Size; 3] = [
    Size {
        most: 4,
        receive: 256 << 10,
        send: 512 << 10,
        keep: 4,
    },
    Size {
        most: 28,
        receive: 32 << 10,
        send: 64 << 10,
        keep: 28,
    },
    Size {
        most: usize::MAX,
        receive: 4 << 10,
        send: 12 << 10,
        keep: 64,
    },
];

/// Memory that is left to the application: a socket is not made with less than this at hand.
const RESERVE: usize = 256 << 10;

/// A socket alone in its set: smoltcp looks at every socket of a set it is given, so each
/// connection is given alone.
pub(crate) struct Socket {
    pub set: SocketSet<'static>,
    pub handle: SocketHandle,
    /// Which of [`SIZES`] it has.
    pub size: usize,
}

#[derive(Default)]
pub(crate) struct Pool {
    idle: [Vec<Socket>; SIZES.len()],
    made: [usize; SIZES.len()],
}

impl Pool {
    /// A closed socket, the largest there is. `None`: there is no memory.
    pub fn take(&mut self) -> Option<Socket> {
        for (index, size) in SIZES.iter().enumerate() {
            let mut socket = match self.idle[index].pop() {
                Some(socket) => socket,
                None if self.made[index] >= size.most || !fits(size) => continue,
                None => {
                    self.made[index] += 1;
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
        }
    }
}

/// Whether memory for such a socket can be had with [`RESERVE`] left over. Asking first is what
/// keeps a crowd of connections from ending the unikernel for want of memory.
fn fits(size: &Size) -> bool {
    let mut probe = Vec::<u8>::new();
    probe
        .try_reserve_exact(size.receive + size.send + RESERVE)
        .is_ok()
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

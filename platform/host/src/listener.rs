use std::net::SocketAddr;
use std::rc::Rc;

use mirage_device::{Listener, StackError, Tally};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::error;
use crate::flow::TcpFlow;
use crate::socket::Socket;
use crate::stack::ACCEPTED;

/// A listening TCP port of the host's kernel.
pub struct TcpListener {
    pub(crate) socket: Socket,
    pub(crate) local: SocketAddr,
    pub(crate) tally: Rc<Tally>,
}

impl Listener for TcpListener {
    type Flow = TcpFlow;

    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> Result<TcpFlow, StackError> {
        let Socket {
            fd,
            source,
            runtime,
        } = &self.socket;
        let accepted = std::future::poll_fn(|cx| {
            source.input.poll(cx, || {
                loop {
                    match accept_with(fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                        // That client has given up before it was its turn.
                        Err(Errno::CONNABORTED) => {}
                        result => return result,
                    }
                }
            })
        });
        let fd = accepted.await.map_err(error::stack)?;
        let socket = Socket::watch(runtime, fd).map_err(error::stack)?;
        self.tally.add(ACCEPTED, 1);
        Ok(TcpFlow::new(socket, self.tally.clone()))
    }
}

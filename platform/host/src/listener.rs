use std::net::SocketAddr;

use mirage_device::{Listener, StackError};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::error;
use crate::flow::TcpFlow;
use crate::socket::Socket;

/// A listening TCP port of the host's kernel.
pub struct TcpListener {
    pub(crate) socket: Socket,
    pub(crate) local: SocketAddr,
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
        Socket::watch(runtime, fd)
            .map(TcpFlow::new)
            .map_err(error::stack)
    }
}

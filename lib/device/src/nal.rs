//! The [`edge_nal`] traits on any [`Stack`], so that crates written for them run unchanged.
//!
//! ```
//! # async fn example(stack: impl mirage_device::Stack) {
//! use edge_nal::TcpConnect;
//! use mirage_device::nal::Nal;
//!
//! let nal = Nal::new(stack);
//! let _socket = nal.connect("192.0.2.1:80".parse().unwrap()).await;
//! # }
//! ```

use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use edge_nal as nal;
use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};

use crate::{AddressFamily, Flow, FlowError, FlowWrite, Listener, Stack, StackError, Udp};

/// How many connections an acceptor holds ready; `edge-nal` has no word for it.
const BACKLOG: usize = 128;

/// A stack seen through the traits of `edge-nal`.
#[derive(Debug, Clone)]
pub struct Nal<S>(S);

impl<S: Stack> Nal<S> {
    /// Wraps a stack. Returns at once.
    pub fn new(stack: S) -> Self {
        Self(stack)
    }
}

/// What went wrong, on a flow or on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalError {
    /// On a connection.
    Flow(FlowError),
    /// On the stack.
    Stack(StackError),
}

impl fmt::Display for NalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(error) => error.fmt(f),
            Self::Stack(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NalError {}

impl Error for NalError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Flow(error) => error.kind(),
            Self::Stack(error) => error.kind(),
        }
    }
}

impl From<FlowError> for NalError {
    fn from(error: FlowError) -> Self {
        Self::Flow(error)
    }
}

impl From<StackError> for NalError {
    fn from(error: StackError) -> Self {
        Self::Stack(error)
    }
}

/// A connection. `edge-nal` borrows the halves it splits off, so both stay in here.
pub struct Socket<F: Flow> {
    reader: Reader<F::Reader>,
    writer: Writer<F::Writer>,
}

/// The reading half of a [`Socket`].
pub struct Reader<R> {
    half: R,
    /// A byte that [`nal::Readable::readable`] had to read to know that there is one.
    ahead: Option<Result<Option<u8>, FlowError>>,
}

/// The writing half of a [`Socket`].
pub struct Writer<W>(W);

impl<F: Flow> Socket<F> {
    fn new(flow: F) -> Self {
        let (half, writer) = flow.split();
        Self {
            reader: Reader { half, ahead: None },
            writer: Writer(writer),
        }
    }
}

impl<R> ErrorType for Reader<R> {
    type Error = NalError;
}

impl<R: crate::FlowRead> Read for Reader<R> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NalError> {
        let Some(first) = buffer.first_mut() else {
            return Ok(0);
        };
        match self.ahead.take() {
            Some(Ok(Some(byte))) => {
                *first = byte;
                Ok(1)
            }
            Some(Ok(None)) => Ok(0),
            Some(Err(error)) => Err(error.into()),
            None => Ok(self.half.read(buffer).await?),
        }
    }
}

impl<R: crate::FlowRead> nal::Readable for Reader<R> {
    async fn readable(&mut self) -> Result<(), NalError> {
        if self.ahead.is_none() {
            let mut byte = [0];
            let read = self.half.read(&mut byte).await;
            self.ahead = Some(read.map(|count| (count > 0).then_some(byte[0])));
        }
        Ok(())
    }
}

impl<W> ErrorType for Writer<W> {
    type Error = NalError;
}

impl<W: FlowWrite> Write for Writer<W> {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, NalError> {
        Ok(self.0.write(buffer).await?)
    }

    async fn flush(&mut self) -> Result<(), NalError> {
        Ok(self.0.flush().await?)
    }
}

impl<F: Flow> ErrorType for Socket<F> {
    type Error = NalError;
}

impl<F: Flow> Read for Socket<F> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NalError> {
        self.reader.read(buffer).await
    }
}

impl<F: Flow> Write for Socket<F> {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, NalError> {
        self.writer.write(buffer).await
    }

    async fn flush(&mut self) -> Result<(), NalError> {
        self.writer.flush().await
    }
}

impl<F: Flow> nal::Readable for Socket<F> {
    async fn readable(&mut self) -> Result<(), NalError> {
        self.reader.readable().await
    }
}

impl<F: Flow> nal::TcpSplit for Socket<F> {
    type Read<'a> = &'a mut Reader<F::Reader>;
    type Write<'a> = &'a mut Writer<F::Writer>;

    fn split(&mut self) -> (Self::Read<'_>, Self::Write<'_>) {
        (&mut self.reader, &mut self.writer)
    }
}

impl<F: Flow> nal::TcpShutdown for Socket<F> {
    /// Closing the writing side waits until everything before the end has been acknowledged;
    /// closing the reading side reads and drops until the peer closes too.
    async fn close(&mut self, what: nal::Close) -> Result<(), NalError> {
        if matches!(what, nal::Close::Write | nal::Close::Both) {
            self.writer.0.shutdown();
            self.writer.flush().await?;
        }
        if matches!(what, nal::Close::Read | nal::Close::Both) {
            let mut dropped = [0; 512];
            while self.reader.read(&mut dropped).await? > 0 {}
        }
        Ok(())
    }

    /// Closes the writing side at once. The rest of the connection ends when the socket is
    /// dropped: `edge-nal` leaves open whether an abort resets.
    async fn abort(&mut self) -> Result<(), NalError> {
        self.writer.0.shutdown();
        Ok(())
    }
}

impl<S: Stack> nal::TcpConnect for Nal<S> {
    type Error = NalError;
    type Socket<'a>
        = Socket<S::Flow>
    where
        Self: 'a;

    async fn connect(&self, remote: SocketAddr) -> Result<Socket<S::Flow>, NalError> {
        Ok(Socket::new(self.0.connect(remote).await?))
    }
}

/// A listening port. One task may accept at a time; a second one fails with
/// [`StackError::NoResources`].
pub struct Acceptor<L>(RefCell<Option<L>>);

impl<S: Stack> nal::TcpBind for Nal<S> {
    type Error = NalError;
    type Accept<'a>
        = Acceptor<S::Listener>
    where
        Self: 'a;

    async fn bind(&self, local: SocketAddr) -> Result<Acceptor<S::Listener>, NalError> {
        Ok(Acceptor(RefCell::new(Some(self.0.listen(local, BACKLOG)?))))
    }
}

/// A listener in use; gives it back when the accept ends, completed or dropped.
struct Lent<'a, L> {
    home: &'a RefCell<Option<L>>,
    listener: Option<L>,
}

impl<L> Drop for Lent<'_, L> {
    fn drop(&mut self) {
        *self.home.borrow_mut() = self.listener.take();
    }
}

impl<L: Listener> nal::TcpAccept for Acceptor<L> {
    type Error = NalError;
    type Socket<'a>
        = Socket<L::Flow>
    where
        Self: 'a;

    async fn accept(&self) -> Result<(SocketAddr, Socket<L::Flow>), NalError> {
        let listener = self.0.borrow_mut().take().ok_or(StackError::NoResources)?;
        let mut lent = Lent {
            home: &self.0,
            listener: Some(listener),
        };
        let Some(listener) = &mut lent.listener else {
            return Err(StackError::Gone.into());
        };
        let flow = listener.accept().await?;
        let peer = flow.peer().ok_or(StackError::InvalidAddress)?;
        Ok((peer, Socket::new(flow)))
    }
}

/// A UDP port; a connected one talks to one peer only.
pub struct Datagrams<U> {
    udp: U,
    peer: Option<SocketAddr>,
}

/// One half of a [`Datagrams`]; UDP has no state to divide.
pub struct Half<'a, U>(&'a Datagrams<U>);

impl<U: Udp> Datagrams<U> {
    async fn take(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), NalError> {
        loop {
            let (count, from) = self.udp.receive(buffer).await?;
            if self.peer.is_none_or(|peer| peer == from) {
                return Ok((count, from));
            }
        }
    }

    async fn give(&self, remote: SocketAddr, data: &[u8]) -> Result<(), NalError> {
        Ok(self.udp.send(data, self.peer.unwrap_or(remote)).await?)
    }
}

impl<S: Stack> nal::UdpBind for Nal<S> {
    type Error = NalError;
    type Socket<'a>
        = Datagrams<S::Udp>
    where
        Self: 'a;

    async fn bind(&self, local: SocketAddr) -> Result<Datagrams<S::Udp>, NalError> {
        Ok(Datagrams {
            udp: self.0.bind_udp(local)?,
            peer: None,
        })
    }
}

impl<S: Stack> nal::UdpConnect for Nal<S> {
    type Error = NalError;
    type Socket<'a>
        = Datagrams<S::Udp>
    where
        Self: 'a;

    async fn connect(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Datagrams<S::Udp>, NalError> {
        Ok(Datagrams {
            udp: self.0.bind_udp(local)?,
            peer: Some(remote),
        })
    }
}

macro_rules! datagrams {
    ([$($generics:tt)*] $type:ty, $this:ident => $socket:expr) => {
        impl<$($generics)*> ErrorType for $type {
            type Error = NalError;
        }

        impl<$($generics)*> nal::UdpReceive for $type {
            async fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), NalError> {
                let $this = self;
                $socket.take(buffer).await
            }
        }

        impl<$($generics)*> nal::UdpSend for $type {
            async fn send(&mut self, remote: SocketAddr, data: &[u8]) -> Result<(), NalError> {
                let $this = self;
                $socket.give(remote, data).await
            }
        }

        impl<$($generics)*> nal::Readable for $type {
            /// Always ready: a datagram cannot be looked at without being taken, so the receive
            /// that follows does the waiting.
            async fn readable(&mut self) -> Result<(), NalError> {
                Ok(())
            }
        }

        impl<$($generics)*> nal::MulticastV4 for $type {
            async fn join_v4(&mut self, group: Ipv4Addr, _: Ipv4Addr) -> Result<(), NalError> {
                let $this = self;
                Ok($socket.udp.join(IpAddr::V4(group))?)
            }

            async fn leave_v4(&mut self, group: Ipv4Addr, _: Ipv4Addr) -> Result<(), NalError> {
                let $this = self;
                Ok($socket.udp.leave(IpAddr::V4(group))?)
            }
        }

        impl<$($generics)*> nal::MulticastV6 for $type {
            async fn join_v6(&mut self, group: Ipv6Addr, _: u32) -> Result<(), NalError> {
                let $this = self;
                Ok($socket.udp.join(IpAddr::V6(group))?)
            }

            async fn leave_v6(&mut self, group: Ipv6Addr, _: u32) -> Result<(), NalError> {
                let $this = self;
                Ok($socket.udp.leave(IpAddr::V6(group))?)
            }
        }
    };
}

datagrams!([U: Udp] Datagrams<U>, this => this);
datagrams!(['h, U: Udp] Half<'h, U>, this => this.0);

impl<U: Udp> nal::UdpSplit for Datagrams<U> {
    type Receive<'a> = Half<'a, U>;
    type Send<'a> = Half<'a, U>;

    fn split(&mut self) -> (Half<'_, U>, Half<'_, U>) {
        (Half(self), Half(self))
    }
}

impl<U: Udp> nal::UdpSplitMulticast for Datagrams<U> {
    type MulticastV4<'a> = Half<'a, U>;
    type MulticastV6<'a> = Half<'a, U>;

    fn split_multicast(&mut self) -> (Half<'_, U>, Half<'_, U>, Half<'_, U>, Half<'_, U>) {
        (Half(self), Half(self), Half(self), Half(self))
    }
}

impl<S: Stack> nal::Dns for Nal<S> {
    type Error = NalError;

    async fn get_host_by_name(&self, host: &str, kind: nal::AddrType) -> Result<IpAddr, NalError> {
        let family = match kind {
            nal::AddrType::IPv4 => AddressFamily::V4,
            nal::AddrType::IPv6 => AddressFamily::V6,
            nal::AddrType::Either => AddressFamily::Any,
        };
        let found = self.0.resolve(host, family).await?;
        found
            .first()
            .copied()
            .ok_or(NalError::Stack(StackError::NameNotFound))
    }

    /// A stack looks up addresses only: always [`StackError::NameNotFound`].
    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, NalError> {
        Err(StackError::NameNotFound.into())
    }
}

//! A listening TCP port as applications hold it.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use mirage_device::{Listener, StackError};

use crate::connection::{Listening, Parting};
use crate::flow::TcpFlow;
use crate::slots::Id;
use crate::state::{Shared, overlap};

/// A listening TCP port. The contract is [`Listener`]'s.
///
/// A connection counts towards the backlog from its first SYN until it is accepted. When the
/// backlog is full, a half-open connection older than three seconds makes room for a new one;
/// where there is none the SYN is dropped and the peer tries again. A half-open connection whose
/// peer never answers is forgotten after fifteen seconds. So a flood of SYNs holds at most
/// `backlog` sockets, and never for long.
pub struct TcpListener {
    shared: Rc<Shared>,
    id: Id,
    local: SocketAddr,
}

impl TcpListener {
    pub(crate) fn new(
        shared: &Rc<Shared>,
        local: SocketAddr,
        backlog: usize,
    ) -> Result<Self, StackError> {
        let mut state = shared.state();
        let local = shared.place(&state, local, &|local| {
            let mut all = state.listeners.iter();
            all.any(|(_, listening)| overlap(listening.local, local))
        })?;
        let id = state.listeners.insert(Listening::new(local, backlog));
        Ok(Self {
            shared: shared.clone(),
            id,
            local,
        })
    }
}

impl Listener for TcpListener {
    type Flow = TcpFlow;

    fn local(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> Result<TcpFlow, StackError> {
        poll_fn(|cx| {
            let mut state = self.shared.state();
            if let Some(id) = state.accept(self.id) {
                return Poll::Ready(Ok(TcpFlow::new(&self.shared, id)));
            }
            if state.gone {
                return Poll::Ready(Err(StackError::Gone));
            }
            if let Some(listening) = state.listeners.get_mut(self.id) {
                listening.wait(cx.waker());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.shared.part(Parting::Listener(self.id));
    }
}

//! A listening TCP port as applications hold it.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use mirage_device::{Listener, StackError};

use crate::connection::{Listening, Parting};
use crate::flow::TcpFlow;
use crate::slots::Id;
use crate::state::{Shared, State, canonical, overlap};

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
        let mut local = canonical(local);
        let mut state = shared.state();
        check_local(&state, local)?;
        let taken = |port| {
            let local = SocketAddr::new(local.ip(), port);
            state
                .listeners
                .iter()
                .any(|(_, listening)| overlap(listening.local, local))
        };
        if local.port() == 0 {
            local.set_port(shared.ephemeral(taken)?);
        } else if taken(local.port()) {
            return Err(StackError::AddressInUse);
        }
        let id = state.listeners.insert(Listening::new(local, backlog));
        Ok(Self {
            shared: shared.clone(),
            id,
            local,
        })
    }
}

/// A local address must be unspecified or the stack's own.
pub(crate) fn check_local(state: &State, local: SocketAddr) -> Result<(), StackError> {
    if state.gone {
        Err(StackError::Gone)
    } else if local.ip().is_unspecified() || state.is_own(local.ip()) {
        Ok(())
    } else {
        Err(StackError::InvalidAddress)
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

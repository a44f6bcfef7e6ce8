//! A non-blocking kernel socket that the platform watches.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use mirage_runtime::Runtime;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::host::Host;
use crate::poller::Source;

pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) source: Rc<Source>,
    pub(crate) runtime: Runtime<Host>,
}

impl Socket {
    /// A new socket; nothing is known of it yet.
    pub(crate) fn new(
        runtime: &Runtime<Host>,
        family: AddressFamily,
        kind: SocketType,
    ) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        Self::watch(runtime, socket_with(family, kind, flags, None)?)
    }

    /// Takes over a non-blocking socket.
    pub(crate) fn watch(runtime: &Runtime<Host>, fd: OwnedFd) -> Result<Self, Errno> {
        let source = runtime.platform().poller.add(&fd)?;
        Ok(Self {
            fd,
            source,
            runtime: runtime.clone(),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.runtime.platform().poller.remove(&self.source);
    }
}

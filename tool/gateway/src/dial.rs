//! A connection that the kernel is opening for the guest.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, socket_with, sockopt,
};

use smoltcp::time::Instant;

use crate::packet::Ends;
use crate::poller::{Poller, Source};
use crate::table::Id;

pub(crate) struct Dial {
    pub(crate) ends: Ends,
    pub(crate) host: OwnedFd,
    /// The guest's SYN, answered when the kernel has its answer.
    pub(crate) syn: Vec<u8>,
    /// Where else to try, the next one last.
    targets: Vec<SocketAddr>,
    /// When it is given up.
    pub(crate) deadline: Instant,
}

impl Dial {
    /// As long as most systems try before they give a connection up.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

    /// Starts with the last of `targets`; `None` when none of them can even be tried.
    pub(crate) fn start(
        poller: &Poller,
        id: Id,
        ends: Ends,
        syn: &[u8],
        mut targets: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Option<Self> {
        let host = next(poller, id, &mut targets)?;
        Some(Self {
            ends,
            host,
            syn: syn.to_vec(),
            targets,
            deadline,
        })
    }

    /// What the kernel says: connected, failed for good, or nothing yet.
    pub(crate) fn result(&mut self, poller: &Poller, id: Id) -> Option<bool> {
        match sockopt::socket_error(&self.host) {
            Ok(Ok(())) if matches!(getpeername(&self.host), Ok(Some(_))) => Some(true),
            Ok(Ok(())) => None,
            _ => match next(poller, id, &mut self.targets) {
                Some(host) => {
                    self.host = host;
                    None
                }
                None => Some(false),
            },
        }
    }
}

fn next(poller: &Poller, id: Id, targets: &mut Vec<SocketAddr>) -> Option<OwnedFd> {
    while let Some(target) = targets.pop() {
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(host) = socket_with(family, SocketType::STREAM, flags, None) else {
            continue;
        };
        match connect(&host, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(_) => continue,
        }
        if poller.add_edges(&host, Source::Dial(id)).is_ok() {
            return Some(host);
        }
    }
    None
}

//! What every part of the gateway works with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use smoltcp::time::Instant;

use crate::address::{Policy, Route};
use crate::link::Link;
use crate::poller::Poller;

/// For so long after its first frame a guest may refuse a published port because it does not
/// listen yet.
const BOOTING: Duration = Duration::from_secs(2);

pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) poller: Poller,
    pub(crate) now: Instant,
    pub(crate) policy: Policy,
    pub(crate) resolvers: Vec<SocketAddr>,
    /// When the guest sent its first frame.
    pub(crate) first_frame: Option<Instant>,
    pub(crate) guest_v4: Option<Ipv4Addr>,
    pub(crate) guest_v6: Option<Ipv6Addr>,
    /// The published ports that the guest has answered at, by their place.
    pub(crate) answered: Vec<bool>,
}

impl Core {
    /// Where the guest is reached: over IPv4 when it has it.
    pub(crate) fn guest(&self, port: u16) -> Option<SocketAddr> {
        let address: IpAddr = match (self.guest_v4, self.guest_v6) {
            (Some(address), _) => address.into(),
            (None, Some(address)) => address.into(),
            (None, None) => return None,
        };
        Some(SocketAddr::new(address, port))
    }

    /// The addresses to try, in order, for what the guest calls `far`; `None` when it may not.
    pub(crate) fn targets(&self, far: SocketAddr) -> Option<Vec<SocketAddr>> {
        match self.policy.route(far) {
            Route::NameServer => Some(self.resolvers.clone()),
            Route::Host(address) => Some(vec![address]),
            Route::Forbidden => None,
        }
    }

    /// A refusal at this published port may be that of a guest that is still booting.
    pub(crate) fn may_retry(&self, place: usize) -> bool {
        !self.answered.get(place).copied().unwrap_or(true)
            && self
                .first_frame
                .is_some_and(|first| self.now < first + BOOTING.into())
    }
}

//! Published connections on their way to the guest.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use smoltcp::socket::tcp::State;
use smoltcp::wire::IpEndpoint;

use super::{Change, Ended, FIRST_PORT, MAX_DIALS, MAX_FLOWS, Owner, Tcp};
use crate::address::{GATEWAY_V4, GATEWAY_V6};
use crate::core::Core;
use crate::flow::Connection;
use crate::packet::Ends;
use crate::table::Id;

impl Tcp {
    /// Carries a connection that came through a published port to the guest.
    pub(crate) fn open(&mut self, core: &mut Core, host: OwnedFd, place: usize, to: SocketAddr) {
        let mut connection = self.spare.pop().unwrap_or_else(Connection::new);
        connection.renew();
        let Some(ends) = self.free_ends(to) else {
            return self.changes.push(Change::Refused(place));
        };
        match self.insert(core, ends, host, connection, Some(place)) {
            Some(id) => self.connect(core, id),
            None => {
                core.link.counters.no_room += 1;
                self.changes.push(Change::Refused(place));
            }
        }
    }

    /// Ends towards `guest` that nobody has.
    fn free_ends(&mut self, guest: SocketAddr) -> Option<Ends> {
        let gateway: IpAddr = match guest {
            SocketAddr::V4(_) => GATEWAY_V4.into(),
            SocketAddr::V6(_) => GATEWAY_V6.into(),
        };
        // There are fewer flows than ports: this ends.
        for _ in 0..=MAX_FLOWS + MAX_DIALS {
            let ends = Ends {
                guest,
                far: SocketAddr::new(gateway, self.next_port),
            };
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.owners.contains_key(&ends) {
                return Some(ends);
            }
        }
        None
    }

    fn connect(&mut self, core: &mut Core, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let (guest, far) = (flow.ends.guest, flow.ends.far);
        // A guest that is still looking for its neighbours loses its answers.
        let patience = Duration::from_millis(20 << flow.retry.attempts.min(4));
        flow.retry.refused = false;
        flow.retry.at = match flow.published {
            Some(place) if core.may_retry(place) => Some(core.now + patience.into()),
            _ => None,
        };
        let local = IpEndpoint::new(far.ip().into(), far.port());
        let remote = IpEndpoint::new(guest.ip().into(), guest.port());
        let socket = flow.connection.renew();
        if socket
            .connect(self.interface.context(), remote, local)
            .is_err()
        {
            self.end(core, id, Ended::Refused);
        } else {
            self.enqueue(id);
        }
    }

    /// The guest refused a connection. One that has only just booted may not have come to listen
    /// yet: it is asked again.
    pub(super) fn refused(&mut self, core: &mut Core, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let retry = flow.published.is_some_and(|place| core.may_retry(place));
        if !retry {
            return self.end(core, id, Ended::Refused);
        }
        let delay = Duration::from_millis(1 << flow.retry.attempts.min(5));
        flow.retry.refused = true;
        flow.retry.at = Some(core.now + delay.into());
        self.schedule(core.now, id);
    }

    pub(super) fn retry(&mut self, core: &mut Core, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.retry.at = None;
        // It has been answered just now, or others have: then this one only waits for its turn.
        let unanswered = flow.connection.socket().state() == State::SynSent
            && flow.published.is_some_and(|place| core.may_retry(place));
        if !flow.retry.refused && !unanswered {
            return self.enqueue(id);
        }
        let guest = flow.ends.guest;
        let guest = core.guest(guest.port()).unwrap_or(guest);
        let Some(ends) = self.free_ends(guest) else {
            return self.end(core, id, Ended::Refused);
        };
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        self.owners.remove(&flow.ends);
        flow.ends = ends;
        flow.retry.attempts += 1;
        self.owners.insert(ends, Owner::Flow(id));
        self.connect(core, id);
    }
}

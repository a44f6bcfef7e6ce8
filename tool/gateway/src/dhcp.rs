//! A DHCPv4 server with one lease (RFC 2131).

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use crate::address::{GATEWAY_V4, GUEST_V4, NETMASK_V4};

pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;
/// A lease outlives every run of a gateway: nothing changes, nothing need be renewed.
const LEASE_SECONDS: u32 = 30 * 24 * 3600;

/// An answer, and whether with it the guest has the address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) message: Vec<u8>,
    pub(crate) leased: bool,
}

/// Answers a message of a client: `Err` when it is no DHCP message, `Ok(None)` when it asks for
/// nothing.
pub(crate) fn answer(message: &[u8]) -> Result<Option<Answer>, smoltcp::wire::Error> {
    let packet = DhcpPacket::new_checked(message)?;
    let request = DhcpRepr::parse(&packet)?;
    let kind = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        DhcpMessageType::Request => {
            if request
                .server_identifier
                .is_some_and(|server| server != GATEWAY_V4)
            {
                return Ok(None);
            }
            // In SELECTING and INIT-REBOOT the address is an option, later it is `ciaddr`
            // (RFC 2131 §4.3.2).
            if request.requested_ip.unwrap_or(request.client_ip) == GUEST_V4 {
                DhcpMessageType::Ack
            } else {
                DhcpMessageType::Nak
            }
        }
        _ => return Ok(None),
    };
    let inform = request.message_type == DhcpMessageType::Inform;
    let granted = kind != DhcpMessageType::Nak;
    let lease = granted && !inform;
    let reply = DhcpRepr {
        message_type: kind,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: request.client_ip,
        your_ip: if lease {
            GUEST_V4
        } else {
            std::net::Ipv4Addr::UNSPECIFIED
        },
        server_ip: GATEWAY_V4,
        router: granted.then_some(GATEWAY_V4),
        subnet_mask: granted.then_some(NETMASK_V4),
        relay_agent_ip: std::net::Ipv4Addr::UNSPECIFIED,
        broadcast: request.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(GATEWAY_V4),
        parameter_request_list: None,
        dns_servers: granted.then(|| std::iter::once(GATEWAY_V4).collect()),
        max_size: None,
        lease_duration: lease.then_some(LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut message = vec![0; reply.buffer_len()];
    reply.emit(&mut DhcpPacket::new_unchecked(&mut message[..]))?;
    Ok(Some(Answer {
        message,
        leased: lease && kind == DhcpMessageType::Ack,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::EthernetAddress;
    use std::net::Ipv4Addr;

    fn ask(
        kind: DhcpMessageType,
        requested: Option<Ipv4Addr>,
        server: Option<Ipv4Addr>,
    ) -> Vec<u8> {
        let request = DhcpRepr {
            message_type: kind,
            transaction_id: 7,
            secs: 0,
            client_hardware_address: EthernetAddress([2, 0, 0, 0, 0, 1]),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: requested,
            client_identifier: None,
            server_identifier: server,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let mut bytes = vec![0; request.buffer_len()];
        request
            .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
            .unwrap();
        bytes
    }

    fn kind_of(message: &[u8]) -> (DhcpMessageType, Ipv4Addr) {
        let packet = DhcpPacket::new_checked(message).unwrap();
        let reply = DhcpRepr::parse(&packet).unwrap();
        assert_eq!(reply.transaction_id, 7);
        (reply.message_type, reply.your_ip)
    }

    #[test]
    fn a_client_is_offered_the_address_and_gets_it() {
        let offer = answer(&ask(DhcpMessageType::Discover, None, None))
            .unwrap()
            .unwrap();
        assert_eq!(kind_of(&offer.message), (DhcpMessageType::Offer, GUEST_V4));
        assert!(!offer.leased);
        let request = ask(DhcpMessageType::Request, Some(GUEST_V4), Some(GATEWAY_V4));
        let ack = answer(&request).unwrap().unwrap();
        assert_eq!(kind_of(&ack.message), (DhcpMessageType::Ack, GUEST_V4));
        assert!(ack.leased);
    }

    #[test]
    fn a_client_that_wants_another_address_is_told_no() {
        let request = ask(
            DhcpMessageType::Request,
            Some(Ipv4Addr::new(10, 0, 2, 99)),
            None,
        );
        let nak = answer(&request).unwrap().unwrap();
        assert_eq!(
            kind_of(&nak.message),
            (DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED)
        );
        assert!(!nak.leased);
    }

    #[test]
    fn a_client_that_chose_another_server_is_left_alone() {
        let other = Some(Ipv4Addr::new(10, 0, 2, 3));
        let request = ask(DhcpMessageType::Request, Some(GUEST_V4), other);
        assert_eq!(answer(&request), Ok(None));
        assert_eq!(answer(&ask(DhcpMessageType::Release, None, None)), Ok(None));
        assert!(answer(b"not a message").is_err());
    }
}

//! A user-mode network gateway: at one end of a socket pair it is a unikernel's whole network, at
//! the other end stand ordinary sockets of the host's kernel. It needs no privilege.
//!
//! ```no_run
//! use mirage_gateway::{Config, Event, Gateway};
//! use std::os::fd::OwnedFd;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.publish.push("8080:80".parse()?);
//! // A port in use is an error here, before anything starts.
//! let gateway = Gateway::bind(config)?;
//! let stop = gateway.stop_handle();
//! # let link: OwnedFd = unimplemented!();
//! std::thread::spawn(move || gateway.run(link, |event| println!("{event:?}")));
//! stop.stop();
//! # Ok(())
//! # }
//! ```
//!
//! The guest sees an Ethernet with one neighbour, the gateway:
//!
//! | what | IPv4 | IPv6 |
//! |---|---|---|
//! | gateway: router, name server, ping | 10.0.2.2 | fd00::2 (fe80::2) |
//! | guest | 10.0.2.15/24 by DHCP, or any fixed address of 10.0.2.0/24 | of fd00::/64 by SLAAC |
//!
//! Each message on the pair (`SOCK_SEQPACKET`) is a `virtio_net_hdr` of ten bytes and a frame. TCP
//! segments of up to 64 KiB pass uncut in both directions and no TCP checksum is computed: the
//! link is memory.
//!
//! What the gateway never does: reach the host's own services for the guest unless
//! [`Config::allow_host`] is set; grow beyond fixed bounds, whatever frames the guest sends; wake
//! up while nothing happens.

#![forbid(unsafe_code)]

mod address;
mod core;
mod counters;
mod device;
mod dhcp;
mod dial;
mod dns;
mod flow;
mod gateway;
mod link;
mod neighbour;
mod packet;
mod poller;
mod publish;
mod resolv;
mod run;
mod table;
mod tcp;
mod udp;

pub use address::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, PREFIX_V4, PREFIX_V6};
pub use counters::Counters;
pub use gateway::{BindError, Config, Event, Gateway, Stop};
pub use publish::{Protocol, Publish, PublishError};

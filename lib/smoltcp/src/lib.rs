//! A TCP/IP stack for unikernels, on smoltcp.
//!
//! [`Smoltcp`] provides [`Stack`](mirage_device::Stack): TCP and UDP over IPv4 and IPv6 with static addresses, DHCP
//! and router advertisements, ICMP echo, multicast, and a DNS client. Nothing of smoltcp shows.
//!
//! ```
//! use mirage_device::{Counters, Entropy, Listener, Net, Sleep, Spawn, Stack};
//! use mirage_smoltcp::{Keys, Smoltcp};
//!
//! # type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;
//! async fn greet(
//!     net: impl Net,
//!     sleep: impl Sleep,
//!     spawn: impl Spawn,
//!     entropy: impl Entropy,
//!     counters: impl Counters,
//! ) -> Result<()> {
//!     let keys = Keys::default();
//!     let stack = Smoltcp::new(net, sleep, spawn, entropy, counters, "stack", keys).await?;
//!     let mut listener = stack.listen("[::]:80".parse()?, 128)?;
//!     let flow = listener.accept().await?;
//!     Ok(())
//! }
//! ```
//!
//! How it is built:
//!
//! - smoltcp looks at every socket it is given for every packet. Here each connection is given to
//!   it alone, found by its addresses and ports, and its timers stand in one heap: the cost of a
//!   packet does not grow with the number of connections.
//! - A connection's socket is made when its SYN arrives: that is the backlog smoltcp lacks.
//! - Every frame's lengths and checksums are verified before smoltcp sees it, so that every drop
//!   is counted by its cause, with the [`Counters`](mirage_device::Counters) it was given.
//! - One task moves frames. It takes what there is, lets the tasks that woke run, and then sends
//!   for those that have something to send. With nothing to do it waits without a timer.
//!
//! What it never does: send or reassemble fragments, connect to its own addresses, or wait on
//! anything but the devices it was given.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod checksum;
mod configuration;
mod connection;
mod counters;
mod dns;
mod driver;
mod endpoint;
mod flow;
mod frame;
mod keys;
mod listener;
mod pool;
mod port;
mod reply;
mod slaac;
mod slots;
mod stack;
mod state;
mod tcp;
mod tuples;
mod udp;

pub use flow::{TcpFlow, TcpReader, TcpWriter};
pub use keys::{Error, Keys};
pub use listener::TcpListener;
pub use stack::Smoltcp;
pub use udp::UdpSocket;

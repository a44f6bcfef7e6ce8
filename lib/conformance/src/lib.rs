//! The contracts of the device interfaces as executable suites, sentence by sentence.
//!
//! What a provider of an interface promises stands in the documentation of `mirage-device`. Here
//! each of those sentences stands once more, word for word, as a constant beside the code that
//! checks it; a test of this crate fails when the two differ, or when a sentence is neither
//! checked nor listed with the reason why no test can. A report quotes the sentence that a
//! provider breaks.
//!
//! A provider of one's own is checked in its own tests, in a few lines. This wall clock counts
//! from a time given at boot:
//!
//! ```
//! use core::time::Duration;
//! use mirage_device::{Clock, Instant, Wall};
//! use mirage_sim::World;
//!
//! #[derive(Clone)]
//! struct Counted<C> { clock: C, booted: Instant, start: Duration }
//!
//! impl<C: Clock> Wall for Counted<C> {
//!     fn wall(&self) -> Option<Duration> {
//!         Some(self.start + (self.clock.now() - self.booted))
//!     }
//! }
//!
//! let simulation = World::new(0);
//! let start = Duration::from_secs(1_700_000_000);
//! let wall = Counted { clock: simulation.clone(), booted: Instant::ZERO, start };
//! let check = mirage_conformance::wall::check(&wall, &simulation, Some(start));
//! let report = simulation.block_on(check);
//! report.assert();
//! ```
//!
//! Each suite is a function `check` in the module of its interface: [`clock`], [`sleep`],
//! [`wall`], [`spawn`], [`entropy`], [`console`], [`counters`], [`net`], [`block`], [`flow`], [`stack`]
//! (with [`listener`] and [`udp`]) and [`assets`]. It takes the device, whatever else the rig has
//! (the other end of a wire, a second stack), and a [`Sleep`](mirage_device::Sleep) that is taken
//! to be right: it ends what would wait for ever, so that a suite never hangs. On simulated time
//! a suite takes milliseconds. What a rig cannot show is reported as not applicable, never as
//! passed.
//!
//! There is no global state, no thread, no `std` and no `unsafe`: a suite runs inside an image as
//! it does in a test.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod assets;
pub mod block;
pub mod clock;
pub mod console;
pub mod counters;
pub mod entropy;
pub mod flow;
pub mod listener;
pub mod net;
mod report;
mod sentence;
pub mod sleep;
pub mod spawn;
pub mod stack;
pub mod udp;
pub mod wall;
mod watch;

pub use report::{Report, Verdict};
pub use sentence::{Aspect, Contract, Sentence};

/// The contract of every interface, in the order of the book.
pub const CONTRACTS: &[Contract] = &[
    console::CONTRACT,
    clock::CONTRACT,
    sleep::CONTRACT,
    wall::CONTRACT,
    entropy::CONTRACT,
    spawn::CONTRACT,
    net::CONTRACT,
    stack::CONTRACT,
    listener::CONTRACT,
    udp::CONTRACT,
    flow::CONTRACT,
    block::CONTRACT,
    assets::CONTRACT,
    counters::CONTRACT,
];

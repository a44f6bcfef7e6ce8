//! What runs a unikernel's tasks: one thread, one queue, one call that waits.
//!
//! A [`Runtime`] owns a [`Platform`](mirage_device::Platform) and turns what that offers into the
//! device interfaces: [`Console`], [`Timer`], [`Wall`], [`Spawner`], [`Entropy`], [`Net`],
//! [`Block`] and [`counters()`]. [`Runtime::block_on`] is the main loop: run the tasks that are ready, fire the
//! timers that are due, and when nothing is left to do, wait for a device or the next timer.
//! Idle costs no processor time.
//!
//! Nothing here is global: hundreds of runtimes can live in one program, which is how many
//! unikernels are simulated in one test. There is no `unsafe`, no thread and no system call.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod block;
mod counters;
mod devices;
mod executor;
mod failure;
pub mod log;
mod net;
mod queue;
mod readiness;
mod task;
mod timer;
mod wheel;

pub use block::Block;
pub use counters::counters;
pub use devices::{Console, Entropy, MissingDevice, Wall};
pub use executor::{Main, Runtime, Turn};
pub use failure::{Failure, Outcome};
pub use net::Net;
pub use task::{JoinHandle, Spawner};
pub use timer::{Alarm, Timer};

#[cfg(test)]
mod testing;

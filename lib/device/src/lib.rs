//! The device interfaces of a unikernel, with their contracts.
//!
//! An application asks for interfaces; a provider implements them; the two meet only here.
//! Every method says whether it **waits** or **returns at once**, whether it is **cancel-safe**
//! (dropping its future before it completes loses nothing and leaves the device usable), who
//! **owns** a buffer, what is **durable** when it returns, and which errors are **final** (the
//! device or flow will never work again).
//!
//! ```
//! use mirage_device::{Console, Sleep};
//! use core::time::Duration;
//!
//! // An application is generic over what it is given, so it runs on any platform, and in a test.
//! pub async fn run(console: impl Console, sleep: impl Sleep) {
//!     for _ in 0..3 {
//!         console.write(b"tick\n");
//!         sleep.sleep(Duration::from_secs(1)).await;
//!     }
//! }
//! ```
//!
//! Two rules hold for every interface and are not repeated:
//!
//! - A unikernel is one thread. Handles are not `Send`; a future never moves between threads.
//! - A method that waits lets every other task run. A method that returns at once never does.
//!
//! [`platform::Platform`] is the other side: the one door through which all inputs come.
//! Nothing here performs I/O, allocates behind the caller's back, or knows a protocol.

#![no_std]
#![forbid(unsafe_code)]
// A unikernel is one thread: the futures of these traits need no `Send` bound.
#![allow(async_fn_in_trait)]

extern crate alloc;

mod assets;
mod block;
mod console;
mod counters;
mod entropy;
mod flow;
#[cfg(feature = "nal")]
pub mod nal;
mod net;
pub mod platform;
mod spawn;
mod stack;
mod time;

pub use assets::{Asset, Assets, Encoding};
pub use block::{Block, BlockError, BlockInfo};
pub use console::Console;
pub use counters::{Counter, Counters, Sample, Tally};
pub use embedded_io_async as io;
pub use entropy::{Entropy, EntropyError};
pub use flow::{Flow, FlowError, FlowRead, FlowWrite};
pub use net::{ChecksumStart, Net, NetError, NetInfo, Received, Segmentation, Transmit};
pub use platform::Platform;
pub use spawn::{Spawn, Task};
pub use stack::{AddressFamily, Cidr, Listener, Stack, StackError, Udp};
pub use time::{Clock, Instant, Sleep, Wall};

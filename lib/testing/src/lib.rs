//! For tests of applications and libraries: a runtime whose clock jumps to the next
//! deadline when nothing else is left to do, and a TCP/IP stack that lives in memory.
//!
//! A test that waits for an hour of simulated time takes microseconds and gives the same answer
//! every time; one in which everybody waits for nothing panics at once instead of hanging.
//!
//! ```
//! use core::time::Duration;
//! use mirage_device::{Clock, Sleep, Spawn};
//! use mirage_testing::Simulation;
//!
//! let simulation = Simulation::new();
//! let task = simulation.spawn({
//!     let simulation = simulation.clone();
//!     async move { simulation.sleep(Duration::from_secs(3600)).await }
//! });
//! simulation.block_on(task);
//! assert_eq!(simulation.now().as_nanos(), 3_600_000_000_000);
//! ```

#![forbid(unsafe_code)]

mod flow;
mod simulation;
mod stack;

pub use flow::{MemoryFlow, MemoryReader, MemoryWriter, pair};
pub use simulation::{Simulation, World};
pub use stack::{MemoryListener, MemoryStack, MemoryUdp, Network};

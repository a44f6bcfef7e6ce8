//! Irmin's own storage engine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod check;
mod collect;
mod flush;
mod format;
mod load;
mod names;
mod pack;
mod scan;
mod storage;
mod sync;
mod table;
mod write;

pub use check::Report;
pub use collect::Collected;
pub use format::{MAX_SEGMENT, MIN_SEGMENT};
pub use load::Damage;
pub use pack::Pack;
#[cfg(feature = "std")]
pub use storage::Files;
pub use storage::{Device, OnDevice, Ram, Storage};

/// Bytes of a segment where nothing else is asked for.
pub const SEGMENT: u64 = 32 << 20;

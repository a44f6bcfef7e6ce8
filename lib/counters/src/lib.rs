//! The counters of a unikernel: a table of numbers with names, in memory that the outside may
//! read while the unikernel runs.
//!
//! ```
//! use mirage_counters::{Snapshot, Table};
//!
//! let table = Table::new(None);
//! let frames = table.counter("net", "frames_received_total");
//! frames.add(2);
//! table.counter("stack", "frames_dropped_total{cause=\"checksum\"}").add(1);
//!
//! let snapshot = Snapshot::read(&table.bytes()).unwrap();
//! let seen: Vec<_> = snapshot.samples().map(|s| (s.device, s.name, s.value)).collect();
//! assert_eq!(seen, [
//!     ("net", "frames_received_total", 2),
//!     ("stack", "frames_dropped_total{cause=\"checksum\"}", 1),
//! ]);
//! ```
//!
//! A counter belongs to a device and has a name in the manner of Prometheus: `a-z`, `0-9` and
//! `_`, and behind it at most one label, `{cause="checksum"}`. A name that ends in `_total`
//! before the label is of a counter, which only goes up; any other is of a gauge.
//!
//! # Layout
//!
//! [`LEN`] words of 64 bits, little-endian. There are [`SLOTS`] slots, in use from
//! the first on; a slot never changes hands.
//!
//! | words | what |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | [`VERSION`] |
//! | 2 | how many slots are in use |
//! | 3 | how many counters found no slot |
//! | 4 to 7 | zero |
//! | 8 + n | slot n: the value |
//! | 8 + [`SLOTS`] + 12 n | slot n: bytes of the device's name; bytes of the counter's name, times 256 |
//! | ... 4 words | the device's name, padded with zeros |
//! | ... 7 words | the counter's name, padded with zeros |
//!
//! The writer fills a slot before it counts it. [`Snapshot::read`] trusts nothing: the table may
//! be a hostile unikernel's.
//!
//! Nothing here is `unsafe` or performs I/O. A count is one addition in memory.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod layout;
mod prometheus;
mod snapshot;
mod table;

pub use layout::{LEN, MAGIC, MAX_DEVICE, MAX_NAME, SLOTS, Sample, VERSION};
pub use prometheus::Prometheus;
pub use snapshot::{Snapshot, TableError};
pub use table::{Counter, Table, Tally};

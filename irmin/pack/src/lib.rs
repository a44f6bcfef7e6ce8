//! Irmin's own storage engine: append-only segments of records, each with a checksum.
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use irmin::{Backend, Expect, Format, Kind, Object, RefEdit, RefName};
//! use irmin_pack::{Files, Pack};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let store = Pack::create(Files::open(directory.path())?, Format::Native)?;
//! let hello = Object::new(Format::Native, Kind::Blob, &b"hello"[..]).unwrap();
//! store.write(&[hello.clone()])?;
//! let main = RefName::branch("main").unwrap();
//! let edit = RefEdit { name: main.clone(), expect: Expect::Missing, new: Some(hello.id) };
//! store.update(&[edit]).unwrap();
//! store.flush()?;
//! drop(store);
//!
//! let store = Pack::open(Files::open(directory.path())?)?;
//! assert_eq!(store.head(&main)?, Some(hello.id));
//! # }
//! # Ok::<(), irmin::BackendError>(())
//! ```
//!
//! A [`Pack`] is a [`Backend`](irmin::Backend) over a [`Storage`]: [`Files`] in a directory, [`Ram`],
//! or [`OnDevice`] over a block device. Objects and moves of names are records of one log, so that
//! whatever a power cut leaves of it is a state that was: a beginning of the log, with everything that
//! was flushed. One flush serves all who wait for one. Where an object lies is found in a table in
//! memory, 16 bytes an object, filled from the segments' indexes. What is before a commit is found in an
//! index of commits, some 50 bytes a commit in memory once it is asked for. [`Pack::collect`] drops what no name
//! leads to, compresses history and gives segments back while others write; [`Pack::check`] reads every
//! byte, and [`Pack::repair`] saves what is whole.
//!
//! It never writes over what is flushed (but for a segment's second sector, when it is full, and for
//! what a power cut left torn), starts no thread, reads no clock, and lets one process at a time write to a store. Others read
//! beside it: [`Pack::open_read`] follows the log.
//!
//! # Format
//!
//! Numbers are little-endian. A *segment* is a file `00000000.seg` or a slot of a device; all segments
//! of a store have one size at most, between 64 KiB and 128 MiB.
//!
//! | bytes of a segment | |
//! |---|---|
//! | 0..4096 | header; the fields below, then zeros |
//! | 4096..8192 | the same again; when the segment is full its seal, in one write |
//! | 8192..E | records, each at a multiple of 8, one after the other |
//! | E..E+16n | the index, once the segment is sealed |
//!
//! | header and seal | |
//! |---|---|
//! | 0..8 | `irminpk1`; in the seal `irminse1` |
//! | 8 | format: 1 Git SHA-1, 2 Git SHA-256, 3 native |
//! | 12..16 | bytes of a segment |
//! | 16..24 | *stamp* of the segment |
//! | 24..32 | stamp of the segment written before it; 0 for the first |
//! | 32..44 | a point that was durable when the segment was begun: stamp of a segment (8), offset in it (4) |
//! | 44..48 | seal: E; else 0 |
//! | 48..52 | seal: n |
//! | 52..56 | seal: CRC-32 of the index |
//! | 56..60 | the *salt* of the store |
//! | 60..64 | 0 |
//! | 64..68 | CRC-32 of bytes 0..64 |
//!
//! | record | |
//! |---|---|
//! | 0..4 | CRC-32 of the rest, payload included, begun from salt exclusive or (offset in the segment / 8) |
//! | 4..8 | bytes of payload |
//! | 8..16 | stamp |
//! | 16 | 1 part of an object, 2 names that moved, 3 list of all names, 4 opening, 5 block of objects, 6 chapter of the index of commits |
//! | 17 | of a part: 1 blob, 2 tree, 3 commit, 4 tag; of a list: 1 if another record goes on with it |
//! | 18 | of a part: bytes of the id |
//! | 20..24 | of a part: its number; of 2 and 4: offset of a durable point; of a block: its objects; of a chapter: its rows |
//! | 24..32 | of a part: bytes of the whole object; of 2 and 4: stamp of a durable point; of a chapter: number of its first row (4), edition (4) |
//! | 32..64 | of a part: the id, then zeros |
//! | 64.. | payload, then zeros up to a multiple of 8 |
//!
//! An object is cut into parts of an eighth of a segment, at most 1 MiB; its first part, number 0, is
//! written last. A block is a list and then a raw deflate stream of the bytes of all its objects, one
//! after the other, at most 64 KiB of them; the list has for each object its key (8), length (3) and
//! kind (1). Ids are not in it: whoever looks for an object hashes what has its key.
//!
//! The chapters of one edition are one list of rows, the edition that began last counts, and what is in
//! no row is read. A row is a commit's id, its generation (4) and its parents (4), which are rows before
//! it: `0x7fffffff` for none, the row of the only one, or `0x80000000` and where in the list of numbers
//! behind the chapter's rows its parents begin, the last of which has the top bit set.
//!
//! The payload of names is, for each: length of the name (2), of the id (1; 0 if the
//! name was deleted), the name, the id. A segment begins with a list of all names.
//!
//! An entry of the index is a key (8): the first 8 bytes of the id, big-endian, exclusive or the
//! part's number times `0x9e3779b97f4a7c15`; and a place (8): from the top 20 bits without meaning on
//! disk (the slot in memory), 24 bits offset / 8, 2 bits (0 a first part, 1 a block, which has an entry
//! for each of its objects, 2 a later part, 3 a chapter, of which the key is bytes 24..32 of its record),
//! 18 bits length / 8.
//!
//! # Why a power cut is harmless
//!
//! - The log is the segments in the order of their stamps, and in each the records whose checksum and
//!   stamp are right, up to the first that is not. A segment counts only if all of the one before it
//!   does, or if something says that that one was durable (it was collected then). So what survives
//!   is a beginning of the log.
//! - A stamp is the number of an opening (high half) and of a segment in it (low half). Before the
//!   first write of an opening, and after any write that failed, a record or segment with a new opening
//!   is written where the log ends and flushed. What lost writes left behind that place has an older
//!   stamp, and is never taken for part of the log.
//! - Records and headers say what was durable. If that cannot be read it is damage and not the end of
//!   the log, and opening refuses. What was flushed last is noted by the next move of a name, or when
//!   the store is closed.
//! - Garbage is freed once what was moved is flushed, and a record that says so too; and a slot is used
//!   again once its freeing is flushed. Freeing on a device is one sector of zeros.
//! - A header whose copy is there, and an index whose segment is whole, may be torn. Unless something
//!   says that they were durable that is no damage, and they are written again before all else.
//! - After a flush that failed nothing is written until the store is opened again.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod block;
mod check;
mod collect;
mod commits;
mod flush;
mod follow;
mod format;
mod history;
mod load;
mod mark;
mod names;
mod pack;
mod read;
mod scan;
mod storage;
mod sync;
mod table;
mod write;

pub use check::Report;
pub use collect::{Collected, References};
pub use format::{MAX_SEGMENT, MIN_SEGMENT, segment_size};
pub use load::Damage;
pub use pack::Pack;
#[cfg(feature = "std")]
pub use storage::Files;
pub use storage::{Device, OnDevice, Ram, Storage};

/// Bytes of a segment where nothing else is asked for.
pub const SEGMENT: u64 = 32 << 20;

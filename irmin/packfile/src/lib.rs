//! Git's pack format (gitformat-pack(5)) as streams over [`std::io`]: many objects in one sequence of
//! bytes, whole or as deltas, with a checksum at the end. No files, no threads.
//!
//! ```
//! use irmin::{Backend, Format, Kind, Memory, Object};
//! use irmin_packfile::{GiveOptions, PackStore, TakeOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ours = Memory::new(Format::GitSha1);
//! let note = Object::new(ours.format(), Kind::Blob, &b"hello\n"[..])?;
//! ours.write(&[note.clone()])?;
//! let mut pack = Vec::new();
//! ours.give_pack(&[note.id], &mut pack, GiveOptions::default())?;
//!
//! let theirs = Memory::new(Format::GitSha1);
//! let taken = theirs.take_pack(&mut pack.as_slice(), TakeOptions::default())?;
//! assert_eq!((taken.objects, theirs.contains(&note.id)?), (1, true));
//! # Ok(())
//! # }
//! ```
//!
//! [`PackStore`] is what a store does with packs, and every [`Backend`](irmin::Backend) can do it by
//! what is here already. [`Reader`] and [`Writer`] are the format itself, [`encode_index`] the index
//! that Git keeps beside a pack; [`delta`] and [`zlib`] are the layers below.
//!
//! A pack from somewhere else is hostile until proven otherwise: sizes and counts that it claims cost
//! nothing before bytes have come, [`Limits`] bound the rest, deltas that lead in a circle end as
//! bases that are missing, and every object is named by its own bytes.
//!
//! Packs of a store of the native format are the same with native objects and SHA-256; Git takes
//! none of them.

#![forbid(unsafe_code)]

pub mod delta;
mod entry;
mod error;
mod give;
mod hash;
mod index;
mod read;
mod store;
mod take;
mod write;
pub mod zlib;

pub use entry::{Base, Header, MAX_DEPTH, Parsed};
pub use error::PackError;
pub use hash::Hasher;
pub use index::{Place, encode_index, push_table};
pub use read::{Entry, Reader};
pub use store::{GiveOptions, Given, Limits, PackStore, Progress, Stage, TakeOptions, Taken};
pub use write::{Writer, Written};

//! What is sealed in an image: its devices, and the keys of its command line.
//!
//! The devices stand in an ELF note, so that a tender knows before the start what the image will
//! use. An image lays the note down at compile time; a tender and the tool read it back with
//! [`Manifest::parse`], which believes nothing and checks everything.
//!
//! ```
//! use mirage_manifest::{Device, Kind, Manifest, Note, note_len};
//!
//! const DEVICES: &[Device] = &[Device::new(Kind::Net, "net"), Device::new(Kind::Block, "disk")];
//!
//! // An image adds `#[unsafe(link_section = ".note.mirage")]` and `#[used]`.
//! static NOTE: Note<{ note_len(DEVICES) }> = Note::new(DEVICES);
//!
//! let manifest = Manifest::parse(NOTE.as_bytes()).unwrap();
//! assert!(manifest.devices().eq(DEVICES.iter().copied()));
//! ```
//!
//! The feature `keys` adds the module `keys`: what `NAME=VALUE` on a command line may say,
//! judged by the tool before the start and by the image at boot, in the same words.
//!
//! Nothing here performs I/O; without the feature nothing here allocates.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "keys")]
extern crate alloc;

mod device;
#[cfg(feature = "keys")]
pub mod keys;
mod note;
mod parse;

pub use device::{Device, Kind, MAX_DEVICES, MAX_NAME};
pub use note::{Note, OWNER, SECTION, TYPE, VERSION, note_len};
pub use parse::{Devices, Manifest, ManifestError};

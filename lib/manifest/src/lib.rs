//! What is sealed in an image: its devices.
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
//! Nothing here performs I/O or allocates.

#![no_std]
#![forbid(unsafe_code)]

mod device;
mod note;
mod parse;

pub use device::{Device, Kind, MAX_DEVICES, MAX_NAME};
pub use note::{Note, OWNER, SECTION, TYPE, VERSION, note_len};
pub use parse::{Devices, Manifest, ManifestError};

//! A folder that becomes part of an image: packed on the developer's machine, read in place.
//!
//! `pack::pack` (feature `pack`) writes a folder into one file, the same bytes for the same
//! folder on every machine; text is there a second time, compressed, where that pays. [`Sealed`]
//! reads that file where it lies in the image: nothing is copied or allocated at boot, and a
//! file is found by one hash of its path.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("sealed");
//! # let site = folder.path().join("site");
//! # std::fs::create_dir(&site)?;
//! use mirage_assets::Sealed;
//! use mirage_device::Assets;
//!
//! // On the developer's machine:
//! std::fs::write(site.join("index.html"), "<p>Hello")?;
//! mirage_assets::pack::pack(&site, &out)?;
//!
//! // In the image:
//! let bytes: &'static [u8] = std::fs::read(&out)?.leak();
//! let assets = Sealed::new(bytes)?;
//! let page = assets.get("index.html").unwrap();
//! assert_eq!(page.bytes, b"<p>Hello");
//! assert_eq!(page.media_type, "text/html; charset=utf-8");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "pack")]
extern crate std;

mod format;
#[cfg(feature = "pack")]
mod media;
#[cfg(feature = "pack")]
pub mod pack;
mod sealed;

pub use sealed::{Sealed, SealedError};

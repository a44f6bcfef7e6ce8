//! What makes a crate an image: one static ELF file without libc.
//!
//! A generated crate is one call of [`image!`], with `#![no_std]` and `#![no_main]` before it,
//! and this crate's feature `sealed`:
//!
//! ```text
//! #![no_std]
//! #![no_main]
//!
//! mirage_image::image! {
//!     devices: [("net", Net)],
//!     keys: [("port", U16, Some("80"), false, "TCP port to serve on")],
//!     main: |runtime, keys| async move {
//!         let net = runtime.check("net", mirage_runtime::Net::new(runtime.clone(), "net"))?;
//!         let port = runtime.check("port", keys.get("port"))?;
//!         runtime.finish(website::main(net, website::Keys { port }).await)
//!     }
//! }
//! ```
//!
//! The feature defines what an ordinary program has from std and libc: the entry point, the
//! panic handler, the global allocator, `memcpy` and its family. Without it the crate is an
//! ordinary library, whose tests run on the host.
//!
//! This package's build script hands over the link arguments, which name the link script; the
//! generated crate's build script passes them on:
//!
//! ```no_run
//! // build.rs
//! let arguments = std::env::var("DEP_MIRAGE_IMAGE_LINK_ARGS").unwrap();
//! for argument in arguments.split(';') {
//!     println!("cargo::rustc-link-arg-bins={argument}");
//! }
//! ```
//!
//! That, a profile with `panic = "abort"`, and `cargo build --release --target
//! x86_64-unknown-linux-gnu` (with a target, so that build scripts are spared) make an image.
//! `lto = "fat"`, `codegen-units = 1` and `opt-level = 3` make it small and fast.
//!
//! An image never has a page that is both writable and executable, never unwinds, has one thread
//! and maps no memory but its arena, on whose start its stack lies, and what it shares with whoever
//! started it. It has the same addresses in every run.

#![no_std]

extern crate alloc;

#[cfg(any(test, feature = "sealed"))]
mod backtrace;
mod boot;
mod heap;
#[cfg(any(test, feature = "sealed"))]
mod memory;
#[cfg(feature = "sealed")]
mod sealed;
mod stack;
mod tape;
mod text;

pub use boot::{Image, boot};
pub use tape::Tape;

#[doc(hidden)]
pub mod macro_support {
    pub use mirage_keys::{KeySpec, KeyType};
    pub use mirage_manifest::{Device, Kind, Note, note_len};
    pub use mirage_process::Start;
}

/// Makes the crate an image: seals its devices, and runs `main` when it is started.
///
/// - `devices`: name and [`Kind`](mirage_manifest::Kind) of each, in the order of their numbers.
/// - `keys`: name, [`KeyType`](mirage_keys::KeyType), default, whether it is required,
///   and what it is for.
/// - `main`: `FnOnce(Runtime<Image>, Keys<'static>) -> impl Future<Output = Result<(), Failure>>`.
#[macro_export]
macro_rules! image {
    (
        devices: [$(($device:expr, $kind:ident)),* $(,)?],
        keys: [$(($key:expr, $type:ident, $default:expr, $required:expr, $doc:expr $(,)?)),* $(,)?],
        main: $main:expr $(,)?
    ) => {
        // A block of its own: what is named here meets no name of the crate.
        const _: () = {
            const MIRAGE_DEVICES: &[$crate::macro_support::Device<'static>] = &[$(
                $crate::macro_support::Device::new($crate::macro_support::Kind::$kind, $device)
            ),*];

            const MIRAGE_KEYS: &[$crate::macro_support::KeySpec<'static>] = &[$(
                $crate::macro_support::KeySpec {
                    name: $key,
                    kind: $crate::macro_support::KeyType::$type,
                    default: $default,
                    required: $required,
                    doc: $doc,
                }
            ),*];

            // The section is the image's manifest: a tender reads it before the start.
            #[used]
            #[unsafe(link_section = ".note.mirage")]
            static MIRAGE_NOTE: $crate::macro_support::Note<
                { $crate::macro_support::note_len(MIRAGE_DEVICES) },
            > = $crate::macro_support::Note::new(MIRAGE_DEVICES);

            // The entry point in mirage-image jumps here. Not every `main` needs both parameters.
            #[allow(unused_variables)]
            #[unsafe(no_mangle)]
            fn mirage_image_main(start: $crate::macro_support::Start) -> ! {
                $crate::boot(start, MIRAGE_DEVICES, MIRAGE_KEYS, $main)
            }
        };
    };
}

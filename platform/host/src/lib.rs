//! The platform of an ordinary program: kernel sockets, files and a clock, for a quick look at a
//! unikernel or a debugger.
//!
//! A generated crate is one call of [`program!`], of the same shape as that of an image:
//!
//! ```no_run
//! use mirage_device::Console as _;
//!
//! mirage_host::program! {
//!     devices: [],
//!     keys: [("name", String, Some("world"), false, "Whom to greet")],
//!     main: |runtime, keys| async move {
//!         let name: &str = runtime.check("name", keys.get("name"))?;
//!         let console = mirage_runtime::Console::new(runtime.clone());
//!         runtime.finish(console.write(format!("hello {name}\n").as_bytes()))
//!     }
//! }
//! ```
//!
//! What a tender gives an image, the environment gives a program:
//!
//! - `MIRAGE_PUBLISH=127.0.0.1:8080=80/tcp,0.0.0.0:5353=53/udp`: where the ports that the
//!   unikernel asks for are opened. A port that is not listed is opened under its own number and
//!   on 127.0.0.1 alone, so nothing is exposed by accident.
//! - `MIRAGE_COUNTERS=FILE`: a file in which the unikernel's counters are shown.
//! - `MIRAGE_BLOCK_disk=FILE` or `FILE,ro`: the file of the block device `disk`.
//!
//! [`Stack`] is the provider of the interface `stack`. A program has the rights of whoever starts
//! it: nothing here is a sandbox. There are no network devices.

#![deny(unsafe_code)]

mod block;
mod console;
mod error;
mod flow;
mod host;
mod listener;
mod poller;
mod publish;
mod resolve;
mod shown;
mod socket;
mod stack;
mod start;
mod udp;

pub use block::{BlockFile, BlockFileError};
pub use flow::{TcpFlow, TcpReader, TcpWriter};
pub use host::{Host, Options};
pub use listener::TcpListener;
pub use publish::{Protocol, PublishError, Published};
pub use stack::Stack;
pub use start::start;
pub use udp::UdpSocket;

#[doc(hidden)]
pub mod macro_support {
    pub use mirage_keys::{KeySpec, KeyType};
    pub use mirage_manifest::{Device, Kind};
}

/// Defines `main`: runs the unikernel when the program is started.
///
/// - `devices`: name and [`Kind`](mirage_manifest::Kind) of each, in the order of their numbers.
/// - `keys`: name, [`KeyType`](mirage_keys::KeyType), default, whether it is required,
///   and what it is for.
/// - `main`: `FnOnce(Runtime<Host>, Keys<'static>) -> impl Future<Output = Result<(), Failure>>`.
#[macro_export]
macro_rules! program {
    (
        devices: [$(($device:expr, $kind:ident)),* $(,)?],
        keys: [$(($key:expr, $type:ident, $default:expr, $required:expr, $doc:expr $(,)?)),* $(,)?],
        main: $main:expr $(,)?
    ) => {
        // Not every `main` needs both parameters.
        #[allow(unused_variables)]
        fn main() {
            const DEVICES: &[$crate::macro_support::Device<'static>] = &[$(
                $crate::macro_support::Device::new($crate::macro_support::Kind::$kind, $device)
            ),*];
            const KEYS: &[$crate::macro_support::KeySpec<'static>] = &[$(
                $crate::macro_support::KeySpec {
                    name: $key,
                    kind: $crate::macro_support::KeyType::$type,
                    default: $default,
                    required: $required,
                    doc: $doc,
                }
            ),*];
            $crate::start(DEVICES, KEYS, $main)
        }
    };
}

//! The simulated world: many unikernels, virtual time, networks and disks that fail, one seed.
//!
//! A unikernel's own main function runs here unchanged, on a machine with the devices that it
//! asks for. A day of virtual time passes as fast as what happens in it can be computed; the same
//! seed gives the same run, to the last bit.
//!
//! ```
//! use std::time::Duration;
//! use mirage_device::{Net as _, Sleep as _, Transmit};
//! use mirage_runtime::{Net, Timer};
//! use mirage_sim::{Weather, World};
//!
//! mirage_sim::explore(0..3, |world| {
//!     let lan = world.network("lan");
//!     lan.set_weather(Weather { loss: 0.5, ..Weather::default() });
//!     world.machine("beacon").net("net", &lan).start(|runtime| async move {
//!         let net = Net::new(runtime.clone(), "net").unwrap();
//!         for _ in 0..100 {
//!             net.send(&[0xff; 60], Transmit::default()).unwrap();
//!             Timer::new(runtime.clone()).sleep(Duration::from_secs(1)).await;
//!         }
//!     });
//!     world.machine("listener").net("net", &lan).start(|_| std::future::pending::<()>());
//!     world.run_for(Duration::from_secs(200));
//!     assert!((20..80).contains(&world.frames()));
//! });
//! ```
//!
//! - [`World`] makes machines ([`World::machine`]), networks ([`World::network`]) and disks
//!   ([`World::disk`]), and lets time go on ([`World::run_for`]).
//! - [`unikernel!`] is a machine's program, of the shape that the tool generates.
//! - [`Faults`] are drawn from the seed; [`explore`] runs a scenario for many seeds, makes a
//!   failing run smaller and prints the command that repeats it.
//! - [`memory`] is a TCP/IP stack without frames, for tests of what stands above one.
//!
//! What it never does: sleep, ask a real clock, or use a thread. A machine computes in no time:
//! what takes long on a processor takes none here.

#![forbid(unsafe_code)]

mod dice;
mod disk;
mod events;
mod failure;
mod faults;
mod kept;
mod logger;
mod machine;
pub mod memory;
mod network;
mod platform;
mod search;
mod unikernel;
mod world;

pub use disk::{Disk, Medium};
pub use failure::{Cause, Failure};
pub use faults::Faults;
pub use machine::{Builder, Machine};
pub use network::{Network, Weather};
pub use platform::{Hardware, Sim};
pub use search::{Found, Run, explore, repeat, search};
pub use unikernel::Unikernel;
pub use world::World;

#[doc(hidden)]
pub mod macro_support {
    pub use mirage_keys::{KeySpec, KeyType};
    pub use mirage_manifest::{Device, Kind};
}

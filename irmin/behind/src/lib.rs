//! A store on storage that is asynchronous: a unikernel's block device, a browser's database.
//!
//! Irmin is synchronous, and such storage is not. So the store lives in memory, and what changes is
//! written behind it: [`Behind`] is a [`Backend`](irmin::Backend) that answers at once,
//! [`Driver::run`] brings its changes to a [`Block`] device, and [`Behind::durable`] waits until they
//! are there.
//!
//! ```
//! use irmin::{Info, Repo, Signature};
//! use irmin_behind::{Behind, OpenError, Options};
//! use mirage_device::{Block, Spawn, Task};
//! # use std::sync::Arc;
//!
//! async fn keep(disk: impl Block, spawn: impl Spawn) -> Result<(), Box<dyn std::error::Error>> {
//!     let (store, mut driver) = Behind::open(disk, &Options::default()).await?;
//!     spawn.spawn(async move { driver.run().await; }).detach();
//!
//!     let store = Arc::new(store);
//!     let main = Repo::new(store.clone()).branch("main")?;
//!     let who = Signature::new("Ada", "ada@example.org", 1_429_538_400, 0);
//!     main.change(&Info::new(who, "Greet"), |edit| edit.set("greeting", "hello"))?;
//!     store.durable().await?; // now it survives a power cut
//!     Ok(())
//! }
//! ```
//!
//! # How it works
//!
//! The store is an `irmin_pack::Pack` on an image of the device in memory. The engine writes an
//! append-only log and knows one barrier, the flush; whatever is left of the log after a power cut is
//! a state that was. So nothing more is needed than to let the device follow the image in order:
//! pages that changed are collected until the engine flushes or the driver is ready for more; that is
//! a *batch*; the driver writes a batch, flushes the device, and only then begins the next. What a
//! power cut leaves is what the engine would have left on a device of its own at an earlier moment,
//! and heads never reach the device before their objects. Checksums, collection of garbage, checking
//! and repair are the engine's. While one batch is being flushed, all that is written gathers in the
//! next: many writers share one flush.
//!
//! # What it costs
//!
//! - **Memory**: every segment in use is held whole, and what is not yet persisted once more, at most
//!   [`Options::backlog`] bytes and a batch.
//! - **Opening** reads every segment in use.
//! - [`Backend::flush`](irmin::Backend::flush) cannot wait here: it sets a barrier, and what came
//!   before it is durable when [`Behind::durable`] says so.
//!
//! It never starts a task, sleeps or looks at a clock: the caller runs the driver, and decides when to
//! run it again after the device failed.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod backend;
mod behind;
mod driver;
mod image;
mod open;

pub use behind::{Behind, Durable, Room};
pub use driver::Driver;
pub use open::{LEAST_SIZE, OpenError, Options};

// For the documentation above.
#[allow(unused_imports)]
use mirage_device::Block;

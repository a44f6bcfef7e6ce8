//! The store, as its users hold it.

use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Poll};

use irmin::BackendError;
use irmin_pack::{Collected, OnDevice, Pack, Report};

use crate::image::{Image, Shared};

/// A store in memory that is persisted behind, see the [crate]'s page.
///
/// It answers at once. What it acknowledged is lost with the process unless it was
/// [`durable`](Behind::durable).
pub struct Behind {
    pub(crate) pack: Pack<OnDevice<Shared>>,
    pub(crate) image: Arc<Image>,
    parts: Parts,
}

/// How the device is divided, and how much may wait.
pub struct Parts {
    pub slots: u32,
    pub segment: u64,
    pub backlog: usize,
}

impl Behind {
    pub(crate) fn new(pack: Pack<OnDevice<Shared>>, image: Arc<Image>, parts: Parts) -> Behind {
        Behind { pack, image, parts }
    }

    /// Waits until all that was written and moved before this call survives a loss of power.
    ///
    /// Cancel-safe: dropping the future loses nothing but the knowledge.
    ///
    /// # Errors
    /// Why the driver ended, or that it was dropped: whether it is durable is not known, and it may
    /// become so when the driver runs again.
    pub fn durable(&self) -> Durable {
        Durable {
            image: self.image.clone(),
            upto: self.image.written(),
        }
    }

    /// Waits until half of what may wait to be persisted is free again; returns at once where it is.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`durable`](Behind::durable).
    pub fn room(&self) -> Room {
        Room {
            image: self.image.clone(),
            most: self.parts.backlog / 2,
        }
    }

    /// Bytes that wait to be persisted, in whole pages.
    pub fn backlog(&self) -> usize {
        self.image.backlog()
    }

    pub(crate) fn check_backlog(&self) -> Result<(), BackendError> {
        let (waiting, most) = (self.image.backlog(), self.parts.backlog);
        if waiting <= most {
            return Ok(());
        }
        Err(BackendError::Full {
            what: alloc::format!(
                "{waiting} bytes wait to be persisted, and at most {most} may; wait for room"
            ),
        })
    }

    /// How many segments the device holds.
    pub fn segments(&self) -> u32 {
        self.parts.slots
    }

    /// The bytes of one.
    pub fn segment_size(&self) -> u64 {
        self.parts.segment
    }

    /// How many of them are free. The last two are kept for deleting names and collecting garbage.
    pub fn free_segments(&self) -> u32 {
        let slots = 0..u64::from(self.parts.slots);
        let free = slots.filter(|slot| self.image.is_zero(slot * self.parts.segment));
        free.count() as u32
    }

    /// Drops what no name leads to, and gives back segments that hold little else. Returns when that
    /// is done in memory; it is persisted as all else is.
    ///
    /// What was written since the collection before began is kept, so that two in a row drop
    /// everything unreachable.
    ///
    /// # Errors
    /// [`BackendError`]; `Corrupt` if something reachable is damaged: then nothing was dropped.
    pub fn collect(&self) -> Result<Collected, BackendError> {
        self.pack.collect()
    }

    /// Reads every byte of the store, as it is in memory.
    ///
    /// # Errors
    /// [`BackendError`]; damage is in the report and no error.
    pub fn check(&self) -> Result<Report, BackendError> {
        self.pack.check()
    }
}

/// See [`Behind::durable`].
#[must_use = "it waits when it is awaited"]
pub struct Durable {
    image: Arc<Image>,
    upto: u64,
}

impl Future for Durable {
    type Output = Result<(), BackendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready(self.image.is_durable(self.upto, context))
    }
}

/// See [`Behind::room`].
#[must_use = "it waits when it is awaited"]
pub struct Room {
    image: Arc<Image>,
    most: usize,
}

impl Future for Room {
    type Output = Result<(), BackendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready(self.image.has_room(self.most, context))
    }
}

fn ready<T>(found: Option<T>) -> Poll<T> {
    found.map_or(Poll::Pending, Poll::Ready)
}

//! Stores that take in and give out whole packs.

use std::io::{Read, Write};
use std::sync::Arc;

use irmin::{Backend, Id, Memory};

use crate::PackError;

/// A store that takes in and gives out whole packs.
///
/// What is provided here works with any [`Backend`]; a store whose own files are packs does better.
pub trait PackStore: Backend {
    /// Takes in a pack as it arrives and returns when all its objects are here, those of a thin pack
    /// too, whose deltas stand on objects that are here already. Reads nothing behind the pack, beyond
    /// what came with its last bytes.
    ///
    /// No name moves. Objects are protected from being collected as those of
    /// [`write`](Backend::write) are: until the same thread has moved a name. Whether the objects refer
    /// to what is here is not looked at; that is for whoever moves a name.
    ///
    /// As provided: objects are written in batches as they are known, so that some may be here after
    /// an error; memory is bounded by the largest object and its base, by 40 bytes an object, and by
    /// 256 MiB for deltas that come before their bases.
    ///
    /// # Errors
    /// [`PackError`].
    fn take_pack(&self, pack: &mut dyn Read, options: TakeOptions<'_>) -> Result<Taken, PackError> {
        crate::take::take(self, pack, options)
    }

    /// Writes a pack of exactly these objects, each once, in this order as far as deltas allow, and
    /// flushes `out`.
    ///
    /// As provided: each object is compressed whole. A store that has packs copies what it has.
    ///
    /// # Errors
    /// [`PackError::Missing`] if one of the objects is not here; else what failed. What was written to
    /// `out` before is no pack.
    fn give_pack(
        &self,
        objects: &[Id],
        out: &mut dyn Write,
        options: GiveOptions<'_>,
    ) -> Result<Given, PackError> {
        crate::give::give(self, objects, out, options)
    }
}

impl PackStore for Memory {}

impl<B: PackStore + ?Sized> PackStore for Arc<B> {
    fn take_pack(&self, pack: &mut dyn Read, options: TakeOptions<'_>) -> Result<Taken, PackError> {
        (**self).take_pack(pack, options)
    }

    fn give_pack(
        &self,
        objects: &[Id],
        out: &mut dyn Write,
        options: GiveOptions<'_>,
    ) -> Result<Given, PackError> {
        (**self).give_pack(objects, out, options)
    }
}

/// What a pack from somewhere else may cost at most. The default is for peers that are trusted not to
/// fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many objects it may have; 2^32 - 1 unless set.
    pub objects: u32,
    /// How many bytes one object may have; 2 GiB unless set.
    pub object: u64,
    /// How many bytes may be inflated, deltas and whole objects; 1 TiB unless set. What deltas make of
    /// one another is bounded by this too.
    pub total: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            objects: u32::MAX,
            object: 2 << 30,
            total: 1 << 40,
        }
    }
}

/// How a pack is taken in.
#[derive(Default)]
pub struct TakeOptions<'a> {
    /// What it may cost.
    pub limits: Limits,
    /// Called now and then, from the thread that called.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
}

/// How a pack is given out.
pub struct GiveOptions<'a> {
    /// What the receiver has: with any of these, a thin pack may be made, whose deltas stand on them.
    pub bases: &'a [Id],
    /// Whether the receiver knows deltas that name their base by its place (`ofs-delta`); true unless
    /// set.
    pub offset_deltas: bool,
    /// Called now and then, from the thread that called.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
}

impl Default for GiveOptions<'_> {
    fn default() -> Self {
        GiveOptions {
            bases: &[],
            offset_deltas: true,
            progress: None,
        }
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// How many are done.
    pub done: u64,
    /// Of how many.
    pub all: u64,
    /// How many bytes came or went out in this stage.
    pub bytes: u64,
}

/// What is being done with a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Entries are read or written.
    Entries,
    /// Deltas are applied.
    Deltas,
}

/// What came with a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many objects were in it.
    pub objects: u32,
    /// How many of them were deltas.
    pub deltas: u32,
    /// How many bytes it had.
    pub bytes: u64,
    /// Its checksum as it came.
    pub sum: Id,
}

/// What went out as a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// How many objects are in it.
    pub objects: u32,
    /// How many of them are deltas.
    pub deltas: u32,
    /// How many bytes it has.
    pub bytes: u64,
    /// Its checksum.
    pub sum: Id,
}

/// How many entries go by between two calls of `progress`.
pub(crate) const STEP: u32 = 256;

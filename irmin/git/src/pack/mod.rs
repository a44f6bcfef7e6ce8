//! Packs: many objects in one file, with an index beside it (gitformat-pack(5)).

mod alike;
mod file;
mod gather;
mod index;
mod reverse;
mod windows;
mod write;

pub(crate) use alike::Alike;
pub(crate) use file::{Pack, read_entry};
pub(crate) use gather::Gather;
pub(crate) use reverse::Reverse;
pub(crate) use windows::Windows;
pub(crate) use write::{Built, Finished, Writer};

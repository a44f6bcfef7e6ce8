//! Many objects into one pack, each as a delta for one like it where that is shorter.

use bytes::Bytes;
use irmin::{Format, Id, Kind};

use super::{Alike, Writer};
use crate::error::Result;

/// Adds objects to a pack, finding for each an earlier one that is like it.
///
/// Give the newest first: deltas lead from new to old, as Git's do, and what is read most is whole.
pub(crate) struct Gather {
    writer: Writer,
    alike: Alike,
}

impl Gather {
    pub(crate) fn new(format: Format, writer: Writer) -> Gather {
        let alike = Alike::new(format);
        Gather { writer, alike }
    }

    pub(crate) fn push(&mut self, id: Id, kind: Kind, data: &Bytes) -> Result<()> {
        let Gather { writer, alike } = self;
        let written = alike.tell(id, kind, data, |found| match found {
            Some(found) => writer.delta(id, found.offset, &found.delta),
            None => writer.whole(id, kind, data),
        });
        written.map(drop)
    }

    pub(crate) fn into_writer(self) -> Writer {
        self.writer
    }
}

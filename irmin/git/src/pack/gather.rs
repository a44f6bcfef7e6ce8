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
        let Some(marks) = self.alike.marks(kind, data) else {
            return self.writer.whole(id, kind, data).map(drop);
        };
        let place = match self.alike.find(kind, data, &marks) {
            Some(found) => {
                let offset = self.writer.delta(id, found.offset, &found.delta)?;
                (offset, found.depth)
            }
            None => (self.writer.whole(id, kind, data)?, 0),
        };
        self.alike.note(kind, id, data, marks, place);
        Ok(())
    }

    pub(crate) fn into_writer(self) -> Writer {
        self.writer
    }
}

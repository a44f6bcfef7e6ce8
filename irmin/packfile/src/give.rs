//! A pack of what any store has.

use std::collections::HashSet;
use std::io::Write;

use irmin::{Backend, Id};

use crate::store::STEP;
use crate::zlib::Effort;
use crate::{GiveOptions, Given, PackError, Progress, Stage, Writer};

pub(crate) fn give<B: Backend + ?Sized>(
    store: &B,
    objects: &[Id],
    out: &mut dyn Write,
    mut options: GiveOptions<'_>,
) -> Result<Given, PackError> {
    let mut seen = HashSet::with_capacity(objects.len());
    let objects: Vec<&Id> = objects.iter().filter(|id| seen.insert(**id)).collect();
    let count = u32::try_from(objects.len()).map_err(|_| PackError::TooLarge {
        what: format!("{} objects are too many for one", objects.len()),
    })?;
    let mut writer = Writer::new(out, store.format(), count, Effort::Usual);
    for (at, &id) in objects.iter().enumerate() {
        let object = store.read(id)?.ok_or(PackError::Missing { id: *id })?;
        writer
            .whole(*id, object.kind, &object.data)
            .map_err(PackError::Write)?;
        if let Some(progress) = &mut options.progress
            && ((at as u32).is_multiple_of(STEP) || at + 1 == objects.len())
        {
            progress(Progress {
                stage: Stage::Entries,
                done: at as u64 + 1,
                all: u64::from(count),
                bytes: writer.offset(),
            });
        }
    }
    let written = writer.finish().map_err(PackError::Write)?;
    Ok(Given {
        objects: count,
        deltas: 0,
        bytes: written.length,
        sum: written.sum,
    })
}

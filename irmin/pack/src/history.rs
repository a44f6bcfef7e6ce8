//! Compresses history: collection's second step.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use irmin::BackendError;

use crate::block::{Builder, may_hold};
use crate::format::{Body, HEAD, Place, Stamp, key, push_block, record_len};
use crate::mark::{Group, Mark};
use crate::write::{Slots, Writer};
use crate::{Pack, Storage};

/// A record that may go into a block. In the order in which they are compressed: by group, and in it by
/// age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    group: Group,
    stamp: Stamp,
    offset: u64,
    key: u64,
    place: u64,
}

impl<S: Storage> Pack<S> {
    /// Moves what is history in these segments into blocks, as long as there is room; returns how many
    /// objects that were. Each is at two places until the old one is forgotten, as when a segment is
    /// evacuated.
    pub(crate) fn pack_history(
        &self,
        mark: &Mark,
        slots: &BTreeMap<u32, Stamp>,
    ) -> Result<u64, BackendError> {
        let mut candidates = Vec::new();
        for (key, place) in self.table.read().iter() {
            let plain = !place.is_block() && !place.later_part();
            if plain
                && may_hold(place.len() - HEAD, self.segment)
                && let Some(stamp) = slots.get(&place.slot())
                && let Some(group) = mark.history(key)
            {
                candidates.push(Candidate {
                    group,
                    stamp: *stamp,
                    offset: place.offset(),
                    key,
                    place: place.0,
                });
            }
        }
        candidates.sort_unstable();
        let mut packed = 0;
        let mut rest = &candidates[..];
        while !rest.is_empty() {
            let mut builder = Builder::new(self.segment);
            let mut keys = Vec::new();
            let mut old = Vec::new();
            let mut last = None;
            while let Some((first, after)) = rest.split_first() {
                let place = Place(first.place);
                if let Some(Body::Part {
                    id,
                    kind,
                    part: 0,
                    total,
                    data,
                }) = self.record(place)?.map(|record| record.body)
                    && data.len() as u64 == total
                    && key(&id, 0) == first.key
                {
                    // It may be there twice, if a crash came between a move and the end of it.
                    if last != Some(id) {
                        if !builder.push(first.key, kind, &data) {
                            break;
                        }
                        keys.push(first.key);
                        last = Some(id);
                    }
                    old.push((first.key, place));
                }
                rest = after;
            }
            if keys.is_empty() {
                continue;
            }
            let payload = builder.finish();
            let mut w = self.writer.lock();
            let new = self.append(&mut w, |w| {
                self.push_payload(w, &payload, &keys, Slots::Ordinary)
            });
            let new = match new {
                Ok(new) => new,
                // What is there in vain is still freed by the segment.
                Err(BackendError::Full { .. }) => return Ok(packed),
                Err(error) => return Err(error),
            };
            packed += self.forget(old.into_iter().map(|(key, old)| (key, old, new)));
        }
        Ok(packed)
    }

    /// Forgets where objects of these keys were, if they are where they were moved to; returns how many.
    /// Until then who looks for one finds either.
    pub(crate) fn forget(&self, moves: impl IntoIterator<Item = (u64, Place, Place)>) -> u64 {
        let mut table = self.table.write();
        let mut moved = 0;
        for (key, old, new) in moves {
            if table.contains(key, new) {
                table.remove(key, old);
                moved += 1;
            }
        }
        moved
    }

    /// Appends a block of objects with these keys.
    pub(crate) fn push_payload(
        &self,
        w: &mut Writer,
        payload: &[u8],
        keys: &[u64],
        slots: Slots,
    ) -> Result<Place, BackendError> {
        let len = record_len(payload.len());
        self.room(w, len, keys.len(), slots)?;
        let place = self.note_block(w, keys, len);
        let ink = w.ink();
        push_block(&mut w.buffer, ink, w.stamp, keys.len() as u32, payload);
        Ok(place)
    }
}

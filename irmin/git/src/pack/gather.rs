//! Many objects into one pack, each as a delta for one like it where that is shorter.

use std::collections::HashMap;

use bytes::Bytes;
use irmin::raw::TreeEntries;
use irmin::{Format, Id, Kind};
use irmin_packfile::delta;

use super::{OUR_DEPTH, Writer};
use crate::error::Result;

/// Adds objects to a pack, finding for each an earlier one that is like it.
///
/// Give the newest first: deltas lead from new to old, as Git's do, and what is read most is whole.
pub(crate) struct Gather {
    format: Format,
    writer: Writer,
    like: HashMap<(Kind, u64), Candidate>,
    held: usize,
}

#[derive(Clone)]
struct Candidate {
    offset: u64,
    depth: u8,
    data: Bytes,
}

/// So many bytes are held to be compared with; then it begins anew.
const HELD: usize = 16 << 20;
/// What is shorter is not worth a delta.
const SHORTEST: usize = 64;
/// What is longer is left to `git gc`.
const LONGEST: usize = 1 << 20;

impl Gather {
    pub(crate) fn new(format: Format, writer: Writer) -> Gather {
        Gather {
            format,
            writer,
            like: HashMap::new(),
            held: 0,
        }
    }

    pub(crate) fn push(&mut self, id: Id, kind: Kind, data: &Bytes) -> Result<()> {
        let worth = (SHORTEST..=LONGEST).contains(&data.len());
        let marks = if worth { self.marks(kind, data) } else { None };
        let Some(marks) = marks else {
            return self.writer.whole(id, kind, data).map(drop);
        };
        let found = marks.iter().find_map(|mark| {
            let base = self.like.get(&(kind, *mark))?;
            let delta = (base.depth < OUR_DEPTH)
                .then(|| delta::make(&base.data, data, data.len() / 2))
                .flatten()?;
            Some((base.offset, base.depth + 1, delta))
        });
        let (offset, depth) = match found {
            Some((base, depth, delta)) => (self.writer.delta(id, base, &delta)?, depth),
            None => (self.writer.whole(id, kind, data)?, 0),
        };
        if self.held + data.len() > HELD {
            self.like.clear();
            self.held = 0;
        }
        self.held += data.len();
        for mark in marks {
            let data = data.clone();
            self.like.insert(
                (kind, mark),
                Candidate {
                    offset,
                    depth,
                    data,
                },
            );
        }
        Ok(())
    }

    pub(crate) fn into_writer(self) -> Writer {
        self.writer
    }

    /// Two numbers of which two versions of one directory or text very likely share one: the least
    /// and the greatest among the hashes of its pieces.
    fn marks(&self, kind: Kind, data: &[u8]) -> Option<[u64; 2]> {
        let (mut least, mut greatest, mut pieces) = (u64::MAX, 0, 0);
        let mut see = |number: u64| {
            (least, greatest) = (least.min(number), greatest.max(number));
            pieces += 1;
        };
        match kind {
            // Ids are hashes already.
            Kind::Tree => TreeEntries::new(self.format, data)
                .map_while(std::result::Result::ok)
                .for_each(|entry| see(first_eight(entry.id.as_bytes()))),
            Kind::Blob => data.split(|&byte| byte == b'\n').for_each(|line| {
                see(u64::from(crc32fast::hash(line)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            }),
            Kind::Commit | Kind::Tag => {}
        }
        (pieces >= 4).then_some([least, greatest])
    }
}

fn first_eight(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

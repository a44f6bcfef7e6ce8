//! Finding an earlier object that another one is like, to tell it as a delta.

use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use irmin::raw::TreeEntries;
use irmin::{Format, Id, Kind};
use irmin_packfile::delta;

/// How long a chain we write at most.
const DEPTH: u16 = 50;
/// So many bytes are held to be compared with, twice: then the older half goes.
const HELD: usize = 32 << 20;
/// What is shorter is not worth a delta.
const SHORTEST: usize = 64;
/// What is longer is told whole.
const LONGEST: usize = 8 << 20;

/// The objects written lately, by what is in them.
pub(crate) struct Alike {
    format: Format,
    young: HashMap<(Kind, u64), Candidate>,
    old: HashMap<(Kind, u64), Candidate>,
    held: usize,
}

/// Numbers of which two versions of one directory or text very likely share one: the least and the
/// greatest among the hashes of its pieces, hashed in several ways.
struct Marks(Vec<u64>);

/// Each way has a factor.
const WAYS: [u64; 3] = [1, 0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

#[derive(Clone)]
struct Candidate {
    id: Id,
    offset: u64,
    depth: u16,
    data: Bytes,
}

/// A delta, and the object that it is for.
pub(crate) struct Found {
    pub(crate) base: Id,
    /// Where that one begins.
    pub(crate) offset: u64,
    /// How many deltas lead to the object.
    depth: u16,
    pub(crate) delta: Vec<u8>,
}

impl Alike {
    pub(crate) fn new(format: Format) -> Alike {
        Alike {
            format,
            young: HashMap::new(),
            old: HashMap::new(),
            held: 0,
        }
    }

    /// Whether another may be looked for; the others are best told whole.
    pub(crate) fn may_be(kind: Kind, size: u64) -> bool {
        matches!(kind, Kind::Tree | Kind::Blob)
            && (SHORTEST as u64..=LONGEST as u64).contains(&size)
    }

    /// Has an object written: as a delta for one that was written before, if there is one like it, or
    /// whole. Gives where it begins, as `write` says, and how many deltas lead to it; others may be told by
    /// it from now on.
    pub(crate) fn tell<E>(
        &mut self,
        id: Id,
        kind: Kind,
        data: &Bytes,
        write: impl FnOnce(Option<&Found>) -> Result<u64, E>,
    ) -> Result<(u64, u16), E> {
        let Some(marks) = self.marks(kind, data) else {
            return Ok((write(None)?, 0));
        };
        let found = self.find(kind, data, &marks);
        let place = (write(found.as_ref())?, found.map_or(0, |found| found.depth));
        self.note(kind, id, data, marks, place);
        Ok(place)
    }

    /// `None` for what is best told whole.
    fn marks(&self, kind: Kind, data: &[u8]) -> Option<Marks> {
        if !Alike::may_be(kind, data.len() as u64) {
            return None;
        }
        match kind {
            // Ids are hashes already, and versions of a directory share most of theirs.
            Kind::Tree => {
                let entries = TreeEntries::new(self.format, data).map_while(Result::ok);
                marks(
                    entries.map(|entry| first_eight(entry.id.as_bytes())),
                    &WAYS[..1],
                )
            }
            Kind::Blob => {
                let lines = data.split(|&byte| byte == b'\n');
                let hash = |line| u64::from(crc32fast::hash(line)).wrapping_mul(WAYS[1]);
                marks(lines.map(hash), &WAYS)
            }
            Kind::Commit | Kind::Tag => None,
        }
    }

    /// The shortest delta for an object of these marks, if it is less than half as long.
    fn find(&self, kind: Kind, data: &[u8], marks: &Marks) -> Option<Found> {
        let mut best: Option<Found> = None;
        for mark in &marks.0 {
            let key = (kind, *mark);
            let Some(base) = self.young.get(&key).or_else(|| self.old.get(&key)) else {
                continue;
            };
            if base.depth >= DEPTH || best.as_ref().is_some_and(|best| best.base == base.id) {
                continue;
            }
            let longest = best
                .as_ref()
                .map_or(data.len() / 2, |best| best.delta.len() - 1);
            if let Some(delta) = delta::make(&base.data, data, longest) {
                best = Some(Found {
                    base: base.id,
                    offset: base.offset,
                    depth: base.depth + 1,
                    delta,
                });
            }
        }
        best
    }

    /// Others may be deltas for this object from now on, which begins at `offset` behind so many deltas.
    fn note(
        &mut self,
        kind: Kind,
        id: Id,
        data: &Bytes,
        marks: Marks,
        (offset, depth): (u64, u16),
    ) {
        if self.held + data.len() > HELD {
            self.old = mem::take(&mut self.young);
            self.held = 0;
        }
        self.held += data.len();
        for mark in marks.0 {
            let data = data.clone();
            let candidate = Candidate {
                id,
                offset,
                depth,
                data,
            };
            self.young.insert((kind, mark), candidate);
        }
    }
}

/// The marks of these pieces; `None` if they are too few to tell anything.
fn marks(pieces: impl Iterator<Item = u64>, ways: &[u64]) -> Option<Marks> {
    let mut ends = [(u64::MAX, 0); WAYS.len()];
    let mut count = 0;
    for piece in pieces {
        for (way, (least, greatest)) in ways.iter().zip(&mut ends) {
            let number = piece.wrapping_mul(*way);
            (*least, *greatest) = (number.min(*least), number.max(*greatest));
        }
        count += 1;
    }
    let marks = ends[..ways.len()].iter();
    (count >= 4).then(|| {
        Marks(
            marks
                .flat_map(|(least, greatest)| [*least, *greatest])
                .collect(),
        )
    })
}

fn first_eight(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

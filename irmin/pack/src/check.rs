//! Looks at every byte, and saves what can be saved.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashMap;
use irmin::{Backend, BackendError, Id, RefName};

use crate::block::Block;
use crate::commits::chapter_key;
use crate::follow::TRIES;
use crate::format::{Body, Place, RECORDS, key};
use crate::load::{self, Damage};
use crate::pack::Access;
use crate::scan;
use crate::{Pack, Storage};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Objects that are whole.
    pub objects: u64,
    /// What cannot be read, or is not what its id says.
    pub damage: Vec<Damage>,
    /// Objects of which some parts cannot be read. An object that a collection left behind in a
    /// segment, and that no name leads to, may be among them without harm.
    pub incomplete: Vec<Id>,
    /// Names whose object cannot be read.
    pub dangling: Vec<(RefName, Id)>,
}

impl Report {
    /// Whether nothing that a name points to, and no record, is damaged.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.dangling.is_empty()
    }
}

impl fmt::Display for Report {
    /// How much was looked at, in a line, and each thing that is wrong in one more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects in {} segments", self.objects, self.segments)?;
        for damage in &self.damage {
            write!(f, "\ndamaged: {damage}")?;
        }
        for id in &self.incomplete {
            write!(f, "\nincomplete: {id}")?;
        }
        for (name, id) in &self.dangling {
            write!(f, "\nmissing: {id}, that {name} points to")?;
        }
        Ok(())
    }
}

impl<S: Storage> Pack<S> {
    /// Reads all segments and checks every record's checksum, every object's id, the indexes, and
    /// that every name points to an object. It changes nothing; others may read and write meanwhile.
    ///
    /// Whether trees and commits lead only to what is here is for whoever understands them to check.
    ///
    /// # Errors
    /// What storage says; damage is no error here.
    pub fn check(&self) -> Result<Report, BackendError> {
        let mut report = self.check_once()?;
        // To who follows, a segment that was collected and used again looks damaged until the store is
        // loaded anew. Damage stays.
        for _ in 0..TRIES {
            if self.access != Access::Follow || report.is_sound() {
                break;
            }
            self.reload(&mut self.writer.lock())?;
            let again = self.check_once()?;
            let stays = again == report;
            report = again;
            if stays {
                break;
            }
        }
        Ok(report)
    }

    fn check_once(&self) -> Result<Report, BackendError> {
        let _alone = self.collecting.lock();
        let mut report = Report::default();
        let (torn, segments): (_, Vec<_>) = {
            let w = self.writer.lock();
            let end = |slot| match (&w.active, &w.tail) {
                (_, Some(tail)) if tail.slot == slot => tail.at,
                (Some(active), None) if active.slot == slot => active.at,
                _ => w.segment,
            };
            let segments = w.segments.iter();
            let segments = segments.map(|(slot, segment)| (*slot, segment.clone(), end(*slot)));
            (w.mend.clone(), segments.collect())
        };
        // How many bytes of each object were found, by part; the whole is hashed where it is one part.
        let mut found: HashMap<Id, Parts> = HashMap::new();
        for (slot, segment, end) in segments {
            report.segments += 1;
            // What a power cut left torn before it was durable is no damage: it is mended when
            // something is written.
            let torn = torn.contains(&slot);
            let bytes = scan::bytes(&self.storage, slot, self.segment)?;
            let mut damaged = |offset, end, what: &str| {
                report.damage.push(Damage {
                    slot,
                    offset,
                    end,
                    what: what.into(),
                });
            };
            match crate::format::Header::read(&bytes) {
                Some((header, seal, false))
                    if header == segment.header
                        && (seal == segment.seal || segment.seal.is_none()) => {}
                _ if torn => {}
                _ => damaged(0, RECORDS, "the header or the seal"),
            }
            let end = segment.seal.map_or(end, |seal| u64::from(seal.end));
            let records = bytes.slice(..end as usize);
            let mut at = RECORDS;
            let mut places = BTreeSet::new();
            while at < end {
                let next = scan::next(&records, self.salt, at, segment.header.stamp);
                let from = next.as_ref().map_or(end, |(from, _)| *from);
                if from > at {
                    damaged(at, from, "records");
                }
                let Some((from, record)) = next else { break };
                at = from + record.len as u64;
                if let Body::Block { listed, stream } = &record.body {
                    let place = Place::of_block(slot, from, record.len);
                    places.extend(listed.iter().map(|object| (object.key, place.0)));
                    let block = Block::inflate(listed, stream);
                    let ids = block.iter().flat_map(Block::objects).map(|object| {
                        let (wanted, kind, data) = object;
                        let id = self.format.id(kind, &data).ok();
                        id.filter(|id| key(id, 0) == wanted)
                            .map(|id| (id, data.len() as u64))
                    });
                    let ids: Option<Vec<_>> = ids.collect();
                    for (id, total) in ids.iter().flatten() {
                        let parts = found.entry(*id);
                        parts.or_insert_with(|| Parts::new(*total)).single = true;
                    }
                    if block.is_none() || ids.is_none() {
                        damaged(from, at, "a block of objects");
                    }
                    continue;
                }
                if let Body::Chapter { edition, first, .. } = record.body {
                    let place = Place::of_chapter(slot, from, record.len);
                    places.insert((chapter_key(edition, first), place.0));
                    continue;
                }
                let Body::Part {
                    id,
                    kind,
                    part,
                    total,
                    data,
                } = record.body
                else {
                    continue;
                };
                places.insert((
                    key(&id, part),
                    Place::new(slot, from, part > 0, record.len).0,
                ));
                let parts = found.entry(id).or_insert_with(|| Parts::new(total));
                if data.len() as u64 == total {
                    if self.format.id(kind, &data) != Ok(id) {
                        damaged(from, at, &format!("object {id}: its bytes have another id"));
                    }
                    parts.single = true;
                } else {
                    parts.numbers.insert(part);
                }
            }
            if let (Some(seal), false) = (&segment.seal, torn) {
                let index = load::index(&self.storage, slot, self.segment, seal)?;
                let same = index.is_some_and(|index| {
                    index
                        .iter()
                        .all(|(key, place)| places.contains(&(*key, place.0)))
                        && places.len() <= index.len()
                });
                if !same && at == end {
                    let index_end = end + u64::from(seal.entries) * crate::format::ENTRY as u64;
                    damaged(end, index_end, "the index");
                }
            }
        }
        for (id, parts) in &found {
            let wanted = crate::read::parts(parts.total, self.segment);
            if parts.single {
                report.objects += 1;
            } else if parts.numbers.len() as u64 != u64::from(wanted) {
                report.incomplete.push(*id);
            } else {
                report.objects += 1;
                match self.read(id) {
                    Ok(Some(object)) if self.format.id(object.kind, &object.data) != Ok(*id) => {
                        let place = self.table.read().get(key(id, 0), 0);
                        report.damage.extend(place.map(|place| Damage {
                            slot: place.slot(),
                            offset: place.offset(),
                            end: place.offset() + place.len() as u64,
                            what: format!("object {id}: its bytes have another id"),
                        }));
                    }
                    // Or collected meanwhile, or before.
                    Ok(_) => {}
                    Err(_) => report.incomplete.push(*id),
                }
            }
        }
        report.incomplete.sort_unstable();
        self.check_commits(&mut report.damage)?;
        for (name, id) in self.heads("")? {
            if !matches!(self.read(&id), Ok(Some(_))) {
                report.dangling.push((name, id));
            }
        }
        Ok(report)
    }

    /// Opens a store, however damaged, to see what is left of it: changes nothing, and reads what
    /// [`repair`](Pack::repair) would save. Writing, moving names and collecting are `Refused`. The
    /// report is of all that is damaged.
    ///
    /// # Errors
    /// [`BackendError::Refused`] if no segment can be read; what storage says.
    pub fn inspect(storage: S) -> Result<(Pack<S>, Report), BackendError> {
        let mut pack = Pack::open_or(storage, true)?;
        pack.access = Access::Look;
        let report = pack.check_all()?;
        Ok((pack, report))
    }

    /// Checks, and adds what was found at opening.
    fn check_all(&self) -> Result<Report, BackendError> {
        let mut report = self.check()?;
        for damage in self.damage_at_open() {
            let place = |other: &Damage| (other.slot, other.offset, other.end);
            if !report
                .damage
                .iter()
                .any(|other| place(other) == place(damage))
            {
                report.damage.push(damage.clone());
            }
        }
        Ok(report)
    }

    /// Opens a damaged store and makes it one that opens: moves all that can be read out of damaged
    /// segments and frees them. The report is of what was found before.
    ///
    /// Nothing is invented: an object that cannot be read is gone, so that it can be written again; a
    /// name has the last value that can be read. Names that point to what is gone stay and are in the
    /// report. Copy the store first if what is damaged may be readable by other means.
    ///
    /// # Errors
    /// [`BackendError::Refused`] if there is no store; what storage says.
    pub fn repair(storage: S) -> Result<(Pack<S>, Report), BackendError> {
        let pack = Pack::open_or(storage, true)?;
        let report = pack.check_all()?;
        let damaged: BTreeSet<u32> = report.damage.iter().map(|damage| damage.slot).collect();
        let is_damaged = !damaged.is_empty();
        for slot in damaged {
            pack.evacuate(slot, true)?;
        }
        if is_damaged {
            pack.mend_commits()?;
        }
        Ok((pack, report))
    }
}

/// What was found of an object.
struct Parts {
    total: u64,
    single: bool,
    numbers: BTreeSet<u32>,
}

impl Parts {
    fn new(total: u64) -> Parts {
        Parts {
            total,
            single: false,
            numbers: BTreeSet::new(),
        }
    }
}

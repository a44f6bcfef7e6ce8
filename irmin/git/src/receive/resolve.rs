//! Applying the deltas of a pack, tree by tree.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use irmin::{Id, Kind};
use irmin_packfile::{Limits, MAX_DEPTH, PackError, Progress, Stage, TakeOptions, delta};

use super::entries::{Entries, NONE};
use super::name::Namer;
use crate::file::Temporary;
use crate::pack::read_entry;

/// Objects that one thread holds at once, in bytes: more only if deltas name their bases by id in an
/// order made to hurt.
const HELD: u64 = 1 << 30;
/// With fewer deltas no thread is started.
const FEW: usize = 500;
/// More threads wait for the same file.
const MOST_THREADS: usize = 8;

/// Names all objects that deltas make of what is known, and what stands on those, and so on. `end`:
/// where the pack ends, without its checksum. Begins with the whole objects from number `first` on.
pub(super) fn resolve(
    entries: &mut Entries,
    first: u32,
    file: &Temporary,
    end: u64,
    namer: &Namer,
    options: &mut TakeOptions<'_>,
) -> Result<(), PackError> {
    let roots: Vec<u32> = entries
        .whole()
        .filter(|&at| at >= first && is_base(entries, at, entries.id(at)))
        .collect();
    let all = entries.deltas() as usize;
    let claimed = (0..entries.by_id().len()).map(|_| AtomicBool::new(false));
    let work = Work {
        entries,
        file,
        end,
        namer,
        limits: options.limits,
        roots,
        next: AtomicUsize::new(0),
        claimed: claimed.collect(),
        made: AtomicU64::new(0),
        done: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        named: Mutex::new(Vec::new()),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if all < FEW {
        1
    } else {
        cores.min(MOST_THREADS)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| work.run(&mut || ())))
            .collect();
        let own = work.run(&mut || {
            if let Some(progress) = &mut options.progress {
                progress(Progress {
                    stage: Stage::Deltas,
                    done: work.done.load(Ordering::Relaxed) as u64,
                    all: all as u64,
                    bytes: work.made.load(Ordering::Relaxed),
                });
            }
        });
        let mut results: Vec<_> = others
            .into_iter()
            .map(|other| other.join().expect("it does not panic"))
            .collect();
        results.push(own);
        results.into_iter().collect::<Result<(), PackError>>()
    })?;
    let named = work.named.into_inner().expect(UNPOISONED);
    for (at, id) in named {
        entries.set(at, id);
    }
    Ok(())
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

/// The bases that deltas lack, each once.
pub(super) fn bases(entries: &Entries) -> Vec<Id> {
    let lacking = entries.by_id().iter();
    let lacking = lacking.filter(|(_, at)| entries.id(*at).is_none());
    let mut bases: Vec<Id> = lacking.map(|(base, _)| *base).collect();
    bases.dedup();
    bases
}

fn is_base(entries: &Entries, at: u32, id: Option<Id>) -> bool {
    entries.first(at) != NONE || id.is_some_and(|id| !entries.on(&id).is_empty())
}

/// What the threads share.
struct Work<'a> {
    entries: &'a Entries,
    file: &'a Temporary,
    end: u64,
    namer: &'a Namer<'a>,
    limits: Limits,
    roots: Vec<u32>,
    next: AtomicUsize,
    /// Which of the deltas that name their base by id are being applied: two entries may be the same
    /// object.
    claimed: Vec<AtomicBool>,
    /// Bytes that deltas made.
    made: AtomicU64,
    done: AtomicUsize,
    failed: AtomicBool,
    named: Mutex<Vec<(u32, Id)>>,
}

/// An object on which deltas are still to be applied.
struct Frame {
    kind: Kind,
    data: Vec<u8>,
    depth: usize,
    /// Those that name it by its id, then those by its place.
    by_id: std::ops::Range<usize>,
    by_place: u32,
}

impl Frame {
    fn is_done(&self) -> bool {
        self.by_id.is_empty() && self.by_place == NONE
    }
}

impl Work<'_> {
    fn run(&self, progress: &mut dyn FnMut()) -> Result<(), PackError> {
        let mut named = Vec::new();
        let mut result = Ok(());
        while !self.failed.load(Ordering::Relaxed) {
            let root = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&root) = self.roots.get(root) else {
                break;
            };
            result = self.tree(root, &mut named, progress);
            if result.is_err() {
                self.failed.store(true, Ordering::Relaxed);
                break;
            }
            progress();
        }
        self.named.lock().expect(UNPOISONED).append(&mut named);
        result
    }

    /// Applies all deltas that stand on this whole object.
    fn tree(
        &self,
        root: u32,
        named: &mut Vec<(u32, Id)>,
        progress: &mut dyn FnMut(),
    ) -> Result<(), PackError> {
        let id = self.entries.id(root).expect("what is whole has its id");
        let (kind, data) = match self.read(root)? {
            (irmin_packfile::Base::Whole(kind), data) => (kind, data),
            _ => return Err(self.damaged(root, "it changed while it was read")),
        };
        let mut held = data.len() as u64;
        let mut stack = vec![self.frame(root, &id, kind, data, 0)];
        while let Some(frame) = stack.last_mut() {
            let Some(child) = self.child(frame) else {
                held -= frame.data.len() as u64;
                stack.pop();
                continue;
            };
            let (kind, depth) = (frame.kind, frame.depth + 1);
            if depth > MAX_DEPTH {
                return Err(self.damaged(child, "more than 4095 deltas stand on one another"));
            }
            let (_, made) = self.read(child)?;
            let largest = self.limits.object;
            let data = delta::apply(&frame.data, &made, largest)
                .map_err(|wrong| self.damaged(child, wrong))?;
            let size = data.len() as u64;
            if self.made.fetch_add(size, Ordering::Relaxed) + size > self.limits.total {
                return Err(PackError::TooLarge {
                    what: "its deltas make more bytes than the limit allows".into(),
                });
            }
            if frame.is_done() {
                held -= frame.data.len() as u64;
                stack.pop();
            }
            let id = self.namer.name(kind, &data)?;
            named.push((child, id));
            if self.done.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 {
                progress();
                if self.failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            if is_base(self.entries, child, Some(id)) {
                held += size;
                if held > HELD.max(2 * largest.min(size)) {
                    return Err(PackError::TooLarge {
                        what: "its deltas branch so that too much must be held in memory; \
                               have it sent with deltas by offset"
                            .into(),
                    });
                }
                stack.push(self.frame(child, &id, kind, data, depth));
            }
        }
        Ok(())
    }

    fn frame(&self, at: u32, id: &Id, kind: Kind, data: Vec<u8>, depth: usize) -> Frame {
        Frame {
            kind,
            data,
            depth,
            by_id: self.entries.on(id),
            by_place: self.entries.first(at),
        }
    }

    fn child(&self, frame: &mut Frame) -> Option<u32> {
        for at in frame.by_id.by_ref() {
            let (_, child) = self.entries.by_id()[at];
            // Known from an earlier pass, or another's.
            if self.entries.id(child).is_none() && !self.claimed[at].swap(true, Ordering::Relaxed) {
                return Some(child);
            }
        }
        loop {
            let child = frame.by_place;
            if child == NONE {
                return None;
            }
            frame.by_place = self.entries.next(child);
            if self.entries.id(child).is_none() {
                return Some(child);
            }
        }
    }

    fn read(&self, at: u32) -> Result<(irmin_packfile::Base, Vec<u8>), PackError> {
        let (offset, end) = (self.entries.offset(at), self.entries.end(at, self.end));
        let entry = read_entry(
            self.file.file(),
            self.file.path(),
            offset..end,
            self.namer.format(),
            self.limits.object,
        )?;
        Ok((entry.base, entry.data))
    }

    fn damaged(&self, at: u32, wrong: &'static str) -> PackError {
        PackError::Damaged {
            offset: self.entries.offset(at),
            wrong,
        }
    }
}

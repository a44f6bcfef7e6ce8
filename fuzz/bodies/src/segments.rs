use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use irmin::raw::CommitData;
use irmin::{
    Backend, BackendError, Expect, Format, Info, Kind, Object, RefEdit, RefName, Repo, Signature,
};
use irmin_pack::{MIN_SEGMENT, Pack, Ram, Storage};

use crate::input::Input;

/// Where the records of a segment begin.
const RECORDS: usize = 8192;

/// A store that somebody made to do harm: records, headers and indexes with any contents and the right
/// checksums. It is refused, or opens; every question to it ends; what its check finds sound is so; and
/// what is made of it by repair takes a change that is there when it is opened again.
pub fn segments(input: &[u8]) {
    let mut input = Input::new(input);
    let mut segments = sample().clone();
    for _ in 0..1 + input.below(8) {
        change(&mut input, &mut segments);
    }
    segments.iter_mut().for_each(Segment::sign);
    if let Ok(store) = Pack::open(ram(&segments)) {
        ask(store);
    }
    if let Ok((store, report)) = Pack::inspect(ram(&segments)) {
        assert!(!report.to_string().is_empty());
        read(&store, report.is_sound());
    }
    let disk = Arc::new(ram(&segments));
    let Ok((store, _)) = Pack::repair(disk.clone()) else {
        return;
    };
    let object = Object::new(store.format(), Kind::Blob, &b"new"[..]).expect("no attack");
    let edit = RefEdit {
        name: RefName::branch("new").expect("a name"),
        expect: Expect::Any,
        new: Some(object.id),
    };
    if store.write(std::slice::from_ref(&object)).is_err()
        || store.update(std::slice::from_ref(&edit)).is_err()
    {
        return;
    }
    store.flush().expect("memory");
    drop(store);
    let again = Pack::open(disk).expect("it was repaired");
    assert_eq!(again.head(&edit.name).expect("memory"), edit.new);
    assert_eq!(again.read(&object.id).expect("it is whole"), Some(object));
}

/// Questions about history, and a collection.
fn ask(store: Pack<Ram>) {
    let store = Arc::new(store);
    let repo = Repo::new(store.clone());
    let branches = repo.branches().unwrap_or_default();
    let heads: Vec<_> = (branches.iter())
        .filter_map(|branch| branch.head().ok()?)
        .collect();
    for pair in heads.windows(2) {
        let _ = repo.lcas(&pair[0], &pair[1]);
        let _ = pair[0].has_ancestor(&pair[1]);
        pair[0].log().take(50).for_each(drop);
    }
    let _ = store.collect();
    let _ = store.check();
    let _ = store.commit_index();
}

/// Reads all there is. What is sound has the id that it is asked for by, and the index of commits says
/// what they say.
fn read(store: &Pack<Ram>, is_sound: bool) {
    for id in store.ids("", 500).unwrap_or_default() {
        match store.read(&id) {
            Ok(Some(object)) if is_sound => {
                let found = store.format().id(object.kind, &object.data);
                assert_eq!(found.ok(), Some(id), "other bytes than were asked for");
            }
            Ok(_) | Err(BackendError::Corrupt { .. }) => {}
            Err(error) => panic!("memory can be read: {error}"),
        }
    }
    let Ok(Some(index)) = store.commit_index() else {
        return;
    };
    let mut seen = HashSet::new();
    for row in 0..index.len() {
        let id = index.id(row).expect("a row has an id");
        assert!(seen.insert(id), "a commit is there once");
        let mut parents = Vec::new();
        index.parents(row, &mut parents).expect("it was checked");
        let generation = |row: &u32| index.generation(*row).expect("a row has one");
        assert!(
            parents
                .iter()
                .all(|parent| generation(parent) < generation(&row))
        );
        if is_sound && let Ok(Some(object)) = store.read(&id) {
            let (_, said) =
                CommitData::decode_links(store.format(), &object.data).expect("checked");
            let listed: Vec<_> = (parents.iter())
                .map(|row| index.id(*row).expect("a row"))
                .collect();
            assert_eq!(listed, said);
        }
    }
}

/// A segment, and where the records in it are.
#[derive(Clone)]
struct Segment {
    slot: u32,
    bytes: Vec<u8>,
    records: Vec<usize>,
}

impl Segment {
    fn number(&self, at: usize) -> usize {
        let bytes = self.bytes.get(at..at + 4).unwrap_or(&[0; 4]);
        u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize
    }

    fn new(slot: u32, bytes: Vec<u8>) -> Segment {
        let mut segment = Segment {
            slot,
            bytes,
            records: Vec::new(),
        };
        let mut at = RECORDS;
        while segment.number(at + 8) > 0 || segment.number(at + 12) > 0 {
            segment.records.push(at);
            at += (64 + segment.number(at + 4)).next_multiple_of(8);
        }
        segment
    }

    /// Makes all checksums right.
    fn sign(&mut self) {
        let salt = self.number(56) as u32;
        for at in self.records.clone() {
            let end = at.saturating_add(64).saturating_add(self.number(at + 4));
            if end <= self.bytes.len() {
                let mut hasher = crc32fast::Hasher::new_with_initial(salt ^ (at / 8) as u32);
                hasher.update(&self.bytes[at + 4..end]);
                self.put(at, hasher.finalize());
            }
        }
        let index = self.number(4096 + 44);
        let index = index..index.saturating_add(self.number(4096 + 48).saturating_mul(16));
        if let Some(index) = self.bytes.get(index) {
            let crc = crc32fast::hash(index);
            self.put(4096 + 52, crc);
        }
        for header in [0, 4096] {
            let crc = crc32fast::hash(&self.bytes[header..header + 64]);
            self.put(header + 64, crc);
        }
    }

    fn put(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
}

fn change(input: &mut Input<'_>, segments: &mut [Segment]) {
    const TELLING: [u32; 8] = [
        0,
        1,
        64,
        65536,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 1,
        u32::MAX,
    ];
    let count = segments.len();
    let from = segments[input.below(count)].clone();
    let segment = &mut segments[input.below(count)];
    let index = segment.number(4096 + 44);
    let (start, len) = match input.below(8) {
        0 => (8, 56),
        1 => (4096 + 8, 56),
        2 if index > 0 => (index, 16 * segment.number(4096 + 48)),
        _ => {
            let record = segment.records[usize::from(input.half()) % segment.records.len()];
            // The head more often than what is far behind it.
            let len = 60 + segment.number(record + 4);
            (record + 4, if input.below(2) == 0 { 60 } else { len })
        }
    };
    let at = (start + usize::from(input.half()) % len.max(1)).min(segment.bytes.len() - 64);
    match input.below(6) {
        0 => segment.bytes[at] ^= 1 << input.below(8),
        1 => segment.bytes[at] = input.byte(),
        2 => segment.put(at & !3, TELLING[input.below(8)]),
        3 => segment.put(at & !3, input.half().into()),
        // Another record's id, or anything of its.
        4 => {
            let record = from.records[usize::from(input.half()) % from.records.len()];
            let bytes = &from.bytes[record + 32..(record + 64).min(from.bytes.len())];
            let to = if input.below(2) == 0 { at } else { start + 28 };
            if let Some(to) = segment.bytes.get_mut(to..to + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        }
        _ => {
            let bytes = input.counted();
            let end = (at + bytes.len()).min(segment.bytes.len());
            segment.bytes[at..end].copy_from_slice(&bytes[..end - at]);
        }
    }
}

fn ram(segments: &[Segment]) -> Ram {
    let ram = Ram::default();
    for segment in segments {
        ram.write(segment.slot, 0, &segment.bytes).expect("memory");
    }
    ram
}

/// A small store with all there can be in one: compressed history, an index of commits, an object in
/// several parts, a tag, a segment that is not full.
fn sample() -> &'static Vec<Segment> {
    static SAMPLE: OnceLock<Vec<Segment>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let ram = Arc::new(Ram::default());
        let pack = Pack::create_with(ram.clone(), Format::Native, MIN_SEGMENT);
        let pack = Arc::new(pack.expect("memory"));
        let repo = Repo::new(pack.clone());
        let change = |branch: &str, n: i64| {
            let info = Info::new(Signature::new("Ada", "ada@example.org", n, 0), "Change");
            let branch = repo.branch(branch).expect("a name");
            let changed = branch.change(&info, |edit| {
                edit.set(format!("{}/{n}", n % 3), n.to_string())
            });
            changed.expect("memory")
        };
        for n in 0..20 {
            change("main", n);
        }
        let main = change("main", 20);
        let other = repo.branch("other").expect("a name");
        other.set_head(&main).expect("memory");
        for n in 30..35 {
            change(["main", "other"][n as usize % 2], n);
        }
        let large = Object::new(Format::Native, Kind::Blob, vec![7; 20_000]).expect("no attack");
        let text = format!(
            "object {}\ntype commit\ntag t\ntagger A <a@b> 1 +0000\n\nt\n",
            main.id()
        );
        let tag = Object::new(Format::Native, Kind::Tag, text.into_bytes()).expect("no attack");
        let edits =
            [("refs/tags/t", tag.id), ("refs/heads/large", large.id)].map(|(name, id)| RefEdit {
                name: RefName::new(name).expect("a name"),
                expect: Expect::Any,
                new: Some(id),
            });
        pack.write(&[large, tag]).expect("memory");
        pack.update(&edits).expect("memory");
        for n in 40..42 {
            pack.collect().expect("memory");
            change("main", n);
        }
        drop((repo, pack));
        let slots = ram.used().expect("memory");
        let segment = |slot| {
            let mut bytes = vec![0; MIN_SEGMENT as usize];
            ram.read(slot, 0, &mut bytes).expect("memory");
            Segment::new(slot, bytes)
        };
        slots.into_iter().map(segment).collect()
    })
}

//! Versions of a directory, of which each is read only where it differs from the one before.

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap};
use irmin::raw::{Mode, TreeEntries};
use irmin::{BackendError, Format, Kind, Link, Object};

/// The last directory of each name. What was shown of one need not be shown of the next: most of its
/// entries stand there too, at the beginning and at the end.
#[derive(Default)]
pub(super) struct Runs {
    last: HashMap<u64, Last>,
    names: DefaultHashBuilder,
    held: usize,
}

struct Last {
    data: Bytes,
    /// Where each entry ends.
    ends: Vec<u32>,
}

/// So many bytes are held to be compared with; then it begins anew.
const HELD: usize = 16 << 20;

impl Runs {
    /// What makes a number of a name. Two names of one number cost time, and nothing else.
    pub fn names(&self) -> DefaultHashBuilder {
        self.names.clone()
    }

    /// Shows what a directory refers to, as [`irmin::links`], but for entries that it shares with one
    /// that was shown before.
    pub fn links(
        &mut self,
        format: Format,
        name: u64,
        object: &Object,
        visit: &mut dyn FnMut(Link<'_>),
    ) -> Result<(), BackendError> {
        if !format.is_git() || object.kind != Kind::Tree || object.data.len() > HELD {
            return irmin::links(format, object, &|_| false, visit);
        }
        let data = &object.data;
        let none = Last {
            data: Bytes::new(),
            ends: Vec::new(),
        };
        let last = self.last.remove(&name).unwrap_or(none);
        self.held -= last.size();
        let (mut ends, rest) = last.shared(data);
        let mut at = ends.last().map_or(0, |end| *end as usize);
        for entry in TreeEntries::new(format, &data[at..]) {
            if rest.is_some_and(|(from, _)| from == at) {
                break;
            }
            let entry = entry.map_err(|malformed| BackendError::Corrupt {
                what: format!("{} ({malformed})", object.id),
            })?;
            at += entry.bytes.len();
            ends.push(at as u32);
            if entry.mode != Mode::Module {
                visit(Link {
                    kind: match entry.mode {
                        Mode::Dir => Kind::Tree,
                        _ => Kind::Blob,
                    },
                    id: entry.id,
                    name: entry.name,
                });
            }
        }
        // The entries from there on are the last ones of the other.
        if let Some((from, count)) = rest.filter(|(from, _)| *from == at) {
            let before = last.data.len() - (data.len() - from);
            let same = &last.ends[last.ends.len() - count..];
            ends.extend(
                same.iter()
                    .map(|end| (*end as usize - before + from) as u32),
            );
        }
        let now = Last {
            data: data.clone(),
            ends,
        };
        if self.held + now.size() > HELD {
            self.last.clear();
            self.held = 0;
        }
        self.held += now.size();
        self.last.insert(name, now);
        Ok(())
    }
}

impl Last {
    fn size(&self) -> usize {
        self.data.len() + 4 * self.ends.len()
    }

    /// The ends of entries that `data` begins with too; and where those begin that it ends with too, if
    /// an entry begins there, and how many they are.
    fn shared(&self, data: &[u8]) -> (Vec<u32>, Option<(usize, usize)>) {
        let same = at_start(&self.data, data);
        let first = self.ends.partition_point(|end| *end as usize <= same);
        let ends = self.ends[..first].to_vec();
        let from = ends.last().map_or(0, |end| *end as usize);
        let same = at_end(&self.data[from..], &data[from..]);
        let differs = self.data.len() - same;
        let at = self.ends.partition_point(|end| (*end as usize) < differs);
        let rest = self.ends.get(at).map(|end| {
            let left = self.data.len() - *end as usize;
            (data.len() - left, self.ends.len() - at - 1)
        });
        (ends, rest)
    }
}

/// So many bytes are compared at once.
const STEP: usize = 64;

/// How many bytes are the same at the beginning.
fn at_start(a: &[u8], b: &[u8]) -> usize {
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let whole = STEP * steps.take_while(|(a, b)| a == b).count();
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same at the end.
fn at_end(a: &[u8], b: &[u8]) -> usize {
    let steps = a.rchunks_exact(STEP).zip(b.rchunks_exact(STEP));
    let whole = STEP * steps.take_while(|(a, b)| a == b).count();
    let rest = a[..a.len() - whole].iter().rev();
    let rest = rest.zip(b[..b.len() - whole].iter().rev());
    whole + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use irmin::Id;
    use irmin::raw::push_entry;

    use super::*;

    /// xorshift64*: a run is repeated by its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
        }
    }

    #[test]
    fn all_that_is_new_is_shown_whatever_changes() {
        for format in [Format::GitSha1, Format::GitSha256] {
            for seed in 1..200 {
                let mut random = Random(seed);
                let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
                let mut runs = Runs::default();
                let mut seen = hashbrown::HashSet::new();
                let mut shown = 0;
                for _ in 0..60 {
                    match (random.below(4), entries.len()) {
                        (0, 1..) => drop(entries.remove(random.below(entries.len()))),
                        (1, 1..) => {
                            let at = random.below(entries.len());
                            entries[at].1 = random.below(1000);
                        }
                        _ => {
                            let name = format!("n{}", random.below(300)).into_bytes();
                            entries.retain(|entry| entry.0 != name);
                            entries.push((name, random.below(1000)));
                            entries.sort();
                        }
                    }
                    let mut data = Vec::new();
                    for (name, id) in &entries {
                        // Ids with bytes that look like the end of a name.
                        let mut bytes = vec![0; format.id_len()];
                        bytes[..8].copy_from_slice(&id.to_be_bytes());
                        let id = Id::from_bytes(&bytes).unwrap();
                        push_entry(&mut data, Mode::File, name, &id);
                    }
                    let tree = Object::new(format, Kind::Tree, data).unwrap();
                    let mut add = |link: Link<'_>| {
                        shown += 1;
                        seen.insert(link.id);
                    };
                    runs.links(format, 1, &tree, &mut add).unwrap();
                    irmin::links(format, &tree, &|_| false, &mut |link| {
                        assert!(seen.contains(&link.id), "seed {seed}");
                    })
                    .unwrap();
                    let last = &runs.last[&1];
                    let mut at = 0;
                    let ends = TreeEntries::new(format, &tree.data).map(|entry| {
                        at += entry.unwrap().bytes.len();
                        at as u32
                    });
                    assert_eq!(last.ends, ends.collect::<Vec<u32>>(), "seed {seed}");
                    assert_eq!(runs.held, last.size());
                }
                assert!(shown < 60 * 4, "only what changed, seed {seed}: {shown}");
            }
        }
    }

    #[test]
    fn a_tree_that_breaks_off_in_its_middle_is_an_error() {
        let format = Format::GitSha1;
        let mut data = Vec::new();
        for name in ["a", "b", "c"] {
            let id = Id::from_bytes(&[7; 20]).unwrap();
            push_entry(&mut data, Mode::File, name.as_bytes(), &id);
        }
        let mut runs = Runs::default();
        let mut show = |data: &[u8]| {
            let id = Id::from_bytes(&[1; 20]).unwrap();
            let data = Bytes::copy_from_slice(data);
            let kind = Kind::Tree;
            runs.links(format, 1, &Object { id, kind, data }, &mut |_| {})
        };
        show(&data).unwrap();
        assert!(show(&data[..data.len() - 1]).is_err());
        show(&data).unwrap();
        assert!(show(&data[1..]).is_ok() || show(&data[7..]).is_err());
        show(&[]).unwrap();
    }
}

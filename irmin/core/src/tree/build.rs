//! New pages from old ones and a list of changes.
//!
//! In the native format a page ends where its contents say: after each entry, a hash of its key is
//! held against a threshold that grows with the page. Nothing else decides, so equal contents have
//! equal pages, in whatever order they were written; and after a change the pages soon end where
//! they ended before, so that all others are shared.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cursor::Cursor;
use super::entry::{Content, Entry};
use super::page::{INLINE_MAX, Page, key_span, push_child, push_native};
use crate::raw::{git_order, push_entry};
use crate::store::{Staged, Store};
use crate::{Format, Id, Kind, Object, WriteError};

/// Changes of one directory: what each name is to stand for, `None` for nothing. Ordered by name.
pub(crate) type Changes = Vec<(Bytes, Option<Entry>)>;

/// What changes make.
#[derive(Default)]
pub(crate) struct New {
    /// The objects to write.
    pub(crate) objects: Vec<Object>,
    /// The pages among them, where these are few: the next edit begins with them.
    pub(crate) pages: Vec<(Id, Page)>,
    /// Pages of the old tree that the new one does not have, where these are few.
    pub(crate) replaced: Vec<Id>,
    scratch: Scratch,
}

/// So many pages are few.
const FEW: usize = 64;

impl New {
    /// Adds a page of these bytes, from which `page` makes it.
    fn add(
        &mut self,
        format: Format,
        data: Bytes,
        page: impl FnOnce(Bytes) -> Page,
    ) -> Result<Id, WriteError> {
        if u32::try_from(data.len()).is_err() {
            return Err(WriteError::TooLarge {
                what: "a directory of more than 4 GiB".into(),
            });
        }
        let object = Object::new(format, Kind::Tree, data)?;
        let id = object.id;
        if let Some(at) = self.replaced.iter().position(|old| *old == id) {
            self.replaced.swap_remove(at);
        }
        if self.pages.len() < FEW {
            self.pages.push((id, page(object.data.clone())));
        }
        self.objects.push(object);
        Ok(id)
    }

    fn replace(&mut self, id: Id) {
        if self.replaced.len() < FEW {
            self.replaced.push(id);
        }
    }
}

/// Applies changes to a directory. Its new pages, and blobs for contents that do not stand in a page,
/// go to `new`. Returns the (first) page of the result; `None` if no entry is left.
pub(crate) fn apply(
    store: &Store,
    staged: Option<&Staged>,
    base: Option<Id>,
    mut changes: Changes,
    new: &mut New,
) -> Result<Option<Id>, WriteError> {
    for (_, entry) in &mut changes {
        if let Some(entry) = entry {
            place(store.format, entry, new)?;
        }
    }
    if store.format.is_git() {
        return apply_git(store, staged, base, &changes, new);
    }
    apply_native(store, staged, base, changes, new)
}

/// Moves contents into a blob unless they may stand in a page.
fn place(format: Format, entry: &mut Entry, new: &mut New) -> Result<(), WriteError> {
    if let Content::Here(bytes) = &entry.content
        && (format.is_git() || bytes.len() > INLINE_MAX)
    {
        let blob = Object::new(format, Kind::Blob, bytes.clone())?;
        entry.content = Content::Id(blob.id);
        new.objects.push(blob);
    }
    Ok(())
}

/// Where, and what is put there; `None` leaves the old entry out.
type GitStep<'a> = (usize, Option<(&'a [u8], &'a Entry)>);

fn apply_git(
    store: &Store,
    staged: Option<&Staged>,
    base: Option<Id>,
    changes: &Changes,
    new: &mut New,
) -> Result<Option<Id>, WriteError> {
    let page = match base {
        Some(id) => store.page(&id, staged)?,
        None => alloc::sync::Arc::new(
            Page::parse(store.format, Bytes::new()).expect("no entries are fine"),
        ),
    };
    let mut steps: Vec<GitStep<'_>> = Vec::with_capacity(2 * changes.len());
    let mut room = 0;
    for (name, entry) in changes {
        if let Some(at) = page.find(name) {
            steps.push((at, None));
        }
        if let Some(entry) = entry {
            steps.push((page.lower_bound(name, entry.is_dir()), Some((name, entry))));
            room += name.len() + 40;
        }
    }
    steps.sort_by(|(a_at, a), (b_at, b)| {
        a_at.cmp(b_at).then_with(|| match (a, b) {
            (Some((a, x)), Some((b, y))) => git_order(a, x.is_dir(), b, y.is_dir()),
            _ => a.is_none().cmp(&b.is_none()),
        })
    });
    base.into_iter().for_each(|id| new.replace(id));
    let mut data = Vec::with_capacity(page.raw(0..page.len()).len() + room);
    let mut starts: Vec<u32> = Vec::with_capacity(page.len() + changes.len());
    let copy = |entries: core::ops::Range<usize>, data: &mut Vec<u8>, starts: &mut Vec<u32>| {
        let old = page.starts(entries.clone());
        let to = data.len() as u32;
        let moved = |at: &u32| at.wrapping_sub(old[0]).wrapping_add(to);
        starts.extend(old.iter().map(moved));
        data.extend_from_slice(page.raw(entries));
    };
    let mut done = 0;
    for (at, step) in steps {
        copy(done..at, &mut data, &mut starts);
        done = at;
        match step {
            Some((name, entry)) => {
                starts.push(data.len() as u32);
                let id = entry.id().expect("placed in a blob");
                push_entry(&mut data, entry.mode, name, &id);
            }
            None => done = at + 1,
        }
    }
    copy(done..page.len(), &mut data, &mut starts);
    if data.is_empty() {
        return Ok(None);
    }
    let built = |data| Page::built(store.format, data, &starts);
    new.add(store.format, data.into(), built).map(Some)
}

fn apply_native(
    store: &Store,
    staged: Option<&Staged>,
    base: Option<Id>,
    changes: Changes,
    new: &mut New,
) -> Result<Option<Id>, WriteError> {
    let encoded = |name: &[u8], entry: Entry| {
        let mut bytes = Vec::with_capacity(name.len() + 48);
        push_native(&mut bytes, name, &entry);
        bytes
    };
    let mut steps: Vec<Step> = changes
        .into_iter()
        .filter(|(_, entry)| base.is_some() || entry.is_some())
        .map(|(name, entry)| Step {
            put: entry.map(|entry| (encoded(&name, entry), 1)),
            name,
        })
        .collect();
    if steps.is_empty() {
        return Ok(base);
    }
    let height = base
        .map(|id| store.page(&id, staged))
        .transpose()?
        .map(|page| page.level);
    for level in 0.. {
        let mut chunks = Chunks::new(level, new);
        // Keys of this level's pages that are gone; put back where a new page has the same.
        let mut gone: Vec<Bytes> = Vec::new();
        match base {
            Some(id) if height.is_some_and(|height| level <= height) => {
                let Some(first) = steps.first() else {
                    return Ok(base);
                };
                let cursor = Cursor::at(store, staged, &id, level, &first.name)?;
                rewrite(cursor, steps, &mut chunks, &mut gone)?;
            }
            _ => {
                for step in steps {
                    let (bytes, count) = step
                        .put
                        .expect("nothing is taken from pages that are not there");
                    chunks.push(&step.name, &bytes, count)?;
                }
            }
        }
        let pages = chunks.finish()?;
        if height.is_none_or(|height| level >= height) {
            // Every page of the level is new.
            match &pages[..] {
                [] => return Ok(None),
                [only] if level == 0 || only.entries > 1 => return Ok(Some(only.id)),
                [only] => return lowest_root(store, staged, only.id, new).map(Some),
                _ => {}
            }
        }
        let top = height == Some(level);
        let mut next: BTreeMap<Bytes, Option<(Vec<u8>, u64)>> = BTreeMap::new();
        if !top {
            next.extend(gone.into_iter().map(|key| (key, None)));
        }
        for page in pages {
            let mut bytes = Vec::with_capacity(page.key.len() + 40);
            push_child(&mut bytes, &page.key, page.count, &page.id);
            next.insert(page.key, Some((bytes, page.count)));
        }
        steps = next
            .into_iter()
            .map(|(name, put)| Step { name, put })
            .collect();
    }
    unreachable!("a level above has at most half as many pages")
}

/// A top page with a single child is none: the child is.
fn lowest_root(
    store: &Store,
    staged: Option<&Staged>,
    mut id: Id,
    new: &mut New,
) -> Result<Id, WriteError> {
    loop {
        let made = new.objects.iter().rposition(|object| object.id == id);
        let page = match made {
            Some(at) => {
                let page = Page::parse(store.format, new.objects[at].data.clone());
                alloc::sync::Arc::new(page.expect("made here"))
            }
            None => store.page(&id, staged)?,
        };
        if page.level == 0 || page.len() > 1 {
            return Ok(id);
        }
        if let Some(at) = made {
            new.objects.remove(at);
            new.pages.retain(|page| page.0 != id);
        }
        id = page.child(0).0;
    }
}

/// One name's change at some level: the new entry's bytes and how many entries are below it.
struct Step {
    name: Bytes,
    put: Option<(Vec<u8>, u64)>,
}

/// Streams the pages of one level that the steps touch, changed, into new pages, until these end
/// where the old ones did.
fn rewrite(
    mut cursor: Cursor<'_>,
    steps: Vec<Step>,
    chunks: &mut Chunks<'_>,
    gone: &mut Vec<Bytes>,
) -> Result<(), WriteError> {
    let mut steps = steps.into_iter().peekable();
    loop {
        if chunks.is_at_boundary() {
            let Some(step) = steps.peek() else {
                return Ok(());
            };
            cursor.seek(&step.name)?;
        } else if !cursor.next()? {
            return Ok(());
        }
        chunks.new.replace(cursor.id());
        let page = cursor.page();
        let last = page.len().checked_sub(1).map(|last| page.name_bytes(last));
        let is_last = cursor.is_last();
        let mut at = 0;
        while let Some(step) =
            steps.next_if(|step| is_last || last.as_ref().is_some_and(|last| step.name <= *last))
        {
            let to = page.lower_bound(&step.name, false);
            chunks.copy(page, at..to)?;
            at = to;
            if at < page.len() && page.name(at) == step.name {
                at += 1;
            }
            if let Some((bytes, count)) = step.put {
                chunks.push(&step.name, &bytes, count)?;
            }
        }
        chunks.copy(page, at..page.len())?;
        gone.extend(last);
    }
}

struct NewPage {
    key: Bytes,
    entries: usize,
    count: u64,
    id: Id,
}

/// The page in the making.
#[derive(Default)]
struct Scratch {
    data: Vec<u8>,
    /// Where its entries start.
    starts: Vec<u32>,
}

/// Cuts a stream of entries of one level into pages.
struct Chunks<'a> {
    level: u8,
    now: Scratch,
    count: u64,
    pages: Vec<NewPage>,
    new: &'a mut New,
}

/// Pages are cut at this size at the latest.
const PAGE_MAX: usize = 16 * 1024;

impl<'a> Chunks<'a> {
    fn new(level: u8, new: &'a mut New) -> Chunks<'a> {
        let mut chunks = Chunks {
            level,
            now: core::mem::take(&mut new.scratch),
            count: 0,
            pages: Vec::new(),
            new,
        };
        chunks.begin();
        chunks
    }

    fn begin(&mut self) {
        self.now.data.clear();
        self.now.data.push(self.level);
        self.now.starts.clear();
        self.count = 0;
    }

    fn is_at_boundary(&self) -> bool {
        self.now.starts.is_empty()
    }

    /// Copies entries of an old page. Where they stand as they stood, they end no page now that ended
    /// none then; only the last one did.
    fn copy(&mut self, page: &Page, entries: core::ops::Range<usize>) -> Result<(), WriteError> {
        let mut from = entries.start;
        let stood = entries.end.min(page.len().saturating_sub(1));
        if from < stood
            && self.now.starts.len() == from
            && self.now.data.len() == page.starts(from..stood)[0] as usize
        {
            self.now.data.extend_from_slice(page.raw(from..stood));
            let starts = page.starts(from..stood);
            self.now.starts.extend_from_slice(starts);
            let count = (from..stood).map(|at| self.below(page, at));
            self.count = count.fold(self.count, u64::saturating_add);
            from = stood;
        }
        for at in from..entries.end {
            let count = self.below(page, at);
            self.push(page.name(at), page.raw(at..at + 1), count)?;
        }
        Ok(())
    }

    /// How many names an entry counts for.
    fn below(&self, page: &Page, at: usize) -> u64 {
        match self.level {
            0 => 1,
            _ => page.child(at).1,
        }
    }

    fn push(&mut self, key: &[u8], entry: &[u8], count: u64) -> Result<(), WriteError> {
        let before = self.now.data.len() as u64;
        self.now.starts.push(before as u32);
        self.now.data.extend_from_slice(entry);
        self.count = self.count.saturating_add(count);
        let after = self.now.data.len() as u64;
        // An inner page has two children or more, or there would be no end of levels.
        let may_end = self.level == 0 || self.now.starts.len() > 1;
        let threshold = (after * after - before * before) << 10;
        if may_end && (after >= PAGE_MAX as u64 || u64::from(key_hash(key, self.level)) < threshold)
        {
            self.cut()?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<(), WriteError> {
        let data = Bytes::copy_from_slice(&self.now.data);
        let starts = &self.now.starts;
        let (entries, last) = (starts.len(), starts[starts.len() - 1] as usize);
        let key = data.slice(key_span(&data, last, self.level));
        let built = |data| Page::built(Format::Native, data, starts);
        let id = self.new.add(Format::Native, data, built)?;
        self.pages.push(NewPage {
            key,
            entries,
            count: self.count,
            id,
        });
        self.begin();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<NewPage>, WriteError> {
        if !self.is_at_boundary() {
            self.cut()?;
        }
        self.new.scratch = self.now;
        Ok(self.pages)
    }
}

/// FNV-1a of the key, mixed with the level. Part of the native format: it must never change.
fn key_hash(key: &[u8], level: u8) -> u32 {
    let start = 0xcbf2_9ce4_8422_2325 ^ u64::from(level).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut hash = key.iter().fold(start, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash >> 32) as u32
}

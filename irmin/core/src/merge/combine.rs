//! Merge functions for values, to be put together.
//!
//! All of them keep these laws (tested): a side that changed nothing does not matter
//! (`merge(b, b, x) = x`), and neither does which side is called ours (`merge(b, x, y) =
//! merge(b, y, x)`, also whether it refuses). All but the counter, which adds, give what both sides
//! agree on (`merge(b, x, x) = x`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::three::one_sided;
use super::{Refused, Three, diff3};

/// Merges two values that began as one.
pub trait Merger<T> {
    /// The merged value. `base` is `None` if each side made the value by itself.
    ///
    /// # Errors
    /// [`Refused`] if there is no value that both sides would call theirs.
    fn merge(&self, base: Option<&T>, ours: &T, theirs: &T) -> Result<T, Refused>;
}

/// What the only side that changed it made of it, or both alike.
fn plain<T: PartialEq + Clone>(base: Option<&T>, ours: &T, theirs: &T) -> Option<T> {
    one_sided(&Three {
        base,
        ours: Some(ours),
        theirs: Some(theirs),
    })
    .flatten()
    .cloned()
}

fn both() -> Refused {
    Refused::new("both sides changed it")
}

/// See [`equal`].
pub struct Equal;

/// For any value: what one side changed, or both alike; else it refuses.
pub fn equal() -> Equal {
    Equal
}

impl<T: PartialEq + Clone> Merger<T> for Equal {
    fn merge(&self, base: Option<&T>, ours: &T, theirs: &T) -> Result<T, Refused> {
        plain(base, ours, theirs).ok_or_else(both)
    }
}

/// A value with the time at which it was written, see [`last_writer`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register<T> {
    /// When, in whatever unit the writers agree on.
    pub time: u64,
    /// What.
    pub value: T,
}

/// See [`last_writer`].
pub struct LastWriter;

/// For a [`Register`]: the later one; of equal times the greater value. Never refuses.
pub fn last_writer() -> LastWriter {
    LastWriter
}

impl<T: Ord + Clone> Merger<Register<T>> for LastWriter {
    fn merge(
        &self,
        base: Option<&Register<T>>,
        ours: &Register<T>,
        theirs: &Register<T>,
    ) -> Result<Register<T>, Refused> {
        Ok(plain(base, ours, theirs).unwrap_or_else(|| ours.max(theirs).clone()))
    }
}

/// See [`counter`].
pub struct Counter;

/// For a number that is added to: what both sides added, also if they added the same. Never
/// refuses; wraps around.
///
/// A tree does not ask a rule where both sides made a file the same, so that two sides that each
/// count from 5 to 6 in a file of their own give 6. [`Tally`](crate::Tally) has no such limit.
pub fn counter() -> Counter {
    Counter
}

impl Merger<i64> for Counter {
    fn merge(&self, base: Option<&i64>, ours: &i64, theirs: &i64) -> Result<i64, Refused> {
        Ok(ours.wrapping_add(*theirs).wrapping_sub(*base.unwrap_or(&0)))
    }
}

/// See [`set`].
pub struct Set;

/// For a set: what neither side removed and what either added. Never refuses.
pub fn set() -> Set {
    Set
}

impl<T: Ord + Clone> Merger<BTreeSet<T>> for Set {
    fn merge(
        &self,
        base: Option<&BTreeSet<T>>,
        ours: &BTreeSet<T>,
        theirs: &BTreeSet<T>,
    ) -> Result<BTreeSet<T>, Refused> {
        let in_base = |item: &T| base.is_some_and(|base| base.contains(item));
        let all = ours.union(theirs);
        let kept =
            all.filter(|item| !in_base(item) || (ours.contains(item) && theirs.contains(item)));
        Ok(kept.cloned().collect())
    }
}

/// See [`map`].
pub struct Map<M>(M);

/// For a map: each value by `inner`. Refuses if a value was removed on one side and changed on the
/// other, or `inner` refuses one.
pub fn map<M>(inner: M) -> Map<M> {
    Map(inner)
}

impl<K: Ord + Clone, V: PartialEq + Clone, M: Merger<V>> Merger<BTreeMap<K, V>> for Map<M> {
    fn merge(
        &self,
        base: Option<&BTreeMap<K, V>>,
        ours: &BTreeMap<K, V>,
        theirs: &BTreeMap<K, V>,
    ) -> Result<BTreeMap<K, V>, Refused> {
        let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
        let mut merged = BTreeMap::new();
        for key in keys {
            let base = base.and_then(|base| base.get(key));
            if let Some(value) = present(&self.0, base, ours.get(key), theirs.get(key))? {
                merged.insert(key.clone(), value);
            }
        }
        Ok(merged)
    }
}

/// Merges values that need not be there.
fn present<V: PartialEq + Clone>(
    inner: &impl Merger<V>,
    base: Option<&V>,
    ours: Option<&V>,
    theirs: Option<&V>,
) -> Result<Option<V>, Refused> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let merged = inner.merge(base, ours, theirs);
            merged.map(Some).map_err(Refused::of_part)
        }
        (ours, theirs) => match one_sided(&Three { base, ours, theirs }) {
            Some(value) => Ok(value.cloned()),
            None => Err(Refused::new("one side removed it and the other changed it")),
        },
    }
}

/// See [`log`].
pub struct Log;

/// For a list of entries that are only added, each list in the entries' order (their time comes
/// first): all entries of both sides, in order, each once. Never refuses, never loses an entry.
pub fn log() -> Log {
    Log
}

impl<T: Ord + Clone> Merger<Vec<T>> for Log {
    fn merge(
        &self,
        base: Option<&Vec<T>>,
        ours: &Vec<T>,
        theirs: &Vec<T>,
    ) -> Result<Vec<T>, Refused> {
        if let Some(plain) = plain(base, ours, theirs) {
            return Ok(plain);
        }
        let all: BTreeSet<&T> = base
            .into_iter()
            .flatten()
            .chain(ours)
            .chain(theirs)
            .collect();
        Ok(all.into_iter().cloned().collect())
    }
}

/// See [`text`].
pub struct Text;

/// For text: line by line, as Git merges files. Refuses where both sides changed the same or
/// neighbouring lines differently.
pub fn text() -> Text {
    Text
}

impl Merger<String> for Text {
    fn merge(
        &self,
        base: Option<&String>,
        ours: &String,
        theirs: &String,
    ) -> Result<String, Refused> {
        let bytes = self.merge(
            base.map(|base| base.clone().into_bytes()).as_ref(),
            &ours.clone().into_bytes(),
            &theirs.clone().into_bytes(),
        )?;
        // Whole lines of texts are a text.
        String::from_utf8(bytes).map_err(|_| Refused::new("the merged lines are no text"))
    }
}

impl Merger<Vec<u8>> for Text {
    fn merge(
        &self,
        base: Option<&Vec<u8>>,
        ours: &Vec<u8>,
        theirs: &Vec<u8>,
    ) -> Result<Vec<u8>, Refused> {
        if let Some(plain) = plain(base, ours, theirs) {
            return Ok(plain);
        }
        let base = base.map_or(&[][..], |base| base);
        diff3::merge(base, ours, theirs).map_err(|line| {
            Refused::of_lines(alloc::format!(
                "both sides changed the text near line {line}"
            ))
        })
    }
}

/// See [`optional`].
pub struct Optional<M>(M);

/// For a value that may be missing: by `inner` where both have it. Refuses if it was removed on one
/// side and changed on the other, or `inner` does.
pub fn optional<M>(inner: M) -> Optional<M> {
    Optional(inner)
}

impl<T: PartialEq + Clone, M: Merger<T>> Merger<Option<T>> for Optional<M> {
    fn merge(
        &self,
        base: Option<&Option<T>>,
        ours: &Option<T>,
        theirs: &Option<T>,
    ) -> Result<Option<T>, Refused> {
        let base = base.and_then(Option::as_ref);
        present(&self.0, base, ours.as_ref(), theirs.as_ref())
    }
}

/// See [`pair`].
pub struct Pair<A, B>(A, B);

/// For two values, each by its own merge function. Refuses if either does.
pub fn pair<A, B>(first: A, second: B) -> Pair<A, B> {
    Pair(first, second)
}

impl<S, T, A: Merger<S>, B: Merger<T>> Merger<(S, T)> for Pair<A, B> {
    fn merge(
        &self,
        base: Option<&(S, T)>,
        ours: &(S, T),
        theirs: &(S, T),
    ) -> Result<(S, T), Refused> {
        let first = self.0.merge(base.map(|base| &base.0), &ours.0, &theirs.0);
        let second = self.1.merge(base.map(|base| &base.1), &ours.1, &theirs.1);
        Ok((
            first.map_err(Refused::of_part)?,
            second.map_err(Refused::of_part)?,
        ))
    }
}

//! Rules from merge functions of values.

use alloc::format;

use bytes::Bytes;

use super::{Merger, Refused, Rule, Three};
use crate::{Contents, Path};

/// A rule that merges values of a type: see [`typed`].
pub struct Typed<T, M>(M, core::marker::PhantomData<fn(T)>);

/// Merges files as values of `T`. A file that one side removed and the other changed is a conflict;
/// so is one that is no value.
pub fn typed<T: Contents, M: Merger<T>>(merger: M) -> Typed<T, M> {
    Typed(merger, core::marker::PhantomData)
}

impl<T: Contents, M: Merger<T>> Rule for Typed<T, M> {
    fn merge(&self, _: &Path, contents: Three<Option<&Bytes>>) -> Result<Option<Bytes>, Refused> {
        let (Some(ours), Some(theirs)) = (contents.ours, contents.theirs) else {
            return Err(Refused::new("one side removed it and the other changed it"));
        };
        let read = |side: &str, bytes: &Bytes| {
            T::from_contents(bytes).map_err(|error| Refused::new(format!("{side}: {error}")))
        };
        let base = contents.base.map(|base| read("before", base)).transpose()?;
        let merged = self.0.merge(
            base.as_ref(),
            &read("ours", ours)?,
            &read("theirs", theirs)?,
        )?;
        merged
            .to_contents()
            .map(Some)
            .map_err(|error| Refused::new(format!("merged: {error}")))
    }
}

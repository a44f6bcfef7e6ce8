//! Rules from merge functions of values.

use alloc::format;
use alloc::vec::Vec;

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

/// How far Git looks for a NUL to tell that a file is no text (`xdiff-interface.c`).
const LOOKED_AT: usize = 8000;

/// The rule that merges files as `git merge` does without attributes: line by line, and not at all
/// where one of the three is no text.
///
/// # Errors
/// [`Refused`] where both sides changed the same lines, or a file that is no text.
pub fn files_as_git(
    path: &Path,
    contents: Three<Option<&Bytes>>,
) -> Result<Option<Bytes>, Refused> {
    let is_binary = |side: Option<&Bytes>| {
        side.is_some_and(|bytes| bytes.iter().take(LOOKED_AT).any(|&byte| byte == 0))
    };
    let sides = [contents.base, contents.ours, contents.theirs];
    if sides.into_iter().any(is_binary) {
        return Err(Refused::new("both sides changed it, and it is no text"));
    }
    typed::<Vec<u8>, _>(super::text()).merge(path, contents)
}

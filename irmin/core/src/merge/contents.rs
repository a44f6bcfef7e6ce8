//! Contents as values of a type.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Merger, Refused, Rule, Three};
use crate::Path;

/// A type whose values are kept as contents.
///
/// Equal values must have equal bytes, and reading what was written gives the value back.
pub trait Contents: Sized {
    /// The bytes of the value.
    fn to_contents(&self) -> Bytes;

    /// The value of these bytes, which anybody may have written.
    ///
    /// # Errors
    /// [`NotContents`] if they are no value.
    fn from_contents(bytes: &[u8]) -> Result<Self, NotContents>;
}

/// Bytes that are no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the contents are not {wanted}")]
pub struct NotContents {
    /// What they should have been.
    pub wanted: &'static str,
}

impl Contents for Bytes {
    fn to_contents(&self) -> Bytes {
        self.clone()
    }

    fn from_contents(bytes: &[u8]) -> Result<Bytes, NotContents> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

impl Contents for Vec<u8> {
    fn to_contents(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }

    fn from_contents(bytes: &[u8]) -> Result<Vec<u8>, NotContents> {
        Ok(bytes.into())
    }
}

impl Contents for String {
    fn to_contents(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn from_contents(bytes: &[u8]) -> Result<String, NotContents> {
        core::str::from_utf8(bytes)
            .map(Into::into)
            .map_err(|_| NotContents {
                wanted: "text in UTF-8",
            })
    }
}

/// A number in decimal digits, so that Git's tools show it.
impl Contents for i64 {
    fn to_contents(&self) -> Bytes {
        self.to_string().into()
    }

    fn from_contents(bytes: &[u8]) -> Result<i64, NotContents> {
        let text = core::str::from_utf8(bytes).ok();
        text.and_then(|text| text.trim().parse().ok())
            .ok_or(NotContents {
                wanted: "a number of 64 bits",
            })
    }
}

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
        Ok(Some(merged.to_contents()))
    }
}

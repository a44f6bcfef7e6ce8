//! Contents as values of a type.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{ReadError, Tree, TreeEdit, WriteError};

/// A type whose values are kept as contents.
///
/// Equal values must have equal bytes, and reading what was written gives the value back.
pub trait Contents: Sized {
    /// The bytes of the value.
    ///
    /// # Errors
    /// [`NotContents`] if the value cannot be written.
    fn to_contents(&self) -> Result<Bytes, NotContents>;

    /// The value of these bytes, which anybody may have written.
    ///
    /// # Errors
    /// [`NotContents`] if they are no value.
    fn from_contents(bytes: &[u8]) -> Result<Self, NotContents>;
}

/// Bytes that are no value of a type, or a value that has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the contents are not {wanted}")]
pub struct NotContents {
    /// What they should have been.
    pub wanted: &'static str,
}

impl Contents for Bytes {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        Ok(self.clone())
    }

    fn from_contents(bytes: &[u8]) -> Result<Bytes, NotContents> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

impl Contents for Vec<u8> {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        Ok(Bytes::copy_from_slice(self))
    }

    fn from_contents(bytes: &[u8]) -> Result<Vec<u8>, NotContents> {
        Ok(bytes.into())
    }
}

impl Contents for String {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        Ok(Bytes::copy_from_slice(self.as_bytes()))
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
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        Ok(self.to_string().into())
    }

    fn from_contents(bytes: &[u8]) -> Result<i64, NotContents> {
        let text = core::str::from_utf8(bytes).ok();
        text.and_then(|text| text.trim().parse().ok())
            .ok_or(NotContents {
                wanted: "a number of 64 bits",
            })
    }
}

/// A value kept as JSON.
///
/// Maps in it should be ordered (`BTreeMap`), so that equal values have equal bytes.
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

#[cfg(feature = "serde")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Contents for Json<T> {
    fn to_contents(&self) -> Result<Bytes, NotContents> {
        let bytes = serde_json::to_vec(&self.0);
        bytes.map(Into::into).map_err(|_| NotContents {
            wanted: "a value that JSON can hold",
        })
    }

    fn from_contents(bytes: &[u8]) -> Result<Json<T>, NotContents> {
        let value = serde_json::from_slice(bytes);
        value.map(Json).map_err(|_| NotContents {
            wanted: "JSON of this type",
        })
    }
}

/// A value that was not read or not written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The file holds no such value, or the value cannot be written.
    #[error("{path}: {error}")]
    Contents {
        /// Where.
        path: String,
        /// Why.
        error: NotContents,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<ReadError> for ValueError {
    fn from(error: ReadError) -> ValueError {
        ValueError::Write(error.into())
    }
}

fn read<T: Contents>(path: &[u8], bytes: Option<Bytes>) -> Result<Option<T>, ValueError> {
    let value = bytes.map(|bytes| T::from_contents(&bytes)).transpose();
    value.map_err(|error| ValueError::Contents {
        path: String::from_utf8_lossy(path).into(),
        error,
    })
}

impl Tree {
    /// The value in the file at this path; `None` if there is no file. See [`get`](Tree::get).
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn value<T: Contents>(&self, path: impl AsRef<[u8]>) -> Result<Option<T>, ValueError> {
        read(path.as_ref(), self.get(path.as_ref())?)
    }
}

impl TreeEdit {
    /// The value in the file at this path, as changed; `None` if there is no file.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn value<T: Contents>(&self, path: impl AsRef<[u8]>) -> Result<Option<T>, ValueError> {
        read(path.as_ref(), self.get(path.as_ref())?)
    }

    /// Puts a value in the file at this path. See [`set`](TreeEdit::set).
    ///
    /// # Errors
    /// [`WriteError`]; `Value` if it cannot be written as contents.
    pub fn set_value<T: Contents>(
        &mut self,
        path: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), WriteError> {
        let path = path.as_ref();
        let bytes = value.to_contents().map_err(|error| WriteError::Value {
            path: String::from_utf8_lossy(path).into(),
            error,
        })?;
        self.set(path, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Memory, Repo};

    #[test]
    fn values_are_written_and_read_by_their_type() {
        let repo = Repo::new(Memory::new(Format::Native));
        let mut edit = repo.empty_tree().edit();
        edit.set_value("count", &-5i64).unwrap();
        edit.set_value("text", &String::from("ö")).unwrap();
        assert_eq!(edit.value("count").unwrap(), Some(-5i64));
        let tree = edit.finish().unwrap();
        assert_eq!(tree.value::<String>("text").unwrap().unwrap(), "ö");
        assert_eq!(tree.value::<i64>("none").unwrap(), None);
        let error = tree.value::<i64>("text").unwrap_err().to_string();
        assert_eq!(error, "text: the contents are not a number of 64 bits");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_keeps_any_value_that_serde_knows() {
        let value = Json((1u8, alloc::vec![Some(String::from("a")), None]));
        assert_eq!(value.to_contents().unwrap(), "[1,[\"a\",null]]");
        assert_eq!(
            Json::from_contents(&value.to_contents().unwrap()),
            Ok(value)
        );
        assert!(Json::<bool>::from_contents(b"{").is_err());
        let keys = alloc::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(
            Json(alloc::vec![keys]).to_contents().is_err(),
            "JSON has only text as keys"
        );
    }
}

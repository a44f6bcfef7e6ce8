//! An object with its id, as it goes to and comes from a backend.

use bytes::Bytes;

use crate::{CollisionAttack, Format, Id, Kind};

/// An object: kind and bytes, under the id that follows from them.
///
/// Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The hash of the rest.
    pub id: Id,
    /// What the bytes are.
    pub kind: Kind,
    /// The bytes, without Git's header.
    pub data: Bytes,
}

impl Object {
    /// Names these bytes.
    ///
    /// # Errors
    /// [`CollisionAttack`], see [`Format::id`].
    pub fn new(
        format: Format,
        kind: Kind,
        data: impl Into<Bytes>,
    ) -> Result<Object, CollisionAttack> {
        let data = data.into();
        Ok(Object {
            id: format.id(kind, &data)?,
            kind,
            data,
        })
    }
}

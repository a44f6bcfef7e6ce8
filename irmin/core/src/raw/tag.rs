//! Annotated tags: what is needed to follow one.

use super::{Malformed, line};
use crate::{Format, Id, Kind};

/// What a tag points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagData {
    /// The object.
    pub target: Id,
    /// Its kind.
    pub kind: Kind,
}

impl TagData {
    /// Reads the first two lines of a tag.
    ///
    /// # Errors
    /// [`Malformed`] if they do not name an object and its kind.
    pub fn decode(format: Format, data: &[u8]) -> Result<TagData, Malformed> {
        let read = || {
            let (hex, rest) = line(data.strip_prefix(b"object ")?)?;
            let (kind, _) = line(rest.strip_prefix(b"type ")?)?;
            let target = Id::from_hex(hex)
                .ok()
                .filter(|id| id.as_bytes().len() == format.id_len())?;
            Some(TagData {
                target,
                kind: Kind::from_name(kind)?,
            })
        };
        read().ok_or_else(|| Malformed {
            kind: Kind::Tag,
            what: "it does not begin with an object and its type".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_points_to() {
        let text = b"object e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\ntype blob\ntag v1\n\nx";
        assert_eq!(
            TagData::decode(Format::GitSha1, text).unwrap().kind,
            Kind::Blob
        );
        assert!(TagData::decode(Format::GitSha256, text).is_err());
        assert!(TagData::decode(Format::GitSha1, b"object x\n").is_err());
    }
}

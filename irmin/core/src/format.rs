//! The three object formats and how each names an object.

use core::fmt;

use sha2::Digest;

use crate::Id;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Contents: any bytes.
    Blob,
    /// A directory, or in the native format one page of a directory.
    Tree,
    /// A tree, the commits before it, and who says so.
    Commit,
    /// A note about another object, as `git tag -a` makes it. Kept and followed, never made here.
    Tag,
}

impl Kind {
    /// Git's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Blob => "blob",
            Kind::Tree => "tree",
            Kind::Commit => "commit",
            Kind::Tag => "tag",
        }
    }

    /// The kind that Git calls so.
    pub fn from_name(name: &[u8]) -> Option<Kind> {
        [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag]
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How objects are written and named. A store has one format for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Git's objects, named by SHA-1 with collision detection.
    GitSha1,
    /// Git's objects, named by SHA-256.
    GitSha256,
    /// Directories as ordered pages with small values inside; commits as in Git. Named by SHA-256,
    /// which at the size of a page is the fastest on processors with SHA instructions, and which
    /// Git's second format needs anyhow.
    Native,
}

impl Format {
    /// Bytes of an id: 20 or 32.
    pub fn id_len(self) -> usize {
        match self {
            Format::GitSha1 => 20,
            Format::GitSha256 | Format::Native => 32,
        }
    }

    /// Whether trees are Git's.
    pub fn is_git(self) -> bool {
        self != Format::Native
    }

    /// The id of an object: the hash of `KIND LENGTH NUL` and the bytes, in every format.
    ///
    /// # Errors
    /// [`CollisionAttack`] if the bytes were built to collide under SHA-1. Such an object has no id
    /// and must not be stored, as in Git.
    pub fn id(self, kind: Kind, data: &[u8]) -> Result<Id, CollisionAttack> {
        let mut header = Header::default();
        header.push(kind.name().as_bytes());
        header.push(b" ");
        header.push_number(data.len());
        header.push(b"\0");
        let digest: &[u8] = match self {
            Format::GitSha1 => {
                let mut hash = sha1_checked::Sha1::new();
                hash.update(header.bytes());
                hash.update(data);
                let result = hash.try_finalize();
                if result.has_collision() {
                    return Err(CollisionAttack);
                }
                &result.hash().0.clone()
            }
            Format::GitSha256 | Format::Native => {
                &sha2::Sha256::new()
                    .chain_update(header.bytes())
                    .chain_update(data)
                    .finalize()
                    .0
            }
        };
        Ok(Id::from_bytes(digest).expect("a digest has 20 or 32 bytes"))
    }
}

/// `commit 18446744073709551615\0` fits.
#[derive(Default)]
struct Header {
    bytes: [u8; 32],
    len: usize,
}

impl Header {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An object's bytes were built so that another object has the same SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object was built to collide with another under SHA-1; it is not stored")]
pub struct CollisionAttack;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn ids_are_those_of_git() {
        let id = |format: Format, kind, data: &[u8]| format.id(kind, data).unwrap().to_string();
        assert_eq!(
            id(Format::GitSha1, Kind::Blob, b""),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert_eq!(
            id(Format::GitSha1, Kind::Tree, b""),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
        assert_eq!(
            id(Format::GitSha1, Kind::Blob, b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            id(Format::GitSha256, Kind::Tree, b""),
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        );
    }

    #[test]
    fn an_id_reads_what_it_prints_and_refuses_the_rest() {
        let id = Format::Native.id(Kind::Blob, b"x").unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_hex(), id.to_string().as_bytes());
        assert!(id.begins_with("") && id.begins_with(&id.to_string()[..7].to_uppercase()));
        assert!(!id.begins_with("zz") && !id.begins_with(&(id.to_string() + "0")));
        assert!("e69d".parse::<Id>().is_err() && "g".repeat(40).parse::<Id>().is_err());
        assert!(Id::from_bytes(&[0; 21]).is_none());
    }
}

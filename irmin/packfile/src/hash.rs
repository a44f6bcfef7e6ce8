//! Checksums of packs and indexes, and the second look at objects that were read.

use irmin::{Format, Id, Kind};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The checksum that Git puts at the end of packs and indexes: the format's hash.
///
/// Plain SHA-1, several times as fast as with collision detection, which is in
/// [`Format::id`]: what names objects.
pub struct Hasher(Inner);

enum Inner {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(format: Format) -> Hasher {
        Hasher(match format {
            Format::GitSha1 => Inner::Sha1(Sha1::new()),
            Format::GitSha256 | Format::Native => Inner::Sha256(Sha256::new()),
        })
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha1(hash) => hash.update(bytes),
            Inner::Sha256(hash) => hash.update(bytes),
        }
    }

    /// The checksum of all that came.
    pub fn finish(self) -> Id {
        let id = match self.0 {
            Inner::Sha1(hash) => Id::from_bytes(&hash.finalize()),
            Inner::Sha256(hash) => Id::from_bytes(&hash.finalize()),
        };
        id.expect("a digest has 20 or 32 bytes")
    }

    /// Appends the checksum of these bytes to them, as packs, their indexes and commit-graphs end.
    pub fn seal(format: Format, bytes: &mut Vec<u8>) {
        let mut hash = Hasher::new(format);
        hash.update(bytes);
        bytes.extend_from_slice(hash.finish().as_bytes());
    }

    /// Whether these bytes are the object of this id.
    ///
    /// Without collision detection: who could put an object built to collide into a store got past the
    /// detection, ours or Git's, when the object came in.
    pub fn is(format: Format, id: &Id, kind: Kind, data: &[u8]) -> bool {
        let mut hash = Hasher::new(format);
        hash.update(format!("{kind} {}\0", data.len()).as_bytes());
        hash.update(data);
        hash.finish() == *id
    }
}

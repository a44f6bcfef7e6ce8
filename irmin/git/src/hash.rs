//! Checksums of files and the second look at objects that were read.

use irmin::{Format, Id, Kind};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The checksum that Git puts at the end of packs and indexes: the format's hash.
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(format: Format) -> Hasher {
        match format {
            Format::GitSha1 => Hasher::Sha1(Sha1::new()),
            Format::GitSha256 | Format::Native => Hasher::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha1(hash) => hash.update(bytes),
            Hasher::Sha256(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Id {
        let id = match self {
            Hasher::Sha1(hash) => Id::from_bytes(&hash.finalize()),
            Hasher::Sha256(hash) => Id::from_bytes(&hash.finalize()),
        };
        id.expect("a digest has 20 or 32 bytes")
    }
}

/// Whether these bytes are the object of this id.
///
/// Plain SHA-1, several times as fast as with collision detection: who could put an object built to
/// collide here got past the detection, ours or Git's, when the object came in.
pub(crate) fn is(format: Format, id: &Id, kind: Kind, data: &[u8]) -> bool {
    let mut hash = Hasher::new(format);
    hash.update(format!("{kind} {}\0", data.len()).as_bytes());
    hash.update(data);
    hash.finish() == *id
}

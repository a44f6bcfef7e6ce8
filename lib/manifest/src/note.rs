//! The note as it lies in the file.
//!
//! An ELF note (gABI, "Note Section") of owner `Mirage`, type 1. Its description is
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | number of devices, at most 63 |
//! | for each device: 1 | kind: 1 net, 2 block |
//! | 1 | length of the name, 1 to 31 |
//! | n | the name |
//!
//! Numbers of the note's header are little-endian words of four bytes; name and description are
//! padded with zeros to four.

use crate::device::{Device, MAX_DEVICES};

/// The section that holds the note.
pub const SECTION: &str = ".note.mirage";
/// The note's owner, as it stands in the file.
pub const OWNER: &[u8; 7] = b"Mirage\0";
/// The note's type.
pub const TYPE: u32 = 1;
/// The version of the description.
pub const VERSION: u8 = 1;

/// Three words, and the owner padded.
pub(crate) const HEADER: usize = 12 + 8;

const fn description_len(devices: &[Device<'_>]) -> usize {
    let mut len = 2;
    let mut at = 0;
    while at < devices.len() {
        len += 2 + devices[at].name.len();
        at += 1;
    }
    len
}

/// The length in bytes of the note that names these devices.
pub const fn note_len(devices: &[Device<'_>]) -> usize {
    HEADER + description_len(devices).next_multiple_of(4)
}

/// A note that names an image's devices; `N` is [`note_len`].
#[derive(Debug)]
#[repr(C, align(4))]
pub struct Note<const N: usize>([u8; N]);

impl<const N: usize> Note<N> {
    /// The note of these devices.
    ///
    /// # Panics
    ///
    /// At compile time in a `static`: when there are more than 63 devices, a name is not one
    /// ([`Device::is_name`]), two devices share a name, or `N` is not [`note_len`].
    pub const fn new(devices: &[Device<'_>]) -> Self {
        assert!(
            devices.len() <= MAX_DEVICES,
            "an image can have at most 63 devices"
        );
        assert!(
            N == note_len(devices),
            "the note's length must be note_len of its devices"
        );
        let mut bytes = [0; N];
        put(&mut bytes, 0, &(OWNER.len() as u32).to_le_bytes());
        put(
            &mut bytes,
            4,
            &(description_len(devices) as u32).to_le_bytes(),
        );
        put(&mut bytes, 8, &TYPE.to_le_bytes());
        put(&mut bytes, 12, OWNER);
        bytes[HEADER] = VERSION;
        bytes[HEADER + 1] = devices.len() as u8;
        let mut place = HEADER + 2;
        let mut at = 0;
        while at < devices.len() {
            let name = devices[at].name.as_bytes();
            assert!(
                Device::is_name(name),
                "a device's name is 1 to 31 of a-z 0-9 _ . -"
            );
            let mut other = 0;
            while other < at {
                assert!(
                    !same(name, devices[other].name.as_bytes()),
                    "two devices have the same name"
                );
                other += 1;
            }
            bytes[place] = devices[at].kind.code();
            bytes[place + 1] = name.len() as u8;
            put(&mut bytes, place + 2, name);
            place += 2 + name.len();
            at += 1;
        }
        Self(bytes)
    }

    /// The note as it lies in the file.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const fn put(to: &mut [u8], place: usize, from: &[u8]) {
    let mut at = 0;
    while at < from.len() {
        to[place + at] = from[at];
        at += 1;
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

//! Where records lie, and by what they are found.

use irmin::Id;

/// Where a record lies, in eight bytes: slot, offset, whether it is the first part of an object, a later
/// one, a block of several or a chapter of the index of commits, and its length; offset and length in
/// units of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(pub u64);

impl Place {
    pub fn new(slot: u32, offset: u64, later_part: bool, len: usize) -> Place {
        Place(
            u64::from(slot) << 44
                | (offset / 8) << 20
                | u64::from(later_part) << 19
                | (len / 8) as u64,
        )
    }

    /// That of a block.
    pub fn of_block(slot: u32, offset: u64, len: usize) -> Place {
        Place(Place::new(slot, offset, false, len).0 | 1 << 18)
    }

    /// That of a chapter of the index of commits.
    pub fn of_chapter(slot: u32, offset: u64, len: usize) -> Place {
        Place(Place::new(slot, offset, true, len).0 | 1 << 18)
    }

    pub fn is_block(self) -> bool {
        self.0 >> 18 & 3 == 1
    }

    pub fn is_chapter(self) -> bool {
        self.0 >> 18 & 3 == 3
    }

    pub fn slot(self) -> u32 {
        (self.0 >> 44) as u32
    }

    pub fn offset(self) -> u64 {
        (self.0 >> 20 & 0xff_ffff) * 8
    }

    pub fn later_part(self) -> bool {
        self.0 >> 18 & 3 == 2
    }

    pub fn len(self) -> usize {
        (self.0 & 0x3_ffff) as usize * 8
    }

    /// The same record in another slot: an index on disk does not say in which it lies.
    pub fn in_slot(self, slot: u32) -> Place {
        Place(self.0 & ((1 << 44) - 1) | u64::from(slot) << 44)
    }
}

/// What finds a part of an object in the table: the first bytes of the id, mixed with the part's
/// number.
pub fn key(id: &Id, part: u32) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(first) ^ u64::from(part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

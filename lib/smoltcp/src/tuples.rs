//! Connections by their addresses and ports.

use core::hash::BuildHasher;

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

use crate::connection::Entry;
use crate::frame::Tuple;

/// What each tuple stands for.
pub(crate) type Tuples = HashMap<Tuple, Entry, Keyed>;

/// A hash with a secret key: nobody outside can choose ports that fall together.
#[derive(Clone)]
pub(crate) struct Keyed(pub [u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

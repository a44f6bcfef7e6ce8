//! The order in which Git goes through its hash tables, where what it finds depends on it.

use alloc::vec::Vec;

use crate::Path;

/// Puts different keys, given in the order in which Git meets them, into the order of its table.
pub(super) fn order(keys: Vec<Path>) -> Vec<Path> {
    let hashes: Vec<u32> = keys.iter().map(|key| hash(key.as_bytes())).collect();
    let bucket = |at: usize, size: usize| hashes[at] as usize & (size - 1);
    // Each bucket's first is the last here.
    let mut table: Vec<Vec<usize>> = alloc::vec![Vec::new(); 64];
    for at in 0..keys.len() {
        let size = table.len();
        table[bucket(at, size)].push(at);
        if at + 1 > size * 80 / 100 {
            let mut larger = alloc::vec![Vec::new(); size * 4];
            for old in table.iter().flat_map(|bucket| bucket.iter().rev()) {
                larger[bucket(*old, size * 4)].push(*old);
            }
            table = larger;
        }
    }
    let mut keys: Vec<Option<Path>> = keys.into_iter().map(Some).collect();
    let order = table.iter().flat_map(|bucket| bucket.iter().rev());
    order.filter_map(|at| keys[*at].take()).collect()
}

/// FNV-1.
fn hash(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte);
    key.iter().fold(0x811c_9dc5, step)
}

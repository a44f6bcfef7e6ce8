//! Objects that nothing leads to, with the times they were written last (gitformat-pack(5), `.mtimes`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use irmin::{Format, Id};
use irmin_packfile::Hasher;

use super::Listed;
use crate::error::Result;
use crate::file::hash_number;
use crate::pack::Pack;

/// What is here and not led to, with the latest time at which a copy was written.
pub(super) fn rest(
    here: &HashSet<Id>,
    led_to: &HashSet<Id>,
    packs: &[Listed<Arc<Pack>>],
    loose: &HashMap<Id, Listed<()>>,
) -> Result<HashMap<Id, SystemTime>> {
    let mut rest = HashMap::new();
    if here.len() == led_to.len() {
        return Ok(rest);
    }
    let mut see = |id: Id, time: SystemTime| {
        if !led_to.contains(&id) {
            let latest = rest.entry(id).or_insert(time);
            *latest = time.max(*latest);
        }
    };
    for pack in packs {
        let times = fs::read(pack.path.with_extension("mtimes")).unwrap_or_default();
        for (at, entry) in pack.what.index()?.all().enumerate() {
            let time = times.get(12 + 4 * at..16 + 4 * at);
            let time = time.map(|time| {
                let seconds = u32::from_be_bytes(time.try_into().expect("four bytes"));
                SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
            });
            see(entry?.0, time.unwrap_or(pack.modified));
        }
    }
    for (id, file) in loose {
        see(*id, file.modified);
    }
    Ok(rest)
}

/// The times of these objects, which are sorted by id, for the pack of this checksum.
pub(super) fn encode(format: Format, objects: &[(Id, SystemTime)], pack: &Id) -> Vec<u8> {
    let mut out = b"MTME\0\0\0\x01\0\0\0".to_vec();
    out.push(hash_number(format));
    for (_, time) in objects {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = seconds.map_or(0, |since| since.as_secs());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    out.extend_from_slice(pack.as_bytes());
    Hasher::seal(format, &mut out);
    out
}

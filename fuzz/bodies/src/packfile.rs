use std::collections::HashMap;

use irmin::{Backend, Format, Id, Memory, Object};
use irmin_packfile::{Base, Hasher, Header, Limits, PackStore, Parsed, Reader, TakeOptions, delta};

const LIMITS: Limits = Limits {
    objects: 1 << 16,
    object: 1 << 20,
    total: 8 << 20,
};

/// A pack from a stranger, its checksum put behind it: whatever was taken in has the id of its bytes, a
/// second reading finds the same entries, and what is given out again is the same.
pub fn packfile(input: &[u8]) {
    for format in [Format::GitSha1, Format::GitSha256] {
        let mut hash = Hasher::new(format);
        hash.update(input);
        let pack = [input, hash.finish().as_bytes()].concat();
        let store = Memory::new(format);
        let options = TakeOptions {
            limits: LIMITS,
            ..TakeOptions::default()
        };
        let taken = store.take_pack(&mut &pack[..], options);
        let ids = store.ids("", usize::MAX).unwrap();
        for id in &ids {
            let object = store.read(id).unwrap().unwrap();
            assert_eq!(format.id(object.kind, &object.data).ok(), Some(*id));
        }
        let Ok(taken) = taken else { continue };
        assert!(taken.bytes <= pack.len() as u64);
        let by_hand = by_hand(format, &pack[..taken.bytes as usize]);
        assert_eq!(by_hand.len(), ids.len());
        assert!(
            ids.iter()
                .all(|id| store.read(id).unwrap().as_ref() == by_hand.get(id))
        );
        let mut again = Vec::new();
        let given = store
            .give_pack(&ids, &mut again, Default::default())
            .unwrap();
        assert_eq!(
            (given.objects as usize, given.bytes),
            (ids.len(), again.len() as u64)
        );
        let other = Memory::new(format);
        other
            .take_pack(&mut &again[..], TakeOptions::default())
            .unwrap();
        assert_eq!(other.ids("", usize::MAX).unwrap(), ids);
    }
}

/// All objects of a pack that is known to be good, found by trying until nothing is left.
fn by_hand(format: Format, pack: &[u8]) -> HashMap<Id, Object> {
    let mut reader = Reader::new(pack, format, LIMITS).unwrap();
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next(&mut data).unwrap() {
        let at = entry.offset as usize;
        let Parsed::Header(header) = Header::parse(&pack[at..], entry.offset, format) else {
            panic!("its head was read a moment ago");
        };
        assert_eq!((header.base, header.size), (entry.base, data.len() as u64));
        entries.push((entry.offset, entry.base, data.clone()));
    }
    let (mut found, mut places) = (HashMap::new(), HashMap::new());
    while !entries.is_empty() {
        let before = entries.len();
        entries.retain(|(offset, base, data)| {
            let base: Option<&Object> = match base {
                Base::Whole(kind) => {
                    let object = Object::new(format, *kind, data.clone()).unwrap();
                    places.insert(*offset, object.id);
                    found.insert(object.id, object);
                    return false;
                }
                Base::Offset(place) => places.get(place).and_then(|id| found.get(id)),
                Base::Id(id) => found.get(id),
            };
            let Some(base) = base else { return true };
            let made = delta::apply(&base.data, data, LIMITS.object).unwrap();
            let object = Object::new(format, base.kind, made).unwrap();
            places.insert(*offset, object.id);
            found.insert(object.id, object);
            false
        });
        assert!(
            entries.len() < before,
            "what was taken in has all its bases"
        );
    }
    found
}

//! Packs that lie, end early or were changed on the way.

use std::io::{self, Read};

use irmin::{Backend, Format, Id, Kind, Memory, Object};
use irmin_packfile::zlib::{Deflate, Effort};
use irmin_packfile::{
    Base, GiveOptions, Hasher, Header, Limits, PackError, PackStore, TakeOptions, Taken, Writer,
    delta,
};

const FORMAT: Format = Format::GitSha1;

fn take(store: &Memory, pack: &[u8], limits: Limits) -> Result<Taken, PackError> {
    let options = TakeOptions {
        limits,
        ..TakeOptions::default()
    };
    store.take_pack(&mut &pack[..], options)
}

fn id(number: u8) -> Id {
    Id::from_bytes(&[number; 20]).unwrap()
}

/// A pack of what `fill` adds, with a right checksum.
fn pack(count: u32, fill: impl FnOnce(&mut Writer<Vec<u8>>)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), FORMAT, count, Effort::Usual);
    fill(&mut writer);
    writer.finish().unwrap().out
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    Hasher::seal(FORMAT, &mut body);
    body
}

fn with_deltas() -> Vec<u8> {
    let base: Vec<u8> = (0..3000u32).map(|n| ((n * n) >> 4) as u8).collect();
    let mut other = base.clone();
    other[1000..1040].fill(0);
    let made = delta::make(&base, &other, 1000).unwrap();
    let base_id = FORMAT.id(Kind::Blob, &base).unwrap();
    pack(4, |writer| {
        // One that comes before its base, by id, and one that stands on it.
        let first = writer.delta(id(1), Base::Id(base_id), &made).unwrap();
        let next = delta::make(&other, &base[..2000], 2000).unwrap();
        writer.delta(id(2), Base::Offset(first), &next).unwrap();
        writer.whole(base_id, Kind::Blob, &base).unwrap();
        writer.whole(id(3), Kind::Blob, b"small").unwrap();
    })
}

#[test]
fn deltas_may_come_before_their_bases() {
    let store = Memory::new(FORMAT);
    let taken = take(&store, &with_deltas(), Limits::default()).unwrap();
    assert_eq!((taken.objects, taken.deltas, store.len()), (4, 2, 4));
}

#[test]
fn a_pack_that_is_cut_or_changed_anywhere_is_refused_and_leaves_no_wrong_object() {
    let pack = with_deltas();
    for cut in 0..pack.len() {
        let store = Memory::new(FORMAT);
        let error = take(&store, &pack[..cut], Limits::default()).unwrap_err();
        assert!(matches!(error, PackError::Cut { .. }), "{cut}: {error}");
    }
    for at in 0..pack.len() {
        for bit in [1, 0x10, 0x80] {
            let mut bytes = pack.clone();
            bytes[at] ^= bit;
            let store = Memory::new(FORMAT);
            assert!(take(&store, &bytes, Limits::default()).is_err(), "{at}");
            for id in store.ids("", usize::MAX).unwrap() {
                let object = store.read(&id).unwrap().unwrap();
                assert_eq!(FORMAT.id(object.kind, &object.data).unwrap(), id);
            }
        }
    }
}

#[test]
fn deltas_in_a_circle_and_on_nothing_are_bases_that_are_missing() {
    let made = delta::make(b"0123456789abcdef", b"0123456789abcdeg", 100).unwrap();
    let circle = pack(2, |writer| {
        writer.delta(id(1), Base::Id(id(2)), &made).unwrap();
        writer.delta(id(2), Base::Id(id(1)), &made).unwrap();
    });
    let error = take(&Memory::new(FORMAT), &circle, Limits::default()).unwrap_err();
    assert!(
        matches!(error, PackError::MissingBase { count: 2, .. }),
        "{error}"
    );
    // An offset at which nothing begins.
    let beside = pack(2, |writer| {
        let first = writer
            .whole(id(1), Kind::Blob, b"0123456789abcdef")
            .unwrap();
        writer.delta(id(2), Base::Offset(first + 1), &made).unwrap();
    });
    let error = take(&Memory::new(FORMAT), &beside, Limits::default()).unwrap_err();
    assert!(matches!(error, PackError::Damaged { .. }), "{error}");
}

#[test]
fn absurd_counts_and_sizes_cost_nothing() {
    let mut many = b"PACK\0\0\0\x02\xff\xff\xff\xff".to_vec();
    let store = Memory::new(FORMAT);
    let error = take(&store, &many, Limits::default()).unwrap_err();
    assert!(matches!(error, PackError::Cut { offset: 12 }));
    let few = Limits {
        objects: 1000,
        ..Limits::default()
    };
    assert!(matches!(
        take(&store, &many, few),
        Err(PackError::TooLarge { .. })
    ));
    // An object that says it has 2^50 bytes, and one of 2^31 with some bytes behind.
    for size in [1 << 50, 1 << 31] {
        many.truncate(8);
        many.extend_from_slice(&[0, 0, 0, 1]);
        Header::push(Base::Whole(Kind::Blob), size, 12, &mut many);
        Deflate::new(Effort::Usual).push(b"few", &mut many);
        let lie = sealed(many.clone());
        assert!(take(&store, &lie, Limits::default()).is_err());
    }
    assert!(store.is_empty());
}

#[test]
fn bombs_meet_the_limits() {
    let zeros = vec![0; 4 << 20];
    let bomb = pack(1, |writer| {
        writer.whole(id(1), Kind::Blob, &zeros).unwrap();
    });
    let limits = Limits {
        object: 1 << 20,
        ..Limits::default()
    };
    let error = take(&Memory::new(FORMAT), &bomb, limits).unwrap_err();
    assert!(error.to_string().contains("4194304 bytes"), "{error}");
    // 200 deltas of some bytes, each of which makes a megabyte of one more.
    let mut last = vec![7; 1 << 20];
    let chain = pack(201, |writer| {
        let mut base = writer.whole(id(1), Kind::Blob, &last).unwrap();
        for n in 0..200 {
            let mut next = last.clone();
            next[n] = 8;
            let made = delta::make(&last, &next, 1000).unwrap();
            base = writer.delta(id(2), Base::Offset(base), &made).unwrap();
            last = next;
        }
    });
    assert!(chain.len() < 20_000);
    let limits = Limits {
        total: 50 << 20,
        ..Limits::default()
    };
    let error = take(&Memory::new(FORMAT), &chain, limits).unwrap_err();
    assert!(
        error.to_string().contains("more bytes than the limit"),
        "{error}"
    );
    let store = Memory::new(FORMAT);
    take(&store, &chain, Limits::default()).unwrap();
    assert_eq!(store.len(), 201);
}

/// Gives one byte at a time, and fails when it is asked for more than there is.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (first, rest) = self.0.split_first().expect("nobody waits behind the end");
        (out[0], self.0) = (*first, rest);
        Ok(1)
    }
}

#[test]
fn nobody_waits_for_a_byte_behind_the_pack() {
    let pack = with_deltas();
    let store = Memory::new(FORMAT);
    store
        .take_pack(&mut Dripping(&pack), TakeOptions::default())
        .unwrap();
    assert_eq!(store.len(), 4);
    // What follows the pack is not its concern.
    let longer = [&pack[..], b"more"].concat();
    take(&store, &longer, Limits::default()).unwrap();
}

#[test]
fn a_receiver_that_stops_is_told() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let store = Memory::new(FORMAT);
    let object = Object::new(FORMAT, Kind::Blob, &b"x"[..]).unwrap();
    store.write(std::slice::from_ref(&object)).unwrap();
    let error = store.give_pack(&[object.id], &mut Full, GiveOptions::default());
    assert!(matches!(error, Err(PackError::Write(_))));
}

//! Full disks, large values, many names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use irmin::{
    Backend, BackendError, Expect, Format, Id, Kind, Object, RefEdit, RefName, UpdateError,
};
use irmin_pack::{Files, MIN_SEGMENT, Pack, Ram, Storage};

/// Storage with so many bytes, as a disk has that others fill too.
struct Small {
    inner: Ram,
    left: AtomicI64,
    flushes: AtomicU64,
    broken: AtomicBool,
}

impl Storage for Small {
    fn capacity(&self) -> u64 {
        self.inner.capacity()
    }
    fn slots(&self) -> u32 {
        self.inner.slots()
    }
    fn used(&self) -> Result<Vec<u32>, BackendError> {
        self.inner.used()
    }
    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        self.inner.read(slot, offset, into)
    }
    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let left = self.left.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
        if left < bytes.len() as i64 {
            self.left.fetch_add(bytes.len() as i64, Ordering::SeqCst);
            self.inner
                .write(slot, offset, &bytes[..left.max(0) as usize])?;
            return Err(BackendError::Full {
                what: "the disk".into(),
            });
        }
        self.inner.write(slot, offset, bytes)
    }
    fn flush(&self) -> Result<(), BackendError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(BackendError::Io {
                what: "flushing".into(),
                source: Arc::new(std::fmt::Error),
            });
        }
        self.inner.flush()
    }
    fn free(&self, slot: u32) -> Result<(), BackendError> {
        self.inner.free(slot)
    }
}

fn object(n: u64) -> Object {
    let data: Vec<u8> = (0..n * 37 % 900)
        .map(|at| (at ^ n) as u8)
        .chain(n.to_le_bytes())
        .collect();
    Object::new(Format::Native, Kind::Blob, data).unwrap()
}

fn set(name: &str, id: Id) -> RefEdit {
    RefEdit {
        name: RefName::branch(name).unwrap(),
        expect: Expect::Any,
        new: Some(id),
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_is_an_error_and_no_end() {
    for room in (20_000..230_000).step_by(997) {
        let storage = Arc::new(Small {
            inner: Ram::default(),
            left: AtomicI64::new(room),
            flushes: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        });
        let store = Pack::create_with(storage.clone(), Format::Native, MIN_SEGMENT).unwrap();
        let mut written = Vec::new();
        let mut head = None;
        let full = loop {
            let object = object(written.len() as u64);
            if let Err(error) = store.write(std::slice::from_ref(&object)) {
                break error;
            }
            written.push(object.clone());
            match store.update(&[set("main", object.id)]) {
                Ok(()) => head = Some(object.id),
                Err(UpdateError::Backend(error)) => break error,
                Err(other) => panic!("{other}"),
            }
        };
        assert!(matches!(full, BackendError::Full { .. }), "{full}");
        let sound = |store: &Pack<Arc<Small>>| {
            for object in &written {
                assert_eq!(store.read(&object.id).unwrap().as_ref(), Some(object));
            }
            assert_eq!(store.head(&RefName::branch("main").unwrap()).unwrap(), head);
        };
        sound(&store);
        // Once there is room it goes on, in this value and in the next.
        storage.left.store(1 << 30, Ordering::SeqCst);
        for n in 10_000..10_003 {
            store.write(&[object(n)]).unwrap();
        }
        store.flush().unwrap();
        drop(store);
        let store = Pack::open(storage).unwrap();
        sound(&store);
        assert!(store.contains(&object(10_002).id).unwrap());
        assert!(store.check().unwrap().is_sound());
    }
}

/// `MIB=1024 cargo test --release -p irmin-pack --test limits large` tries a value of 1 GiB.
#[test]
fn a_value_larger_than_many_segments_is_read_back() {
    let mib: usize = std::env::var("MIB").map_or(6, |mib| mib.parse().unwrap());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let files = Files::open(directory.path()).unwrap();
    let segment = if mib > 64 {
        irmin_pack::SEGMENT
    } else {
        1 << 20
    };
    let store = Pack::create_with(files, Format::GitSha256, segment).unwrap();
    let data: Vec<u8> = (0..mib << 20)
        .map(|at| (at >> 9) as u8 ^ at as u8)
        .collect();
    let object = Object::new(Format::GitSha256, Kind::Blob, data).unwrap();
    store.write(std::slice::from_ref(&object)).unwrap();
    store.write(std::slice::from_ref(&object)).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = Pack::open(Files::open(directory.path()).unwrap()).unwrap();
    assert!(store.contains(&object.id).unwrap());
    assert!(store.read(&object.id).unwrap() == Some(object));
}

#[test]
fn names_that_no_segment_could_list_are_refused() {
    let store = Pack::create_with(Ram::default(), Format::Native, MIN_SEGMENT).unwrap();
    let object = object(1);
    store.write(std::slice::from_ref(&object)).unwrap();
    let refused = (0..2000).find_map(|n| {
        let name = format!("branch-{n}");
        store.update(&[set(&name, object.id)]).err()
    });
    assert!(matches!(
        refused,
        Some(UpdateError::Backend(BackendError::Refused { .. }))
    ));
    // Those that are there move on, and segments begin with all of them.
    for n in 0..3000 {
        store
            .update(&[set(&format!("branch-{}", n % 50), object.id)])
            .unwrap();
    }
    assert!(store.check().unwrap().segments > 3);
}

#[test]
fn who_waits_for_a_flush_shares_it() {
    let storage = Arc::new(Small {
        inner: Ram::default(),
        left: AtomicI64::new(1 << 40),
        flushes: AtomicU64::new(0),
        broken: AtomicBool::new(false),
    });
    let store = Pack::create(storage.clone(), Format::Native).unwrap();
    store.flush().unwrap();
    let before = storage.flushes.load(Ordering::SeqCst);
    store.flush().unwrap();
    assert_eq!(
        storage.flushes.load(Ordering::SeqCst),
        before,
        "nothing new to flush"
    );
    std::thread::scope(|threads| {
        for writer in 0..8u64 {
            let store = &store;
            threads.spawn(move || {
                for n in 0..100 {
                    store.write(&[object(writer << 32 | n)]).unwrap();
                    store.flush().unwrap();
                }
            });
        }
    });
    let flushes = storage.flushes.load(Ordering::SeqCst) - before;
    assert!(flushes <= 800, "{flushes} flushes for 800 commits");
}

#[test]
fn after_a_flush_that_failed_nothing_is_acknowledged_until_the_store_is_opened_again() {
    let storage = Arc::new(Small {
        inner: Ram::default(),
        left: AtomicI64::new(1 << 40),
        flushes: AtomicU64::new(0),
        broken: AtomicBool::new(false),
    });
    let store = Pack::create(storage.clone(), Format::Native).unwrap();
    store.write(&[object(1)]).unwrap();
    storage.broken.store(true, Ordering::SeqCst);
    store.flush().unwrap_err();
    storage.broken.store(false, Ordering::SeqCst);
    assert!(store.flush().is_err() && store.write(&[object(2)]).is_err());
    assert!(store.update(&[set("main", object(1).id)]).is_err());
    assert!(store.contains(&object(1).id).unwrap(), "it can be read");
    drop(store);
    let store = Pack::open(storage).unwrap();
    store.write(&[object(2)]).unwrap();
    store.flush().unwrap();
}

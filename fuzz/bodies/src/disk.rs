use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use irmin::{Backend, Info, Repo, Signature};
use irmin_behind::{Behind, Driver, LEAST_SIZE, OpenError, Options};
use mirage_device::{Block, BlockError, BlockInfo};

use crate::input::Input;

/// A disk with a store on it, and any of its bytes, sectors and segments changed or swapped: opening
/// it is an error that leaves it as it was, or what can be read of it has the id that it is asked for
/// by, and the store takes a change that is there when it is opened again.
pub fn disk(input: &[u8]) {
    let mut input = Input::new(input);
    let repair = input.byte() & 1 == 1;
    let mut bytes = sample().clone();
    for _ in 0..input.below(8) {
        damage(&mut input, &mut bytes);
    }
    let before = bytes.clone();
    let disk = Ram(Rc::new(RefCell::new(bytes)));
    let options = Options {
        repair,
        ..Options::default()
    };
    let (store, mut driver) = match open(&disk, &options) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(repair || *disk.0.borrow() == before, "it was changed");
            return;
        }
    };
    let store = Arc::new(store);
    let check = store.check().expect("memory can be read");
    assert!(!repair || check.damage.is_empty(), "{check:?}");
    for id in store.ids("", 200).unwrap_or_default() {
        if let Ok(Some(object)) = store.read(&id) {
            let found = store.format().id(object.kind, &object.data);
            assert_eq!(found.ok(), Some(id), "other bytes than were asked for");
        }
    }
    let other = Repo::new(store.clone()).branch("other").expect("a name");
    if other.change(&info(), |edit| edit.set("new", "1")).is_err() {
        return;
    }
    ready(driver.catch_up()).expect("a disk in memory");
    drop(driver);
    let (again, _driver) = open(&disk, &Options::default()).expect("it was open before");
    let other = Repo::new(again).branch("other").expect("a name");
    let tree = other.tree().expect("what was durable is there");
    assert_eq!(tree.get("new").expect("it is").as_deref(), Some(&b"1"[..]));
}

fn damage(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    let sector = 512 * (usize::from(input.half()) % (bytes.len() / 512).max(1));
    let length = bytes.len();
    match input.below(6) {
        0 => {
            let at = (sector + usize::from(input.half()) % 512).min(length - 1);
            bytes[at] ^= 1 << input.below(8);
        }
        1 => bytes[sector..sector + 512].fill(input.byte()),
        2 => {
            let with = input.bytes(512);
            bytes[sector..sector + with.len()].copy_from_slice(with);
        }
        3 => {
            let from = 512 * (usize::from(input.half()) % (length / 512));
            bytes.copy_within(from..from + 512, sector);
        }
        4 => {
            let slots = length >> 16;
            let (from, to) = (input.below(slots), input.below(slots));
            bytes.copy_within(from << 16..(from + 1) << 16, to << 16);
        }
        _ => bytes.resize(length + (1 << 16), input.byte()),
    }
}

/// The least disk, with a small history on it.
fn sample() -> &'static Vec<u8> {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let disk = Ram(Rc::new(RefCell::new(vec![0; LEAST_SIZE as usize])));
        let (store, mut driver) = open(&disk, &Options::default()).expect("it is empty");
        let store = Arc::new(store);
        let main = Repo::new(store).branch("main").expect("a name");
        for n in 0..24_u8 {
            let value = vec![n; 4000 + usize::from(n)];
            let set = main.change(&info(), |edit| {
                edit.set(format!("{}", n % 9), value.clone())
            });
            set.expect("there is room");
            ready(driver.catch_up()).expect("a disk in memory");
        }
        disk.0.take()
    })
}

fn info() -> Info {
    Info::new(Signature::new("Ada", "ada@example.org", 1, 0), "Change")
}

fn open(disk: &Ram, options: &Options) -> Result<(Behind, Driver<Ram>), OpenError> {
    ready(Behind::open(disk.clone(), options))
}

/// What a future gives that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a disk in memory keeps nobody waiting"),
    }
}

/// A disk in memory.
#[derive(Clone)]
struct Ram(Rc<RefCell<Vec<u8>>>);

impl Block for Ram {
    fn info(&self) -> BlockInfo {
        BlockInfo::new(self.0.borrow().len() as u64, 512, true, true)
    }

    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError> {
        let bytes = self.0.borrow();
        let mut at = offset as usize;
        for buffer in buffers {
            self.info().check(at as u64, buffer.len() as u64)?;
            buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        let mut at = offset as usize;
        for buffer in buffers {
            self.info().check(at as u64, buffer.len() as u64)?;
            self.0.borrow_mut()[at..at + buffer.len()].copy_from_slice(buffer);
            at += buffer.len();
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }
}

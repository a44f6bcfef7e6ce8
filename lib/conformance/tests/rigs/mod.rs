//! Devices in memory to run the suites on: right ones, which the wrong ones wrap.
#![allow(dead_code, reason = "each test program uses a part")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use mirage_conformance::{Report, Sentence};
use mirage_device::{
    Block, BlockError, BlockInfo, Console, Entropy, EntropyError, Net, NetError, NetInfo, Received,
    Stack, Transmit, Udp,
};
use mirage_sim::World;

/// Runs a suite on simulated time.
pub fn run(suite: impl AsyncFnOnce(World) -> Report) -> Report {
    let simulation = World::new(0);
    simulation.clone().block_on(suite(simulation))
}

/// Asks that the suite has caught a wrong provider by this sentence first.
#[track_caller]
pub fn caught(report: &Report, sentence: Sentence) {
    assert_eq!(
        report.failures().next(),
        Some(&sentence),
        "caught by another sentence:\n{report}"
    );
}

/// A console that remembers.
#[derive(Clone, Default)]
pub struct Page(pub Rc<RefCell<Vec<u8>>>);

impl Console for Page {
    fn write(&self, bytes: &[u8]) {
        self.0.borrow_mut().extend_from_slice(bytes);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Default)]
pub struct Random(Rc<Cell<u64>>);

impl Random {
    pub fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let z = self.0.get();
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.iter_mut().for_each(|byte| *byte = self.next() as u8);
        Ok(())
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a wire that holds a hundred frames each way.
pub struct End {
    mac: [u8; 6],
    incoming: Rc<RefCell<Queue>>,
    outgoing: Rc<RefCell<Queue>>,
}

const ROOM: usize = 100;

/// Both ends of a wire.
pub fn wire() -> (End, End) {
    let (a, b) = (
        Rc::<RefCell<Queue>>::default(),
        Rc::<RefCell<Queue>>::default(),
    );
    let end = |n, incoming: &Rc<RefCell<Queue>>, outgoing: &Rc<RefCell<Queue>>| End {
        mac: [2, 0, 0, 0, 0, n],
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
    };
    (end(1, &a, &b), end(2, &b, &a))
}

impl Net for End {
    fn info(&self) -> NetInfo {
        NetInfo::plain(self.mac, 1500)
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let mut queue = self.incoming.borrow_mut();
        let Some(frame) = queue.frames.pop_front() else {
            return Ok(None);
        };
        queue.writer.take().into_iter().for_each(Waker::wake);
        let space = buffer.get_mut(..frame.len()).ok_or(NetError::TooLong)?;
        space.copy_from_slice(&frame);
        Ok(Some(Received::new(frame.len(), false)))
    }

    fn send(&self, frame: &[u8], _: Transmit) -> Result<(), NetError> {
        let mut queue = self.outgoing.borrow_mut();
        if queue.frames.len() >= ROOM {
            return Err(NetError::Full);
        }
        queue.frames.push_back(frame.to_vec());
        queue.reader.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.incoming.borrow_mut();
        if !queue.frames.is_empty() {
            return Poll::Ready(());
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.outgoing.borrow_mut();
        if queue.frames.len() < ROOM {
            return Poll::Ready(());
        }
        queue.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A disk whose power can be cut: what was not flushed is then half lost. Operations complete
/// when they are polled for the second time.
#[derive(Clone)]
pub struct Disk {
    pub info: BlockInfo,
    /// What reads see.
    pub volatile: Rc<RefCell<Vec<u8>>>,
    /// What a power cut leaves.
    pub durable: Rc<RefCell<Vec<u8>>>,
}

const SECTOR: usize = 512;

impl Disk {
    pub fn new(writable: bool) -> Self {
        let bytes = vec![0; 128 * SECTOR];
        Self {
            info: BlockInfo::new(bytes.len() as u64, SECTOR as u32, writable, true),
            volatile: Rc::new(RefCell::new(bytes.clone())),
            durable: Rc::new(RefCell::new(bytes)),
        }
    }

    /// Every second sector that was written and not flushed is lost.
    pub fn cut_power(&self) {
        let (mut volatile, mut durable) = (self.volatile.borrow_mut(), self.durable.borrow_mut());
        let sectors = volatile.chunks_mut(SECTOR).zip(durable.chunks_mut(SECTOR));
        let mut lose = false;
        for (now, kept) in sectors.filter(|(now, kept)| now != kept) {
            lose = !lose;
            if !lose {
                kept.copy_from_slice(now);
            }
            now.copy_from_slice(kept);
        }
    }

    pub fn check(
        &self,
        offset: u64,
        buffers: impl Iterator<Item = usize>,
    ) -> Result<(), BlockError> {
        self.info.check(offset, buffers.map(|len| len as u64).sum())
    }

    fn writable(&self) -> Result<(), BlockError> {
        if self.info.writable {
            Ok(())
        } else {
            Err(BlockError::ReadOnly)
        }
    }
}

/// Comes back when everybody else has run.
pub async fn turn() {
    let mut turned = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Block for Disk {
    fn info(&self) -> BlockInfo {
        self.info
    }

    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError> {
        self.check(offset, buffers.iter().map(|buffer| buffer.len()))?;
        turn().await;
        let mut at = offset as usize;
        for buffer in buffers {
            buffer.copy_from_slice(&self.volatile.borrow()[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        self.writable()?;
        self.check(offset, buffers.iter().map(|buffer| buffer.len()))?;
        let bytes = buffers.concat();
        // A write that is dropped half way has written its first half.
        let half = bytes.len() / SECTOR / 2 * SECTOR;
        let at = offset as usize;
        self.volatile.borrow_mut()[at..at + half].copy_from_slice(&bytes[..half]);
        turn().await;
        self.volatile.borrow_mut()[at..at + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        let before = self.volatile.borrow().clone();
        turn().await;
        *self.durable.borrow_mut() = before;
        Ok(())
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writable()?;
        self.info.check(offset, len)?;
        turn().await;
        self.volatile.borrow_mut()[offset as usize..(offset + len) as usize].fill(0);
        Ok(())
    }
}

/// Answers questions for one name with one address, and that no other name is there (RFC 1035).
pub async fn name_server(stack: impl Stack, name: &str, address: Ipv4Addr) {
    let udp = stack.bind_udp("[::]:53".parse().unwrap()).unwrap();
    let wanted: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .chain([0])
        .collect();
    let mut message = [0; 512];
    while let Ok((len, from)) = udp.receive(&mut message).await {
        let question = &message[12..len];
        let known = question.starts_with(&wanted);
        let asks_for_ipv4 = question[question.len() - 4..] == [0, 1, 0, 1];
        let answers = known && asks_for_ipv4;
        let code = if known { 0 } else { 3 };
        let mut answer = message[..2].to_vec();
        answer.extend([0x84, code, 0, 1, 0, u8::from(answers), 0, 0, 0, 0]);
        answer.extend(question);
        if answers {
            // The name at byte 12, an address of the Internet, an hour, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
            answer.extend(address.octets());
        }
        udp.send(&answer, from).await.unwrap();
    }
}

extern crate std;

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::Poll;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mirage_device::platform::{
    BlockOperation, DeviceEntry, DeviceId, DeviceKind, Platform, Ready, Ticket,
};
use mirage_device::{
    BlockError, BlockInfo, ChecksumStart, EntropyError, Instant, NetError, NetInfo, Received,
    Segmentation, Transmit,
};
use proptest::prelude::*;

use super::*;
use crate::format::{LEAST_SEGMENT, PAGE};

mod files;
mod runs;

/// A platform whose answers are a stream of random numbers; it counts what it is asked.
struct World {
    words: Vec<String>,
    seed: Cell<u64>,
    asked: Cell<u32>,
    written: RefCell<Vec<u8>>,
    ended: Cell<Option<u8>>,
}

/// Events before the first call: three arguments, two devices, and the ends of both.
const BEGIN: u64 = 7;

const NET: DeviceId = DeviceId(0);
const DISK: DeviceId = DeviceId(1);
const NET_INFO: NetInfo = NetInfo::offloading([2, 0, 0, 0, 0, 9], 1500);
const DISK_INFO: BlockInfo = BlockInfo::new(1 << 20, 512, true, false);

impl World {
    fn new(seed: u64) -> Self {
        Self {
            words: ["port=80", "", "näme=x\ny"].map(String::from).to_vec(),
            seed: Cell::new(seed),
            asked: Cell::new(0),
            written: RefCell::default(),
            ended: Cell::new(None),
        }
    }

    /// The next number, below `below`.
    fn random(&self, below: u64) -> u64 {
        // SplitMix64.
        let seed = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(seed);
        let mix = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mix = (mix ^ mix >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mix ^ mix >> 31) % below
    }

    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.random(256) as u8;
        }
    }
}

impl Platform for World {
    fn now(&self) -> Instant {
        self.ask();
        let seed = self.seed.get();
        let jump = match self.random(20) {
            0 => u64::MAX,
            _ => 1 << self.random(40),
        };
        self.seed.set(seed.wrapping_add(1));
        Instant::from_nanos(jump.wrapping_add(self.random(1 << 30)))
    }

    fn wall(&self) -> Option<Duration> {
        self.ask();
        let time = Duration::new(self.random(1 << 40), self.random(1_000_000_000) as u32);
        (self.random(4) != 0).then_some(time)
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.ask();
        match self.random(5) {
            0 => return Err(EntropyError::NotReady),
            1 => return Err(EntropyError::NoSource),
            _ => {}
        }
        self.fill(buffer);
        Ok(())
    }

    fn console(&self, bytes: &[u8]) {
        self.written.borrow_mut().extend_from_slice(bytes);
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        let entry = |name, kind| DeviceEntry { name, kind };
        [
            entry("net", DeviceKind::Net),
            entry("disk", DeviceKind::Block),
        ]
        .into_iter()
    }

    fn net_info(&self, _: DeviceId) -> NetInfo {
        NET_INFO
    }

    fn net_receive(&self, _: DeviceId, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        self.ask();
        match self.random(8) {
            0 => Ok(None),
            1 => Err(NetError::TooLong),
            2 => Err(NetError::Gone),
            valid => {
                let len = self.random(buffer.len() as u64 + 1) as usize;
                self.fill(&mut buffer[..len]);
                Ok(Some(Received::new(len, valid == 3)))
            }
        }
    }

    fn net_send(&self, _: DeviceId, _: &[u8], _: Transmit) -> Result<(), NetError> {
        self.ask();
        match self.random(6) {
            0 => Err(NetError::Full),
            1 => Err(NetError::TooLong),
            2 => Err(NetError::Gone),
            _ => Ok(()),
        }
    }

    fn block_info(&self, _: DeviceId) -> BlockInfo {
        DISK_INFO
    }

    fn block(
        &self,
        _: DeviceId,
        _: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        self.ask();
        let result = match self.random(10) {
            0 => Err(BlockError::Misaligned),
            1 => Err(BlockError::OutOfRange),
            2 => Err(BlockError::ReadOnly),
            3 => Err(BlockError::Unsupported),
            4 => Err(BlockError::NoSpace),
            5 => Err(BlockError::Io),
            6 => return Poll::Pending,
            _ => Ok(()),
        };
        if let (BlockOperation::Read(_, buffers), Ok(())) = (operation, result) {
            buffers.iter_mut().for_each(|buffer| self.fill(buffer));
        }
        Poll::Ready(result)
    }

    fn block_abandon(&self, _: DeviceId, _: Ticket) {
        self.ask();
    }

    fn wait(&self, _: Option<Instant>) -> Ready {
        self.ask();
        Ready {
            input: self.random(1 << 63),
            output: self.random(4),
        }
    }

    fn exit(&self, status: u8) -> ! {
        self.ended.set(Some(status));
        // What ends a program ends a test's run of one: it is caught there.
        std::panic::resume_unwind(std::boxed::Box::new(Ended))
    }
}

struct Ended;

/// One call, with what the program gives.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    Now,
    Wall,
    Entropy(usize),
    Console(Vec<u8>),
    Receive(usize),
    Send(Vec<u8>, Transmit),
    Read(u64, Vec<usize>),
    Write(u64, Vec<u8>),
    Flush,
    Discard(u64, u64),
    Abandon,
    Wait,
}

/// Makes the call; yields all that it answered.
fn make(platform: &impl Platform, call: &Call) -> String {
    let block = |operation| {
        let answer = platform.block(DISK, &mut Ticket::default(), operation);
        std::format!("{answer:?}")
    };
    match call {
        Call::Now => std::format!("{:?}", platform.now()),
        Call::Wall => std::format!("{:?}", platform.wall()),
        Call::Entropy(len) => {
            let mut buffer = vec![0; *len];
            let answer = platform.entropy(&mut buffer);
            std::format!("{answer:?} {buffer:?}")
        }
        Call::Console(bytes) => {
            platform.console(bytes);
            String::new()
        }
        Call::Receive(len) => {
            let mut buffer = vec![0; *len];
            let answer = platform.net_receive(NET, &mut buffer);
            std::format!("{answer:?} {buffer:?}")
        }
        Call::Send(frame, transmit) => {
            std::format!("{:?}", platform.net_send(NET, frame, *transmit))
        }
        Call::Read(offset, lens) => {
            let mut buffers: Vec<_> = lens.iter().map(|len| vec![0; *len]).collect();
            let mut slices: Vec<&mut [u8]> = buffers.iter_mut().map(|b| &mut b[..]).collect();
            let answer = block(BlockOperation::Read(*offset, &mut slices));
            std::format!("{answer} {buffers:?}")
        }
        Call::Write(offset, bytes) => {
            let (a, b) = bytes.split_at(bytes.len() / 2);
            block(BlockOperation::Write(*offset, &[a, b]))
        }
        Call::Flush => block(BlockOperation::Flush),
        Call::Discard(offset, len) => block(BlockOperation::Discard(*offset, *len)),
        Call::Abandon => {
            platform.block_abandon(DISK, Ticket::default());
            String::new()
        }
        Call::Wait => std::format!("{:?}", platform.wait(None)),
    }
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    let transmit = (any::<u16>(), any::<u16>(), any::<bool>(), 0u8..3);
    let transmit = transmit.prop_map(|(start, offset, ipv6, parts)| Transmit {
        checksum: (parts > 0).then_some(ChecksumStart { start, offset }),
        segmentation: (parts > 1).then_some(Segmentation {
            ipv6,
            header_len: offset,
            segment_size: start,
        }),
    });
    prop_oneof![
        3 => Just(Call::Now),
        1 => Just(Call::Wall),
        1 => (0usize..100).prop_map(Call::Entropy),
        1 => bytes(100).prop_map(Call::Console),
        3 => (0usize..2000).prop_map(Call::Receive),
        3 => (bytes(200), transmit).prop_map(|(frame, transmit)| Call::Send(frame, transmit)),
        1 => (any::<u64>(), prop::collection::vec(0usize..600, 0..4))
            .prop_map(|(offset, lens)| Call::Read(offset, lens)),
        1 => (any::<u64>(), bytes(300)).prop_map(|(offset, bytes)| Call::Write(offset, bytes)),
        1 => Just(Call::Flush),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(offset, len)| Call::Discard(offset, len)),
        1 => Just(Call::Abandon),
        3 => Just(Call::Wait),
    ]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(call(), 0..200)
}

fn description() -> Description {
    Description {
        name: "test".into(),
        image: "ab".repeat(32),
        path: "/a path/with\nlines and \\n and \\".into(),
        platform: "test".into(),
        arguments: vec![String::new(), "port=80".into(), "end\r".into()],
        memory: 32 << 20,
        counters: 4096,
    }
}

/// Runs something up to where the program ends.
fn ending(run: impl FnOnce()) {
    let ended = catch_unwind(AssertUnwindSafe(run));
    if let Err(payload) = ended
        && !payload.is::<Ended>()
    {
        std::panic::resume_unwind(payload);
    }
}

//! Wires: two network devices, and what lies between them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mirage_device::{Net, NetError, NetInfo, Received, Segmentation, Sleep, Spawn, Task, Transmit};

use super::World;

/// What a wire is like.
#[derive(Clone, Copy)]
pub struct Options {
    pub mtu: usize,
    /// Devices that compute checksums and cut segments.
    pub offload: bool,
    /// With `offload`: cut segments on the way, as a physical card does, rather than hand them
    /// over whole, as a host does to its guests.
    pub cut: bool,
    /// Frames each end holds before the other one is full.
    pub room: usize,
    pub delay: Duration,
    /// Of a thousand frames, how many are lost, and how many come later than others.
    pub lost: u64,
    pub late: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mtu: 1500,
            offload: false,
            cut: false,
            room: 1024,
            delay: Duration::ZERO,
            lost: 0,
            late: 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Vec<u8>, bool)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Every frame that was sent into it, when somebody listens in.
    log: Option<Vec<Vec<u8>>>,
    gone: bool,
    spare: Vec<Vec<u8>>,
}

impl Queue {
    fn push(&mut self, frame: Vec<u8>, valid: bool) {
        self.frames.push_back((frame, valid));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// One end of a wire: a network device.
pub struct End {
    world: World,
    options: Options,
    mac: [u8; 6],
    incoming: Rc<RefCell<Queue>>,
    outgoing: Rc<RefCell<Queue>>,
}

/// A wire between hosts 1 and 2.
pub fn wire(world: &World, options: Options) -> (End, End) {
    let (a, b) = (
        Rc::<RefCell<Queue>>::default(),
        Rc::<RefCell<Queue>>::default(),
    );
    let end = |n, incoming: &Rc<RefCell<Queue>>, outgoing: &Rc<RefCell<Queue>>| End {
        world: world.clone(),
        options,
        mac: mac(n),
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
    };
    (end(1, &a, &b), end(2, &b, &a))
}

pub fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

impl End {
    /// Listens in on what this end sends.
    pub fn tap(&self) -> Tap {
        self.outgoing.borrow_mut().log = Some(Vec::new());
        Tap(self.outgoing.clone())
    }

    /// This end, and the means to take it away.
    pub fn plug(self) -> (Self, Plug) {
        let plug = Plug([self.incoming.clone(), self.outgoing.clone()]);
        (self, plug)
    }

    /// Sends a frame as it is.
    pub fn inject(&self, frame: &[u8]) {
        self.outgoing.borrow_mut().push(frame.to_vec(), false);
    }

    /// Takes every frame that has arrived.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        let mut queue = self.incoming.borrow_mut();
        if let Some(writer) = queue.writer.take() {
            writer.wake();
        }
        queue.frames.drain(..).map(|(frame, _)| frame).collect()
    }

    /// The next frame that satisfies `wanted`; others are thrown away.
    pub async fn expect(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        loop {
            let next = self.incoming.borrow_mut().frames.pop_front();
            match next {
                Some((frame, _)) if wanted(&frame) => return frame,
                Some(_) => (),
                None => std::future::poll_fn(|cx| self.poll_readable(cx)).await,
            }
        }
    }

    fn carry(&self, frame: Vec<u8>, valid: bool) {
        let Options {
            delay, lost, late, ..
        } = self.options;
        if self.world.random(1000) < lost {
            return;
        }
        let late = self.world.random(1000) < late;
        let delay = if late {
            delay * 3 + Duration::from_millis(1)
        } else {
            delay
        };
        if delay.is_zero() {
            self.outgoing.borrow_mut().push(frame, valid);
            return;
        }
        let (world, queue) = (self.world.clone(), self.outgoing.clone());
        let job = async move {
            world.sleep(delay).await;
            queue.borrow_mut().push(frame, valid);
        };
        self.world.spawn(job).detach();
    }
}

/// What holds a wire in its place.
pub struct Plug([Rc<RefCell<Queue>>; 2]);

impl Plug {
    pub fn pull(&self) {
        for queue in &self.0 {
            let mut queue = queue.borrow_mut();
            queue.gone = true;
            for waker in [queue.reader.take(), queue.writer.take()]
                .into_iter()
                .flatten()
            {
                waker.wake();
            }
        }
    }
}

/// What an end has sent.
pub struct Tap(Rc<RefCell<Queue>>);

impl Tap {
    pub fn take(&self) -> Vec<Vec<u8>> {
        self.0
            .borrow_mut()
            .log
            .replace(Vec::new())
            .unwrap_or_default()
    }
}

impl Net for End {
    fn info(&self) -> NetInfo {
        match self.options.offload {
            true => NetInfo::offloading(self.mac, self.options.mtu),
            false => NetInfo::plain(self.mac, self.options.mtu),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let mut queue = self.incoming.borrow_mut();
        if queue.gone {
            return Err(NetError::Gone);
        }
        let Some((frame, valid)) = queue.frames.pop_front() else {
            return Ok(None);
        };
        if let Some(writer) = queue.writer.take() {
            writer.wake();
        }
        let Some(space) = buffer.get_mut(..frame.len()) else {
            return Err(NetError::TooLong);
        };
        space.copy_from_slice(&frame);
        let received = Received::new(frame.len(), valid);
        if queue.spare.len() < 64 {
            queue.spare.push(frame);
        }
        Ok(Some(received))
    }

    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        let mut queue = self.outgoing.borrow_mut();
        if queue.gone {
            return Err(NetError::Gone);
        }
        if queue.frames.len() >= self.options.room {
            return Err(NetError::Full);
        }
        assert!(self.options.offload || transmit == Transmit::default());
        assert!(transmit.segmentation.is_some() || frame.len() <= self.options.mtu + 14);
        if let Some(log) = &mut queue.log {
            log.push(frame.to_vec());
        }
        let mut copy = queue.spare.pop().unwrap_or_default();
        drop(queue);
        copy.clear();
        copy.extend_from_slice(frame);
        match transmit {
            Transmit {
                segmentation: Some(segmentation),
                ..
            } if self.options.cut => {
                for mut segment in cut(&copy, segmentation) {
                    assert!(segment.len() <= self.options.mtu + 14);
                    complete(&mut segment, transmit);
                    self.carry(segment, false);
                }
            }
            _ if self.options.cut => {
                complete(&mut copy, transmit);
                self.carry(copy, false);
            }
            _ => self.carry(copy, transmit.checksum.is_some()),
        }
        Ok(())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.incoming.borrow_mut();
        if !queue.frames.is_empty() || queue.gone {
            return Poll::Ready(());
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = self.outgoing.borrow_mut();
        if queue.frames.len() < self.options.room || queue.gone {
            return Poll::Ready(());
        }
        queue.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The Internet checksum, word by word.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Completes a checksum as virtio says: over everything from `start`, the field included.
fn complete(frame: &mut [u8], transmit: Transmit) {
    let Some(checksum) = transmit.checksum else {
        return;
    };
    let start = usize::from(checksum.start);
    let at = start + usize::from(checksum.offset);
    let value = sum(&frame[start..]);
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Cuts a TCP segment as a card does. The pseudo-header's sum in each is made anew.
fn cut(frame: &[u8], how: Segmentation) -> Vec<Vec<u8>> {
    let (head, payload) = frame.split_at(usize::from(how.header_len));
    let ip = 14;
    let tcp = if how.ipv6 {
        54
    } else {
        14 + usize::from(frame[14] & 15) * 4
    };
    assert_eq!(tcp + usize::from(frame[tcp + 12] >> 4) * 4, head.len());
    let total = u16::from_be_bytes([frame[ip + 2], frame[ip + 3]]);
    assert!(how.ipv6 || usize::from(total) == frame.len() - 14);
    let chunks: Vec<&[u8]> = payload.chunks(usize::from(how.segment_size)).collect();
    let count = chunks.len();
    let mut segments = Vec::new();
    for (index, chunk) in chunks.into_iter().enumerate() {
        let mut segment = [head, chunk].concat();
        let len = segment.len();
        if how.ipv6 {
            segment[ip + 4..ip + 6].copy_from_slice(&((len - 54) as u16).to_be_bytes());
        } else {
            segment[ip + 2..ip + 4].copy_from_slice(&((len - 14) as u16).to_be_bytes());
            segment[ip + 10..ip + 12].fill(0);
            let value = sum(&segment[ip..tcp]);
            segment[ip + 10..ip + 12].copy_from_slice(&value.to_be_bytes());
        }
        let seq = u32::from_be_bytes(head[tcp + 4..tcp + 8].try_into().unwrap());
        let seq = seq.wrapping_add((index * usize::from(how.segment_size)) as u32);
        segment[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
        if index + 1 < count {
            // FIN and PSH belong to the last.
            segment[tcp + 13] &= !0x09;
        }
        let pseudo = pseudo(&segment, tcp);
        segment[tcp + 16..tcp + 18].copy_from_slice(&(!sum(&pseudo)).to_be_bytes());
        segments.push(segment);
    }
    segments
}

/// The pseudo-header of a frame whose transport header begins at `start`.
pub fn pseudo(frame: &[u8], start: usize) -> Vec<u8> {
    let v6 = frame[12..14] == [0x86, 0xdd];
    let (addresses, protocol) = match v6 {
        true => (&frame[22..54], frame[20]),
        false => (&frame[26..34], frame[23]),
    };
    let len = (frame.len() - start) as u32;
    [addresses, &len.to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

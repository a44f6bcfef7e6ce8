//! The contract of [`Net`].

use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;

use mirage_device::{Net, NetError, Sleep, Transmit};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::{MOMENT, Own, at_once, both, cancelled, once, patiently, within};

contract! { "net"
    "Net" {
        WHOLE_FRAMES: Does "An Ethernet device: frames in, frames out, without the frame check sequence.";
    }
    "Net::info" {
        _: Does "What the device is.", because::IT_DESCRIBES;
        INFO: Waits "Returns at once; never changes.";
    }
    "Net::receive" {
        RECEIVES: Does "Takes the next frame from the device into `buffer`.";
        RECEIVE_AT_ONCE: Waits "Returns at once: `Ok(None)` when there is none.";
        NO_PIECES: Does "A frame comes whole or not at all.";
        TOO_LONG: Errors "A frame longer than `buffer` is dropped and [`NetError::TooLong`] returned; the next call goes on with the frame after it.";
        SUFFICES: Does "A buffer of [`NetInfo::max_frame`] bytes always suffices.";
        _: Owns "The caller owns the buffer.", because::TYPES_SAY_IT;
        RECEIVE_FINAL: Errors "[`NetError::Gone`] is final; no other error is.";
    }
    "Net::send" {
        SENDS: Does "Gives one frame to the device.";
        SEND_AT_ONCE: Waits "Returns at once.";
        _: Does "`Ok` means the device took the whole frame, not that anybody received it.", because::IT_ALLOWS;
        IN_ORDER: Does "Frames that are taken leave in the order in which they were given.";
        FULL: Errors "[`NetError::Full`] means it took nothing: wait with [`Net::poll_writable`] and try again, or drop the frame.";
        SEND_FINAL: Errors "[`NetError::Gone`] is final; no other error is.";
        _: Owns "The caller keeps the buffer.", because::TYPES_SAY_IT;
    }
    "Net::poll_readable" {
        READABLE: Waits "Waits until [`Net::receive`] may have a frame.";
        _: Waits "May complete without one.", because::IT_ALLOWS;
        READABLE_DROPPED: Cancel "Cancel-safe.";
        _: Does "Call it only after `receive` has returned `Ok(None)`.", because::IT_BINDS_CALLERS;
        LATER_CALLER: Does "One task may wait at a time: a later caller takes the place of an earlier one.";
    }
    "Net::poll_writable" {
        WRITABLE: Waits "Waits until [`Net::send`] may have room again after it returned [`NetError::Full`].";
        _: Waits "May complete without any.", because::IT_ALLOWS;
        WRITABLE_DROPPED: Cancel "Cancel-safe.";
        BESIDE: Does "One task may wait at a time, beside one in [`Net::poll_readable`].";
    }
}

/// The EtherType for local experiments (IEEE 802): nobody else's frame has it, and no stack
/// answers it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// Ethernet's header, and the shortest frame that no device makes longer.
const HEADER: usize = 14;
const SHORTEST: usize = 60;
/// Frames after which a device counts as one that is never full.
const MANY: u32 = 4_000;

/// Checks `near`, with `far` as the other end of its wire: what either sends the other receives,
/// in order and without loss as long as neither is given more than it says it takes. Frames of
/// others may come in between.
pub async fn check(near: &impl Net, far: &impl Net, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let info = at_once(&mut report, INFO, sleep, || near.info());
    let rig = Rig { near, far, sleep };
    rig.drain(&mut report).await;

    let mut n = 0;
    for len in [SHORTEST, SHORTEST + 1, 333, HEADER + info.mtu] {
        n += 1;
        let frame = rig.frame(near, far, n, len);
        rig.send(&mut report, near, &frame).await;
        let seen = rig.ours(&mut report, far).await;
        report.check(
            SENDS,
            seen.as_ref() == Some(&frame),
            "the frame at the other end",
            brief(&seen),
        );
        let frame = rig.frame(far, near, n, len);
        rig.send(&mut report, far, &frame).await;
        let seen = rig.ours(&mut report, near).await;
        report.check(
            RECEIVES,
            seen.as_ref() == Some(&frame),
            "the frame that was sent",
            brief(&seen),
        );
        let same = seen.is_none_or(|seen| seen.len() == len);
        report.check(WHOLE_FRAMES, same, "as many bytes as were sent", "others");
    }

    let first = n + 1;
    for n in first..first + 16 {
        rig.send(&mut report, near, &rig.frame(near, far, n, SHORTEST))
            .await;
    }
    let mut seen = Vec::new();
    for _ in 0..16 {
        seen.push(rig.ours(&mut report, far).await.map(|frame| number(&frame)));
    }
    report.equal(IN_ORDER, seen, (first..first + 16).map(Some).collect());
    n = first + 16;

    rig.short_buffer(&mut report, n).await;
    rig.readable(&mut report, n + 10).await;
    rig.full(&mut report, n + 20).await;
    report.equal(INFO, near.info(), info);
    report.complete(&CONTRACT)
}

/// Checks a device that the host has taken away, or takes away meanwhile.
pub async fn after_unplug(device: &impl Net, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let mut buffer = vec![0; device.info().max_frame];
    let gone = async {
        loop {
            match device.receive(&mut buffer) {
                Err(NetError::Gone) => return,
                Ok(None) => poll_fn(|cx| device.poll_readable(cx)).await,
                Ok(Some(_)) | Err(_) => {}
            }
        }
    };
    let woken = patiently(sleep, gone).await;
    report.check(
        READABLE,
        woken.is_some(),
        "to be woken when the device goes",
        "no wake-up",
    );
    let frame = vec![0; SHORTEST];
    for _ in 0..3 {
        let sent = device.send(&frame, Transmit::default());
        report.equal(SEND_FINAL, sent, Err(NetError::Gone));
        let received = device.receive(&mut buffer);
        report.equal(RECEIVE_FINAL, received, Err(NetError::Gone));
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    }
    report
}

struct Rig<'a, N, F, S> {
    near: &'a N,
    far: &'a F,
    sleep: &'a S,
}

impl<N: Net, F: Net, S: Sleep> Rig<'_, N, F, S> {
    /// Frame number `n` of `len` bytes, from one end to the other.
    fn frame(&self, from: &impl Net, to: &impl Net, n: u32, len: usize) -> Vec<u8> {
        let mut frame = Vec::with_capacity(len);
        frame.extend(to.info().mac);
        frame.extend(from.info().mac);
        frame.extend(EXPERIMENT);
        frame.extend(n.to_be_bytes());
        frame.extend((frame.len()..len).map(|at| (at as u32 * 7 + n) as u8));
        frame
    }

    /// Gives a frame to the device, waiting for room.
    async fn send(&self, report: &mut Report, device: &impl Net, frame: &[u8]) {
        loop {
            match device.send(frame, Transmit::default()) {
                Ok(()) => return,
                Err(NetError::Full) => {
                    let room = poll_fn(|cx| device.poll_writable(cx));
                    if patiently(self.sleep, room).await.is_none() {
                        report.check(WRITABLE, false, "room at some time", "none");
                        return;
                    }
                }
                error => {
                    report.check(SENDS, false, "the device to take a frame", error);
                    return;
                }
            }
        }
    }

    /// The next frame of this suite; `None` when none came.
    async fn ours(&self, report: &mut Report, device: &impl Net) -> Option<Vec<u8>> {
        let mut buffer = vec![0; device.info().max_frame];
        let next = async {
            loop {
                let received = at_once(report, RECEIVE_AT_ONCE, self.sleep, || {
                    device.receive(&mut buffer)
                });
                match received {
                    Ok(Some(received)) => {
                        let inside = received.len <= buffer.len();
                        report.check(SUFFICES, inside, "no more than the buffer", received.len);
                        let frame = buffer.get(..received.len).unwrap_or_default();
                        if is_ours(frame) {
                            return Some(frame.to_vec());
                        }
                    }
                    Ok(None) => poll_fn(|cx| device.poll_readable(cx)).await,
                    Err(NetError::TooLong) => {
                        report.check(SUFFICES, false, "a frame", "TooLong with max_frame bytes");
                    }
                    Err(_) => return None,
                }
            }
        };
        patiently(self.sleep, next).await.flatten()
    }

    /// Takes what is there at both ends.
    async fn drain(&self, report: &mut Report) {
        let _ = patiently(self.sleep, self.sleep.sleep(MOMENT)).await;
        let empty = drained(self.near) && drained(self.far);
        report.check(
            RECEIVE_AT_ONCE,
            empty,
            "`Ok(None)` when all has been received",
            "more frames than were sent",
        );
    }

    async fn short_buffer(&self, report: &mut Report, n: u32) {
        let Self { near, far, sleep } = self;
        let (long, next) = (
            self.frame(*far, *near, n, 333),
            self.frame(*far, *near, n + 1, SHORTEST),
        );
        self.send(report, *far, &long).await;
        self.send(report, *far, &next).await;
        let (mut buffer, mut too_long) = ([0; 100], 0);
        let ours = patiently(*sleep, async {
            loop {
                match near.receive(&mut buffer) {
                    Ok(Some(received)) => {
                        let frame = buffer.get(..received.len).unwrap_or(&buffer);
                        if is_ours(frame) {
                            return Some(frame.to_vec());
                        }
                    }
                    Ok(None) => poll_fn(|cx| near.poll_readable(cx)).await,
                    Err(NetError::TooLong) => too_long += 1,
                    Err(_) => return None,
                }
            }
        });
        let ours = ours.await.flatten();
        let piece = ours.as_ref().is_some_and(|frame| long.starts_with(frame));
        report.check(NO_PIECES, !piece, "no piece of a frame", brief(&ours));
        let expected = "TooLong for a frame of 333 bytes in a buffer of 100";
        report.check(
            TOO_LONG,
            too_long > 0,
            expected,
            ("TooLong, times", too_long, brief(&ours)),
        );
        let expected = "the frame after the one that was too long";
        report.check(
            TOO_LONG,
            ours.as_ref() == Some(&next),
            expected,
            brief(&ours),
        );
        report.check(
            RECEIVE_FINAL,
            ours.is_some(),
            "a frame after TooLong",
            "none",
        );
        if piece {
            let _ = self.ours(report, *near).await;
        }
    }

    async fn readable(&self, report: &mut Report, n: u32) {
        let Self { near, far, sleep } = self;
        // A frame that comes later wakes who waits.
        self.drain(report).await;
        let frame = self.frame(*far, *near, n, SHORTEST);
        let mut theirs = Report::new();
        let (seen, ()) = both(self.ours(report, *near), async {
            let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
            self.send(&mut theirs, *far, &frame).await;
        })
        .await;
        report.check(
            READABLE,
            seen == Some(frame),
            "to be woken by a frame, and to receive it",
            brief(&seen),
        );

        // One that came before the wait is not missed.
        drained(*near);
        let frame = self.frame(*far, *near, n + 1, SHORTEST);
        self.send(report, *far, &frame).await;
        let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
        let ready = patiently(*sleep, poll_fn(|cx| near.poll_readable(cx))).await;
        let seen = self.ours(report, *near).await;
        let kept = ready.is_some() && seen.as_ref() == Some(&frame);
        let expected = "a frame that came after `Ok(None)` and before the wait";
        report.check(READABLE, kept, expected, (ready, brief(&seen)));

        // A wait that was dropped takes nothing with it.
        drained(*near);
        let _ = cancelled(poll_fn(|cx| near.poll_readable(cx))).await;
        let frame = self.frame(*far, *near, n + 2, SHORTEST);
        self.send(report, *far, &frame).await;
        let seen = self.ours(report, *near).await;
        report.check(
            READABLE_DROPPED,
            seen == Some(frame),
            "the frame after a dropped wait",
            brief(&seen),
        );

        // The later of two waits is woken.
        drained(*near);
        let mut earlier = Own::new(poll_fn(|cx| near.poll_readable(cx)));
        let _ = once(&mut earlier).await;
        let frame = self.frame(*far, *near, n + 3, SHORTEST);
        let later = async {
            let mut buffer = vec![0; near.info().max_frame];
            loop {
                match near.receive(&mut buffer) {
                    Ok(Some(received)) if is_ours(&buffer[..received.len]) => return true,
                    Ok(None) => poll_fn(|cx| near.poll_readable(cx)).await,
                    Ok(Some(_)) | Err(NetError::TooLong) => {}
                    Err(_) => return false,
                }
            }
        };
        let (seen, ()) = both(patiently(*sleep, later), async {
            let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
            self.send(&mut theirs, *far, &frame).await;
        })
        .await;
        report.check(
            LATER_CALLER,
            seen == Some(true),
            "the later caller to be woken",
            seen,
        );
        report.append(theirs);
    }

    /// Gives the device more than it takes.
    async fn full(&self, report: &mut Report, n: u32) {
        let Self { near, far, sleep } = self;
        self.drain(report).await;
        let mut taken = Vec::new();
        let mut refused = None;
        for n in n..n + MANY {
            let frame = self.frame(*near, *far, n, 600);
            match at_once(report, SEND_AT_ONCE, *sleep, || {
                near.send(&frame, Transmit::default())
            }) {
                Ok(()) => taken.push(n),
                Err(NetError::Full) => {
                    refused = Some(n);
                    break;
                }
                error => {
                    report.check(SENDS, false, "Ok or Full", error);
                    return;
                }
            }
        }
        let Some(refused) = refused else {
            // Such a device drops what it has no room for: count nothing, clear the wire.
            while within(*sleep, MOMENT, self.ours(report, *far))
                .await
                .flatten()
                .is_some()
            {}
            for sentence in [FULL, SEND_FINAL, WRITABLE, WRITABLE_DROPPED, BESIDE] {
                report.not_applicable(sentence, "the device was not full after 4,000 frames");
            }
            return;
        };
        let _ = cancelled(poll_fn(|cx| near.poll_writable(cx))).await;
        let again = near.send(&self.frame(*near, *far, refused, 600), Transmit::default());
        report.check(
            WRITABLE_DROPPED,
            again != Err(NetError::Gone),
            "Full, or room",
            again,
        );
        if again.is_ok() {
            taken.push(refused);
        }
        // The other end takes what there is; that makes room, and both waits are woken.
        let mut theirs = Report::new();
        let mut seen = Vec::new();
        let after = refused + 1;
        let answer = self.frame(*far, *near, after, SHORTEST);
        let sending = async {
            loop {
                match near.send(&self.frame(*near, *far, after, 600), Transmit::default()) {
                    Err(NetError::Full) => {
                        let room = poll_fn(|cx| near.poll_writable(cx));
                        if patiently(*sleep, room).await.is_none() {
                            return Err(NetError::Full);
                        }
                    }
                    other => return other,
                }
            }
        };
        let taking = async {
            while let Some(frame) = self.ours(&mut theirs, *far).await {
                let n = number(&frame);
                seen.push(n);
                if n == after {
                    break;
                }
            }
            self.send(&mut theirs, *far, &answer).await;
        };
        let ((sent, ()), beside) = both(both(sending, taking), self.ours(report, *near)).await;
        report.append(theirs);
        report.check(
            WRITABLE,
            sent.is_ok(),
            "to be woken when there is room",
            sent,
        );
        report.check(
            BESIDE,
            beside == Some(answer),
            "both waits to be woken",
            brief(&beside),
        );
        taken.push(after);
        let expected = "exactly the frames that were taken, in order";
        let lost = (taken.len(), seen.len(), seen.contains(&refused));
        report.check(
            FULL,
            seen == taken,
            expected,
            ("taken, received, the refused one:", lost),
        );
        report.check(
            SEND_FINAL,
            sent.is_ok(),
            "a frame to be taken after Full",
            sent,
        );
    }
}

/// Receives until there is nothing; `false` when that never ends.
fn drained(device: &impl Net) -> bool {
    let mut buffer = vec![0; device.info().max_frame];
    (0..10_000).any(|_| device.receive(&mut buffer) == Ok(None))
}

fn is_ours(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&EXPERIMENT[..])
}

fn number(frame: &[u8]) -> u32 {
    frame
        .get(14..18)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// A frame in a word or two.
fn brief(frame: &Option<Vec<u8>>) -> Option<(&'static str, u32, &'static str, usize)> {
    frame
        .as_ref()
        .map(|frame| ("frame", number(frame), "of bytes", frame.len()))
}

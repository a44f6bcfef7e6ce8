//! What is done with a connection, and what has to come of it.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{Flow, FlowError, FlowWrite, Sleep};

use super::*;
use crate::watch::{MOMENT, at_once, both, cancelled, within};

/// What the long transfers carry, in bytes: more than common buffers hold.
const LONG: usize = 300_000;
/// What no pair of buffers holds.
const MOST: usize = 64 << 20;

/// A new connection: the flow that is checked, and its peer.
pub(super) struct Rig<'a, F, P, S> {
    pub flow: F,
    pub peer: P,
    pub sleep: &'a S,
}

/// Bytes that differ wherever one is lost, doubled or out of its place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect()
}

/// Reads `len` bytes, or what comes before an end, an error or the end of patience.
async fn read_up_to(
    flow: &mut impl Read<Error = FlowError>,
    sleep: &impl Sleep,
    len: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < len {
        let room = buffer.len().min(len - bytes.len());
        match patiently(sleep, flow.read(&mut buffer[..room])).await {
            Some(Ok(count @ 1..)) => bytes.extend_from_slice(&buffer[..count.min(room)]),
            _ => break,
        }
    }
    bytes
}

/// Writes all; `false` when that failed or took for ever.
async fn write_all(
    flow: &mut impl Write<Error = FlowError>,
    sleep: &impl Sleep,
    bytes: &[u8],
) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match patiently(sleep, flow.write(rest)).await {
            Some(Ok(count)) if (1..=rest.len()).contains(&count) => rest = &rest[count..],
            _ => return false,
        }
    }
    true
}

impl<F: Flow, P: Flow, S: Sleep> Rig<'_, F, P, S> {
    /// A few bytes each way, the addresses, and what takes no time.
    pub async fn small(mut self, report: &mut Report) {
        let sleep = self.sleep;
        let peer = at_once(report, PEER_AT_ONCE, sleep, || self.flow.peer());
        let local = at_once(report, LOCAL_AT_ONCE, sleep, || self.flow.local());
        for (sentence, ours, theirs) in [
            (PEER, peer, self.peer.local()),
            (LOCAL, local, self.peer.peer()),
        ] {
            match (ours, theirs) {
                (Some(_), Some(_)) => report.equal(sentence, ours, theirs),
                _ => report.not_applicable(sentence, "flows of this kind have no address"),
            }
        }
        let empty = cancelled(self.flow.read(&mut [])).await;
        report.equal(READ_EMPTY, empty, Some(Ok(0)));
        let empty = cancelled(self.flow.write(&[])).await;
        report.equal(WRITE_EMPTY, empty, Some(Ok(0)));
        // Unflushed bytes arrive as well.
        let wrote = write_all(&mut self.flow, sleep, b"held back?").await;
        report.check(
            WRITE_WAITS,
            wrote,
            "ten bytes to be taken",
            "that they are not",
        );
        let seen = read_up_to(&mut self.peer, sleep, 10).await;
        report.check(
            UNFLUSHED,
            seen == b"held back?",
            "what was written, without a flush",
            &seen,
        );
        let flushed = patiently(sleep, self.flow.flush()).await;
        report.equal(FLUSH_WAITS, flushed, Some(Ok(())));
        // With nobody who reads the peer's stack acknowledges all the same. It has the bytes then.
        let _ = write_all(&mut self.flow, sleep, b"unread").await;
        let _ = cancelled(self.flow.flush()).await;
        let flushed = patiently(sleep, self.flow.flush()).await;
        report.equal(FLUSH_WAITS, flushed, Some(Ok(())));
        let mut buffer = [0; 6];
        let there = within(sleep, Duration::from_micros(1), self.peer.read(&mut buffer)).await;
        let count = there.and_then(Result::ok).unwrap_or_default().min(6);
        let expected = "bytes at the peer when they are acknowledged";
        report.check(FLUSH_WAITS, count > 0, expected, there);
        let mut seen = buffer[..count].to_vec();
        seen.extend(read_up_to(&mut self.peer, sleep, 6 - count).await);
        report.check(
            FLUSH_DROPPED,
            seen == b"unread",
            "every byte after a dropped flush",
            &seen,
        );

        let parts: [&[u8]; 4] = [b"", b"header ", b"", b"body"];
        let taken = patiently(sleep, self.flow.write_vectored(&parts)).await;
        let count = match taken {
            Some(Ok(count @ 1..=11)) => count,
            _ => {
                report.check(VECTORED_COUNT, false, "1 to 11 bytes to be taken", taken);
                return;
            }
        };
        let seen = read_up_to(&mut self.peer, sleep, count).await;
        let first = &b"header body"[..count];
        report.check(
            VECTORED,
            seen == first,
            "the buffers one after the other",
            &seen,
        );
        report.check(
            VECTORED_COUNT,
            seen == first,
            "as many bytes as it said",
            &seen,
        );
        let more = within(sleep, MOMENT, self.peer.read(&mut [0; 16])).await;
        report.check(
            VECTORED_COUNT,
            more.is_none(),
            "no more bytes than it said",
            more,
        );
    }

    /// Much, both ways at once.
    pub async fn long(self, report: &mut Report) {
        let sleep = self.sleep;
        let (forth, back) = (pattern(LONG), pattern(LONG / 2));
        let ((mut reader, mut writer), (mut their_reader, mut their_writer)) =
            (self.flow.split(), self.peer.split());
        let ((wrote, seen), (_, answer)) = both(
            both(
                write_all(&mut writer, sleep, &forth),
                read_up_to(&mut their_reader, sleep, LONG),
            ),
            both(
                write_all(&mut their_writer, sleep, &back),
                read_up_to(&mut reader, sleep, LONG / 2),
            ),
        )
        .await;
        report.check(
            WRITE_WAITS,
            wrote,
            "to go on while the peer reads",
            ("stuck; it has read", seen.len()),
        );
        let kept = seen == forth && answer == back;
        let expected = "300,000 bytes forth and 150,000 back, in order";
        report.check(IN_ORDER, kept, expected, (seen.len(), answer.len()));
    }

    /// Reads that wait, and reads that are dropped.
    pub async fn reads(mut self, report: &mut Report) {
        let sleep = self.sleep;
        let mut buffer = [0; 64];
        let early = cancelled(self.flow.read(&mut buffer)).await;
        report.check(
            READ_WAITS,
            early.is_none(),
            "to wait while nothing is there",
            early,
        );
        let mut answers = Vec::new();
        for text in [&b"first"[..], b"second"] {
            let (seen, _) = both(patiently(sleep, self.flow.read(&mut buffer)), async {
                let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
                write_all(&mut self.peer, sleep, text).await
            })
            .await;
            let kept = matches!(seen, Some(Ok(count)) if buffer.get(..count) == Some(text));
            report.check(READ_WAITS, kept, "to be woken by what the peer wrote", seen);
            answers.push(kept);
        }
        if answers != [true, true] {
            return;
        }
        // Dropped before it comes, and dropped when it is there: in both cases nothing is taken.
        let _ = cancelled(self.flow.read(&mut buffer)).await;
        let _ = write_all(&mut self.peer, sleep, b"0123456789").await;
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            let mut small = [0; 2];
            if let Some(Ok(count)) = cancelled(self.flow.read(&mut small)).await {
                seen.extend_from_slice(&small[..count.min(2)]);
            }
        }
        let rest = read_up_to(&mut self.flow, sleep, 10 - seen.len().min(10)).await;
        seen.extend(rest);
        let expected = "every byte, in reads after some that were dropped";
        report.check(READ_DROPPED, seen == b"0123456789", expected, &seen);
        // At most the buffer; the rest stays.
        let _ = write_all(&mut self.peer, sleep, b"abcdef").await;
        let mut small = [0; 4];
        let count = patiently(sleep, self.flow.read(&mut small)).await;
        let kept = matches!(count, Some(Ok(1..=4)));
        report.check(
            READ_WAITS,
            kept,
            "one to four bytes into a buffer of four",
            count,
        );
    }

    /// Writes until nothing fits, dropped ones among them.
    pub async fn writes(mut self, report: &mut Report) {
        let sleep = self.sleep;
        let chunk = pattern(16 << 10);
        let mut taken = 0;
        let mut full = false;
        while taken < MOST && !full {
            match cancelled(self.flow.write(&chunk[taken % 4096..])).await {
                Some(Ok(count)) => taken += count,
                Some(Err(error)) => {
                    return report.check(WRITE_WAITS, false, "to wait for room", error);
                }
                // Something may be on its way; nothing more after a while means full.
                None => {
                    let more = within(sleep, MOMENT, self.flow.write(&chunk[taken % 4096..])).await;
                    match more {
                        Some(Ok(count)) => taken += count,
                        _ => full = true,
                    }
                }
            }
        }
        if !full {
            let why = "its send buffer takes more than 64 MiB";
            report.not_applicable(WRITE_DROPPED, why);
            return report.not_applicable(VECTORED_DROPPED, why);
        }
        for _ in 0..3 {
            let byte = cancelled(self.flow.write(&[0xee; 100])).await;
            taken += byte.and_then(Result::ok).unwrap_or_default();
            let bytes = cancelled(self.flow.write_vectored(&[&[0xee; 10], &[0xee; 10]])).await;
            taken += bytes.and_then(Result::ok).unwrap_or_default();
        }
        // Room comes when the peer reads, and wakes who waits.
        let writing = async {
            let first = patiently(sleep, self.flow.write(b"!")).await;
            self.flow.shutdown();
            first
        };
        let reading = async {
            let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
            let (mut count, mut foreign, mut buffer) = (0, 0, vec![0; 64 << 10]);
            while let Some(Ok(len @ 1..)) = patiently(sleep, self.peer.read(&mut buffer)).await {
                let len = len.min(buffer.len());
                count += len;
                foreign += buffer[..len]
                    .windows(4)
                    .filter(|word| *word == [0xee; 4])
                    .count();
            }
            (count, foreign)
        };
        let (first, (count, foreign)) = both(writing, reading).await;
        report.equal(WRITE_WAITS, first, Some(Ok(1)));
        if first != Some(Ok(1)) {
            return;
        }
        let counted = (
            "counted, received:",
            taken + 1,
            count,
            "of dropped calls:",
            foreign,
        );
        let kept = count == taken + 1 && foreign == 0;
        let expected = "exactly the bytes that completed writes have taken";
        report.check(WRITE_DROPPED, kept, expected, counted);
        report.check(VECTORED_DROPPED, kept, expected, counted);
    }

    pub async fn half_close(mut self, report: &mut Report) {
        let sleep = self.sleep;
        let _ = write_all(&mut self.flow, sleep, b"question").await;
        at_once(report, SHUTDOWN_AT_ONCE, sleep, || self.flow.shutdown());
        at_once(report, SHUTDOWN_TWICE, sleep, || self.flow.shutdown());
        let late = patiently(sleep, self.flow.write(b"late")).await;
        report.equal(CLOSED, late, Some(Err(FlowError::Closed)));
        let late = patiently(sleep, self.flow.write_vectored(&[b"la", b"ter"])).await;
        report.equal(WRITE_FINAL, late, Some(Err(FlowError::Closed)));
        let seen = read_up_to(&mut self.peer, sleep, 8).await;
        report.check(
            SHUTDOWN,
            seen == b"question",
            "what was written before",
            &seen,
        );
        let end = patiently(sleep, self.peer.read(&mut [0; 8])).await;
        report.equal(SHUTDOWN, end, Some(Ok(0)));

        let _ = write_all(&mut self.peer, sleep, b"answer").await;
        let seen = read_up_to(&mut self.flow, sleep, 6).await;
        report.check(
            READING_GOES_ON,
            seen == b"answer",
            "what the peer writes after that",
            &seen,
        );
        self.peer.shutdown();
        for _ in 0..3 {
            let end = patiently(sleep, self.flow.read(&mut [0; 8])).await;
            report.equal(END, end, Some(Ok(0)));
        }
        self.flow.shutdown();
        let end = patiently(sleep, self.flow.read(&mut [0; 8])).await;
        report.equal(SHUTDOWN_TWICE, end, Some(Ok(0)));
    }

    pub async fn dropped(self, report: &mut Report) {
        let Self {
            mut flow,
            mut peer,
            sleep,
        } = self;
        // That something is there unread makes no difference.
        let _ = write_all(&mut peer, sleep, b"unread").await;
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
        let wrote = write_all(&mut flow, sleep, b"last words").await;
        drop(flow);
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
        let seen = read_up_to(&mut peer, sleep, 10).await;
        report.check(
            DROPPED,
            wrote && seen == b"last words",
            "what was written before the drop",
            &seen,
        );
        let end = patiently(sleep, peer.read(&mut [0; 8])).await;
        report.equal(DROPPED, end, Some(Ok(0)));
    }

    pub async fn halves(self, report: &mut Report) {
        let Self {
            flow,
            mut peer,
            sleep,
        } = self;
        let (mut reader, mut writer) = at_once(report, SPLIT_AT_ONCE, sleep, || flow.split());
        let mut buffer = [0; 4];
        let reading = patiently(sleep, reader.read(&mut buffer));
        let writing = async {
            let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
            let wrote = write_all(&mut writer, sleep, b"ping").await;
            let seen = read_up_to(&mut peer, sleep, 4).await;
            let _ = write_all(&mut peer, sleep, b"pong").await;
            wrote && seen == b"ping"
        };
        let (read, wrote) = both(reading, writing).await;
        let kept = wrote && matches!(read, Some(Ok(1..=4)));
        report.check(
            HALVES,
            kept,
            "one half to write while the other waits",
            (read, wrote),
        );
        let count = read.and_then(Result::ok).unwrap_or_default();
        let _ = read_up_to(&mut reader, sleep, 4 - count.min(4)).await;
        drop(writer);
        let end = patiently(sleep, peer.read(&mut [0; 8])).await;
        report.equal(WRITER_DROPPED, end, Some(Ok(0)));
        let _ = write_all(&mut peer, sleep, b"more").await;
        let seen = read_up_to(&mut reader, sleep, 4).await;
        report.check(
            WRITER_DROPPED,
            seen == b"more",
            "the reading half to go on",
            &seen,
        );
    }

    pub async fn halves_dropped(self, report: &mut Report) {
        let Self {
            flow,
            mut peer,
            sleep,
        } = self;
        let (reader, writer) = flow.split();
        drop(reader);
        drop(writer);
        let end = patiently(sleep, peer.read(&mut [0; 8])).await;
        report.equal(BOTH_DROPPED, end, Some(Ok(0)));
        // Nobody reads any more: the peer learns it when it writes.
        let refused = refuses(sleep, &mut peer).await;
        report.check(
            BOTH_DROPPED,
            refused,
            "the peer's writes to fail at last",
            "that they do not",
        );
    }

    /// The peer throws the connection away.
    pub async fn reset(self, report: &mut Report) {
        let Self {
            mut flow,
            mut peer,
            sleep,
        } = self;
        let _ = write_all(&mut peer, sleep, b"lost").await;
        let _ = write_all(&mut flow, sleep, b"lost").await;
        peer.abort();
        report.equal(
            ABORT,
            until_broken(&mut flow, sleep).await,
            Some(FlowError::Reset),
        );
        for _ in 0..2 {
            let again = patiently(sleep, flow.read(&mut [0; 16])).await;
            report.check(
                READ_FINAL,
                matches!(again, Some(Err(_))),
                "an error again",
                again,
            );
            let write = patiently(sleep, flow.write(b"x")).await;
            report.check(
                WRITE_FINAL,
                matches!(write, Some(Err(_))),
                "an error",
                write,
            );
        }
    }

    pub async fn aborts(self, report: &mut Report) {
        let Self {
            mut flow,
            mut peer,
            sleep,
        } = self;
        let _ = write_all(&mut flow, sleep, b"lost").await;
        at_once(report, ABORT_AT_ONCE, sleep, || flow.abort());
        report.equal(
            ABORT,
            until_broken(&mut peer, sleep).await,
            Some(FlowError::Reset),
        );
    }
}

/// Reads until there is an error; `None` at an end in order.
async fn until_broken(
    flow: &mut impl Read<Error = FlowError>,
    sleep: &impl Sleep,
) -> Option<FlowError> {
    loop {
        match patiently(sleep, flow.read(&mut [0; 16])).await {
            Some(Ok(1..)) => {}
            Some(Err(error)) => return Some(error),
            Some(Ok(0)) | None => return None,
        }
    }
}

/// Whether writing fails at some time, a little at a time.
async fn refuses(sleep: &impl Sleep, flow: &mut impl FlowWrite) -> bool {
    for _ in 0..100 {
        match patiently(sleep, flow.write(b"anybody?")).await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return true,
            None => return false,
        }
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    }
    false
}

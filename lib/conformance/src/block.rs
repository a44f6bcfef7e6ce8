//! The contract of [`Block`].

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use mirage_device::{Block, BlockError, Sleep};

use crate::sentence::{because, contract};
use crate::watch::{MOMENT, at_once, both, cancelled, patiently};
use crate::{Report, Sentence};

contract! { "block"
    "Block" {
        _: Does "A block device: numbered bytes in sectors, durable when flushed.", because::IT_DESCRIBES;
        MISALIGNED: Errors "Offsets and lengths are in bytes and must be multiples of [`BlockInfo::sector`]: anything else is [`BlockError::Misaligned`].";
        OUT_OF_RANGE: Errors "A range that reaches past the end is [`BlockError::OutOfRange`].";
        NOTHING_DONE: Errors "After either nothing was done.";
        NOT_FINAL: Errors "No error is final: a later operation is carried out.";
        LATER_SEES: Does "Operations started together may be carried out in any order; one that has returned is seen by all later.";
    }
    "Block::info" {
        _: Does "What the device is.", because::IT_DESCRIBES;
        INFO: Waits "Returns at once; never changes.";
    }
    "Block::read" {
        READS: Does "Reads from `offset` into `buffers`, one after the other.";
        READ_WAITS: Waits "Waits until they are full.";
        NO_SHORT_READ: Does "On `Ok` every buffer is full: there is no short read.";
        READ_DROPPED: Cancel "Cancel-safe; the buffers' content is then unspecified, as it is after an error.";
        _: Owns "The caller owns the buffers.", because::TYPES_SAY_IT;
    }
    "Block::write" {
        WRITES: Does "Writes `buffers`, one after the other, from `offset`.";
        WRITE_WAITS: Waits "Waits until the device has taken them.";
        SEEN: Durable "On `Ok` later reads see all of it, but nothing is durable before [`Block::flush`] returns.";
        OLD_OR_NEW: Cancel "Dropping the future, an error or a power cut leave each sector either old or new, never a mixture; which ones were written is unspecified.";
        _: Owns "The caller keeps the buffers.", because::TYPES_SAY_IT;
        READ_ONLY: Errors "[`BlockError::ReadOnly`] where the device is not [`BlockInfo::writable`]; nothing was done then.";
    }
    "Block::flush" {
        FLUSH_WAITS: Waits "Waits until every write and discard that returned before this call is durable.";
        DURABLE: Durable "Durable bytes are there after a power cut, as long as nothing is written over them.";
        FLUSH_DROPPED: Cancel "Dropping the future loses nothing but the knowledge.";
        _: Errors "After an error it is unknown which of those writes are durable, and a later `Ok` says nothing about them.", because::IT_ALLOWS;
    }
    "Block::discard" {
        _: Does "Tells the device that `len` bytes from `offset` are no longer needed.", because::IT_DESCRIBES;
        DISCARD_WAITS: Waits "Waits until the device knows.";
        ZEROES: Does "On `Ok` they read as zero where [`BlockInfo::discard_zeroes`], as anything otherwise.";
        DISCARD_DROPPED: Cancel "Dropping the future leaves it open which of them are discarded; no other byte changes.";
        DISCARD_DURABLE: Durable "Durable only after [`Block::flush`].";
        UNSUPPORTED: Errors "[`BlockError::Unsupported`] where the device cannot, [`BlockError::ReadOnly`] where it is not writable; nothing was done then.";
    }
}

/// The sectors that the suite works in; a device must have as many.
pub const SECTORS: u64 = 64;

/// What only a power cut shows.
const POWER: [Sentence; 3] = [FLUSH_WAITS, DURABLE, DISCARD_DURABLE];

/// Checks `device`, whose first [`SECTORS`] sectors and last one lose their content.
///
/// What is durable shows only when the power goes: [`before_cut`] and [`after_cut`].
pub async fn check(device: &impl Block, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let info = at_once(&mut report, INFO, sleep, || device.info());
    let disk = Disk::new(device, sleep);
    let sound = info.sector.is_power_of_two() && info.size.is_multiple_of(u64::from(info.sector));
    report.check(
        INFO,
        sound,
        "a whole number of sectors of a power of two bytes",
        info,
    );
    if info.size < SECTORS * u64::from(info.sector) {
        for sentence in CONTRACT.checked() {
            report.not_applicable(*sentence, "the device has less than 64 sectors");
        }
        return report;
    }
    disk.bounds(&mut report).await;
    if info.writable {
        disk.transfers(&mut report).await;
        disk.drops(&mut report).await;
        disk.discards(&mut report).await;
        report.not_applicable(READ_ONLY, "the device is writable");
    } else {
        disk.read_only(&mut report).await;
    }
    for sentence in POWER {
        report.not_applicable(sentence, "this rig does not cut the power");
    }
    report.equal(INFO, device.info(), info);
    report.complete(&CONTRACT)
}

/// Prepares a writable `device` for a power cut: cut the power when this has returned, and call
/// [`after_cut`] with the same device once it is there again.
///
/// # Errors
/// What the device could not do.
pub async fn before_cut(device: &impl Block, sleep: &impl Sleep) -> Result<(), BlockError> {
    let disk = Disk::new(device, sleep);
    disk.write(0, 64, b'o').await?;
    device.flush().await?;
    disk.write(0, 16, b'd').await?;
    if let Err(error) = device.discard(disk.at(48), disk.at(8)).await
        && error != BlockError::Unsupported
    {
        return Err(error);
    }
    device.flush().await?;
    // Never flushed: these may be lost, in any order, and must not be torn.
    disk.write(16, 8, b'n').await?;
    disk.write(24, 1, b'n').await?;
    let new = disk.fill(32, 8, b'n');
    let _ = cancelled(device.write(disk.at(32), &[&new])).await;
    Ok(())
}

/// What a power cut after [`before_cut`] has left.
pub async fn after_cut(device: &impl Block, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let disk = Disk::new(device, sleep);
    for at in 0..16 {
        let kept = disk.is(at, b"d").await;
        let expected = format!("sector {at} as it was written and flushed");
        report.check(FLUSH_WAITS, kept, &expected, "something else");
        report.check(DURABLE, kept, &expected, "something else");
    }
    for at in 16..48 {
        let expected = format!("sector {at} either old or new");
        let kept = disk.is(at, b"on").await;
        report.check(OLD_OR_NEW, kept, &expected, disk.read(at, 1).await);
    }
    for at in 56..64 {
        let kept = disk.is(at, b"o").await;
        report.check(
            DURABLE,
            kept,
            &format!("sector {at} as it was flushed"),
            "something else",
        );
    }
    if device.info().discard_zeroes {
        for at in 48..56 {
            let kept = disk
                .read(at, 1)
                .await
                .is_some_and(|bytes| bytes.iter().all(|b| *b == 0));
            report.check(
                DISCARD_DURABLE,
                kept,
                "zeros: it was discarded and flushed",
                "other bytes",
            );
        }
    } else {
        report.not_applicable(
            DISCARD_DURABLE,
            "this device's discarded bytes read as anything",
        );
    }
    report
}

struct Disk<'a, B, S> {
    device: &'a B,
    sleep: &'a S,
    sector: usize,
}

impl<'a, B: Block, S: Sleep> Disk<'a, B, S> {
    fn new(device: &'a B, sleep: &'a S) -> Self {
        Self {
            device,
            sleep,
            sector: device.info().sector as usize,
        }
    }

    /// The offset of a sector.
    fn at(&self, sector: u64) -> u64 {
        sector * self.sector as u64
    }

    /// What `count` sectors from `first` hold after they were written as `tag`: every eight bytes
    /// tell the tag and the sector.
    fn fill(&self, first: u64, count: u64, tag: u8) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.at(count) as usize);
        for sector in first..first + count {
            let mut word = sector.to_be_bytes();
            word[0] = tag;
            bytes.extend(word.iter().cycle().take(self.sector));
        }
        bytes
    }

    async fn write(&self, first: u64, count: u64, tag: u8) -> Result<(), BlockError> {
        self.device
            .write(self.at(first), &[&self.fill(first, count, tag)])
            .await
    }

    /// Sectors as they are now; `None` when they cannot be read.
    async fn read(&self, first: u64, count: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0x55; self.at(count) as usize];
        let mut buffers = [&mut bytes[..]];
        let read = self.device.read(self.at(first), &mut buffers);
        patiently(self.sleep, read).await?.ok()?;
        Some(bytes)
    }

    /// Bytes that no read has touched are still 0x55.
    fn full(&self, report: &mut Report, bytes: &[u8]) {
        let untouched = bytes.chunks(8).filter(|word| *word == [0x55; 8]).count() * 8;
        let seen = (untouched, "bytes left alone");
        report.check(NO_SHORT_READ, untouched == 0, "every buffer full", seen);
    }

    /// Whether a sector is as it was written with one of these tags.
    async fn is(&self, sector: u64, tags: &[u8]) -> bool {
        let now = self.read(sector, 1).await;
        tags.iter()
            .any(|&tag| now.as_ref() == Some(&self.fill(sector, 1, tag)))
    }

    /// Whether an operation ended in time, and how.
    async fn ends(
        &self,
        report: &mut Report,
        sentence: Sentence,
        operation: impl Future<Output = Result<(), BlockError>>,
    ) -> Result<(), BlockError> {
        match patiently(self.sleep, operation).await {
            Some(result) => {
                report.check(sentence, result.is_ok(), "Ok", result);
                result
            }
            None => {
                report.check(sentence, false, "an end", "none within ten seconds");
                Err(BlockError::Io)
            }
        }
    }

    /// Ranges that are no whole sectors, or not inside the device.
    async fn bounds(&self, report: &mut Report) {
        let (device, sector) = (self.device, self.at(1));
        let info = device.info();
        let last = info.size / sector - 1;
        if info.writable
            && self
                .ends(report, WRITE_WAITS, self.write(last, 1, b'l'))
                .await
                .is_err()
        {
            return;
        }
        let around = async || Some((self.read(0, 2).await?, self.read(last, 1).await?));
        let before = around().await;
        report.check(READ_WAITS, before.is_some(), "an end", "none");
        let wrong = [
            (1, sector, BlockError::Misaligned, MISALIGNED),
            (0, sector - 1, BlockError::Misaligned, MISALIGNED),
            (info.size - 1, 1, BlockError::Misaligned, MISALIGNED),
            (info.size, sector, BlockError::OutOfRange, OUT_OF_RANGE),
            (
                info.size - sector,
                2 * sector,
                BlockError::OutOfRange,
                OUT_OF_RANGE,
            ),
            (
                0_u64.wrapping_sub(sector),
                2 * sector,
                BlockError::OutOfRange,
                OUT_OF_RANGE,
            ),
        ];
        for (offset, len, error, sentence) in wrong {
            let mut buffer = vec![0xee; len as usize];
            let read = patiently(self.sleep, device.read(offset, &mut [&mut buffer])).await;
            report.equal(sentence, read, Some(Err(error)));
            if !info.writable {
                continue;
            }
            let write = patiently(self.sleep, device.write(offset, &[&buffer])).await;
            report.equal(sentence, write, Some(Err(error)));
            let discard = patiently(self.sleep, device.discard(offset, len)).await;
            if discard != Some(Err(BlockError::Unsupported)) {
                report.equal(sentence, discard, Some(Err(error)));
            }
        }
        let after = around().await;
        report.check(
            NOTHING_DONE,
            before == after,
            "the first two sectors and the last one as they were",
            after.is_some(),
        );
        report.check(
            NOT_FINAL,
            after.is_some(),
            "a read after the errors",
            "none",
        );
    }

    /// Bytes go where they belong, and what has returned is seen.
    async fn transfers(&self, report: &mut Report) {
        let (device, n) = (self.device, self.sector);
        let old = self.write(0, 8, b'a');
        if self.ends(report, WRITE_WAITS, old).await.is_err() {
            return;
        }
        let new = self.fill(1, 4, b'b');
        let parts = [&new[..n], &new[n..3 * n], &[], &new[3 * n..]];
        if self
            .ends(report, WRITES, device.write(self.at(1), &parts))
            .await
            .is_err()
        {
            return;
        }
        let expected = [self.fill(0, 1, b'a'), new, self.fill(5, 3, b'a')].concat();
        let now = self.read(0, 8).await;
        self.full(report, now.as_deref().unwrap_or_default());
        let kept = now.as_ref() == Some(&expected);
        let wanted = "each buffer in its sectors, and no other changed";
        report.check(WRITES, kept, wanted, "other bytes");

        let (mut one, mut two, mut three) = (vec![0x55; 2 * n], vec![0x55; n], vec![0x55; 4 * n]);
        let read = patiently(
            self.sleep,
            device.read(self.at(1), &mut [&mut one, &mut two, &mut [], &mut three]),
        )
        .await;
        report.equal(READ_WAITS, read, Some(Ok(())));
        let whole = [&one[..], &two, &three].concat();
        self.full(report, &whole);
        report.check(
            READS,
            whole == expected[n..],
            "the buffers filled one after the other",
            "other bytes",
        );

        for tag in b'c'..b'm' {
            let sectors = 1 + u64::from(tag - b'c') % 3;
            if self
                .ends(report, WRITE_WAITS, self.write(0, sectors, tag))
                .await
                .is_err()
            {
                return;
            }
            let now = self.read(0, sectors).await;
            let seen = now == Some(self.fill(0, sectors, tag));
            report.check(
                LATER_SEES,
                seen,
                "what the write before it wrote",
                "older bytes",
            );
            report.check(SEEN, seen, "what the write before it wrote", "older bytes");
        }
        let together = both(self.write(2, 1, b'x'), self.write(3, 1, b'y'));
        let together = patiently(self.sleep, together).await;
        report.equal(WRITE_WAITS, together, Some((Ok(()), Ok(()))));
        let seen = self.is(2, b"x").await && self.is(3, b"y").await;
        report.check(
            LATER_SEES,
            seen,
            "both of two writes that were started together",
            "other bytes",
        );
        let flushed = patiently(self.sleep, device.flush()).await;
        report.check(FLUSH_WAITS, flushed == Some(Ok(())), "Ok", flushed);
    }

    /// Operations that are dropped.
    async fn drops(&self, report: &mut Report) {
        let device = self.device;
        if self
            .ends(report, WRITE_WAITS, self.write(16, 24, b'o'))
            .await
            .is_err()
        {
            return;
        }
        let mut buffer = vec![0; self.at(8) as usize];
        let _ = cancelled(device.read(self.at(16), &mut [&mut buffer])).await;
        let now = self.read(16, 8).await;
        let kept = now == Some(self.fill(16, 8, b'o'));
        report.check(
            READ_DROPPED,
            kept,
            "a read after a dropped one to be whole",
            "other bytes",
        );
        for sector in (24..40).step_by(4) {
            let new = self.fill(sector, 4, b'n');
            let _ = cancelled(device.write(self.at(sector), &[&new])).await;
        }
        let _ = patiently(self.sleep, self.sleep.sleep(MOMENT)).await;
        for sector in 16..40 {
            let tags = if sector < 24 { &b"o"[..] } else { b"on" };
            let kept = self.is(sector, tags).await;
            let expected = format!("sector {sector} old, or new where a write was dropped");
            report.check(OLD_OR_NEW, kept, &expected, self.read(sector, 1).await);
        }
        let _ = cancelled(device.flush()).await;
        let flushed = patiently(self.sleep, device.flush()).await;
        let kept = flushed == Some(Ok(())) && self.is(16, b"o").await;
        report.check(
            FLUSH_DROPPED,
            kept,
            "a flush after a dropped one, and every byte",
            flushed,
        );
    }

    async fn discards(&self, report: &mut Report) {
        let device = self.device;
        if self
            .ends(report, WRITE_WAITS, self.write(40, 24, b'k'))
            .await
            .is_err()
        {
            return;
        }
        let discarded = patiently(self.sleep, device.discard(self.at(48), self.at(8))).await;
        match discarded {
            Some(Ok(())) => {
                report.check(DISCARD_WAITS, true, "", "");
                report.not_applicable(UNSUPPORTED, "the device can discard, and is writable");
                let now = self.read(48, 8).await;
                if device.info().discard_zeroes {
                    let zero = now.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
                    report.check(ZEROES, zero, "zeros", "other bytes");
                } else {
                    report.check(ZEROES, now.is_some(), "bytes", "none");
                }
                let beside = self.is(47, b"k").await && self.is(56, b"k").await;
                let expected = "the sectors beside those that were discarded as they were";
                report.check(DISCARD_DROPPED, beside, expected, "other bytes");
                let _ = cancelled(device.discard(self.at(56), self.at(4))).await;
                let _ = patiently(self.sleep, self.sleep.sleep(MOMENT)).await;
                for sector in (40..48).chain(60..64) {
                    let kept = self.is(sector, b"k").await;
                    let expected = format!("sector {sector} as it was: it was not discarded");
                    report.check(DISCARD_DROPPED, kept, &expected, "other bytes");
                }
            }
            Some(Err(BlockError::Unsupported)) => {
                let kept = self.read(48, 8).await == Some(self.fill(48, 8, b'k'));
                report.check(UNSUPPORTED, kept, "nothing done", "other bytes");
                for sentence in [DISCARD_WAITS, ZEROES, DISCARD_DROPPED] {
                    report.not_applicable(sentence, "the device cannot discard");
                }
            }
            other => report.check(DISCARD_WAITS, false, "Ok or Unsupported", other),
        }
    }

    async fn read_only(&self, report: &mut Report) {
        let device = self.device;
        let before = self.read(0, 8).await;
        report.check(READS, before.is_some(), "eight sectors", "none");
        let bytes = self.fill(0, 8, b'w');
        let write = patiently(self.sleep, device.write(0, &[&bytes])).await;
        report.equal(READ_ONLY, write, Some(Err(BlockError::ReadOnly)));
        let discard = patiently(self.sleep, device.discard(0, self.at(8))).await;
        let kept = matches!(
            discard,
            Some(Err(BlockError::ReadOnly | BlockError::Unsupported))
        );
        report.check(UNSUPPORTED, kept, "ReadOnly or Unsupported", discard);
        let same = self.read(0, 8).await == before;
        report.check(READ_ONLY, same, "nothing written", "other bytes");
        let flushed = patiently(self.sleep, device.flush()).await;
        report.check(FLUSH_DROPPED, flushed == Some(Ok(())), "Ok", flushed);
        for sentence in [
            LATER_SEES,
            NO_SHORT_READ,
            READ_DROPPED,
            WRITES,
            WRITE_WAITS,
            SEEN,
            OLD_OR_NEW,
            DISCARD_WAITS,
            ZEROES,
            DISCARD_DROPPED,
        ] {
            report.not_applicable(sentence, "the device is read-only");
        }
    }
}

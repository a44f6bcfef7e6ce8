//! What a recording looks like, byte by byte. Version 1.
//!
//! Numbers are little-endian. A file begins with a page of words of eight bytes:
//!
//! | offset | what |
//! |---|---|
//! | 0 | [`MAGIC`], whose last byte is the version |
//! | 8 | what it is for: [`RECORD`]; [`REPLAY`] or [`REPLAY_AND_PAUSE`] in the copy that is repeated |
//! | 16 | offset of the first segment, a multiple of 4096 |
//! | 24 | length of a segment, a multiple of 4096 |
//! | 32 | length of the description, which begins at 4096 |
//! | 64 | segment 0: its number, 0 while it is not valid |
//! | 72 | segment 0: how many of its bytes are used |
//! | 80, 88 | the same of segment 1, which follows segment 0 |
//! | 128 | how it ended, see [`Outcome`](crate::Outcome): its kind |
//! | 136 | number of the event that this happened at |
//! | 144 | offset of that event in the file |
//! | 152 | what the program did there: kind, and device << 8 |
//! | 160, 168, 176 | its offset, length and checksum |
//! | 192 | the exit status plus 1, as whoever started the unikernel saw it; 0 when nobody did |
//!
//! The **description** is text in UTF-8, a line each: `NAME VALUE`, where a line feed in the value
//! is `\n` and a backslash `\\`. See [`Description`](crate::Description). What follows up to the
//! first segment is zero.
//!
//! A **segment** begins with four words: its number again, the number of its first event, the length
//! of its checkpoint, and what the clock showed last. Then come the checkpoint, whose form is the
//! platform's own, and the events. Segments are numbered from 1; the one with number 1 has no
//! checkpoint and begins where the program does, with event 0. An event is complete once the segment's
//! word of used bytes, which is written last, reaches past it. A file may end behind the last used byte.
//!
//! An **event** begins with a byte: its [`Kind`](crate::Kind) in the lower four bits, its code in
//! the upper four. The kind says which of these follow, in this order:
//!
//! | field | form |
//! |---|---|
//! | device | a byte |
//! | offset | a number: seven bits in each byte, the lowest first; bit 7 says that more follow |
//! | length | a number |
//! | checksum | four bytes |
//! | payload | as many bytes as the length says, where the code is 0 or 1 |
//!
//! | kind | | code | offset | length | checksum | payload |
//! |---|---|---|---|---|---|---|
//! | 1 | now | | nanoseconds since the last one, or since the clock's start | | | |
//! | 2 | wall | 0 a time, 2 none | seconds | nanoseconds | | |
//! | 3 | entropy | 0 | | bytes asked for | | the bytes |
//! | 4 | console | | | bytes | of them | |
//! | 5 | receive, device | 0 a frame, 1 a frame whose checksum is valid, 2 none | | bytes | | the frame |
//! | 6 | send, device | 0 | | bytes | of frame and offload | |
//! | 7 | read, device | 0, 2 pending | offset | bytes | | the bytes |
//! | 8 | write, device | 0, 2 pending | offset | bytes | of them | |
//! | 9 | flush, device | 0, 2 pending | | | | |
//! | 10 | discard, device | 0, 2 pending | offset | bytes | | |
//! | 11 | abandon, device | | | | | |
//! | 12 | wait | | devices ready for input | for output | | |
//! | 13 | exit | | status | | | |
//! | 14 | argument | 0 an argument, 2 no more | | bytes | | the argument |
//! | 15 | device, device | 0 a device, 2 no more | | bytes | | the device |
//!
//! Codes from 3 on are errors. Entropy: 3 not ready, 4 no source. Frames: 3 full, 4 too long, 5
//! gone. Blocks: 3 misaligned, 4 out of range, 5 read-only, 6 unsupported, 7 no space, 8 I/O.
//!
//! A **checksum** is of four words, 1, 2, 3, 4 at first. To take a word in is `(lane ^ word) * 0x9e3779b97f4a7c15`,
//! rotated left by 29. Of each piece, words of eight bytes go to the four in turn as long as there are
//! four, those left over to the second, single bytes left over to the third, the piece's length to the
//! fourth. The result is the upper half of what comes of `sum = (rotl(sum, 23) ^ lane) * 0x9e3779b97f4a7c15`
//! over the four, from 0. A frame is two pieces, or three: itself; where it is to be cut into segments, eight
//! bytes of how; eight bytes of where a checksum is to be computed, or zeros.
//!
//! The first events of all are the arguments and the devices. A **device** is a byte for its kind, a
//! byte of flags, six bytes, two words of eight bytes, and its name. 1, a network device: flags 1
//! checksums, 2 IPv4 segments, 4 IPv6 segments; its address; MTU and longest frame. 2, a block
//! device: flags 1 writable, 2 discarded bytes are zero; zeros; size and sector.
//!
//! What is repeated is a **copy** that [`Recording::replay`](crate::Recording::replay) makes: the first
//! page, then the checkpoint that it begins with, if there is one, then all events, one after the other.
//! Its words at 200 and 208 say where the events begin and end, those at 216 and 224 where the checkpoint
//! is and how long.

/// How a recording begins.
pub const MAGIC: [u8; 8] = *b"MirageR\x01";

/// The unit of a file's parts in bytes.
pub const PAGE: usize = 4096;

/// It is being recorded.
pub const RECORD: u64 = 0;
/// It is being repeated.
pub const REPLAY: u64 = 1;
/// It is being repeated, and a debugger wants to see where it ends.
pub const REPLAY_AND_PAUSE: u64 = 2;

/// The shortest segment in bytes.
pub const LEAST_SEGMENT: usize = 64 << 10;

/// Where it stands what a recording is for.
pub const MODE: usize = 8;
pub(crate) const START: usize = 16;
pub(crate) const SEGMENT: usize = 24;
pub(crate) const DESCRIPTION: usize = 32;
pub(crate) const TABLE: usize = 64;
pub(crate) const OUTCOME: usize = 128;
pub(crate) const STATUS: usize = 192;
pub(crate) const EVENTS: usize = 200;
pub(crate) const EVENTS_END: usize = 208;
pub(crate) const CHECKPOINT: usize = 216;
pub(crate) const CHECKPOINT_LEN: usize = 224;

/// Bytes before a segment's checkpoint.
pub(crate) const SEGMENT_HEAD: usize = 32;

/// Where a segment's number stands; the word after it says how many bytes are used.
pub(crate) const fn number_at(segment: usize) -> usize {
    TABLE + 16 * (segment & 1)
}

//! Zlib streams, read within bounds that the reader sets.

use std::cell::Cell;
use std::cmp::Ordering;
use std::convert::Infallible;
use std::io::{self, BufRead};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Why a stream was not read.
#[derive(Debug)]
pub enum Failed {
    /// The source could not be read.
    Io(io::Error),
    /// The source ended in the middle.
    Cut,
    /// The bytes are no such stream.
    Damaged(&'static str),
}

impl Failed {
    /// The error, where a source that ends too early is damage like any other.
    ///
    /// # Errors
    /// What reading gave.
    pub fn wrong(self) -> Result<&'static str, io::Error> {
        match self {
            Failed::Io(error) => Err(error),
            Failed::Cut => Ok("it is cut off"),
            Failed::Damaged(wrong) => Ok(wrong),
        }
    }
}

/// Reads one stream piece by piece and nothing behind it; never holds more than what is asked for.
pub struct Inflate<R> {
    source: R,
    state: State,
    done: bool,
}

thread_local! {
    /// The state of the last stream: it is large, and made new only where two are read at once.
    static STATE: Cell<Option<Box<Decompress>>> = const { Cell::new(None) };
    /// Where what is small is put first.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What has so many bytes at most is inflated in one step, with as many to spare as the decoder needs to
/// copy without looking at each byte.
const SMALL: usize = 64 << 10;
const SPARE: usize = 512;

const SHORT: &str = "it is shorter than it says";
const LONG: &str = "it is longer than it says";

struct State(Option<Box<Decompress>>);

impl State {
    fn new() -> State {
        let mut state = STATE
            .take()
            .unwrap_or_else(|| Box::new(Decompress::new(true)));
        state.reset(true);
        State(Some(state))
    }

    fn get(&mut self) -> &mut Decompress {
        self.0.as_mut().expect("it is here until dropped")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        STATE.set(self.0.take());
    }
}

impl<R: BufRead> Inflate<R> {
    /// The stream that begins where `source` stands.
    pub fn new(source: R) -> Inflate<R> {
        Inflate {
            source,
            state: State::new(),
            done: false,
        }
    }

    /// Fills `out`, or as much as the stream has; returns how much.
    fn fill(&mut self, out: &mut [u8]) -> Result<usize, Failed> {
        let mut filled = 0;
        while filled < out.len() && !self.done {
            let input = match self.source.fill_buf() {
                Ok([]) => return Err(Failed::Cut),
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failed::Io(error)),
            };
            let state = self.state.get();
            let before = (state.total_in(), state.total_out());
            let status = state
                .decompress(input, &mut out[filled..], FlushDecompress::None)
                .map_err(|_| Failed::Damaged("its compressed bytes are wrong"))?;
            let used = (state.total_in() - before.0) as usize;
            let made = (state.total_out() - before.1) as usize;
            self.source.consume(used);
            filled += made;
            self.done = status == Status::StreamEnd;
            if used + made == 0 && !self.done {
                return Err(Failed::Damaged("its compressed bytes are wrong"));
            }
        }
        Ok(filled)
    }

    /// The next bytes up to and without a NUL, at most `most`.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn until_nul(&mut self, most: usize) -> Result<Vec<u8>, Failed> {
        let mut text = Vec::new();
        let mut byte = [0];
        while text.len() <= most {
            if self.fill(&mut byte)? == 0 {
                break;
            }
            if byte[0] == 0 {
                return Ok(text);
            }
            text.push(byte[0]);
        }
        Err(Failed::Damaged("its header has no end"))
    }

    /// The rest, which has exactly `size` bytes. Memory grows with what really comes.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn rest(self, size: usize) -> Result<Vec<u8>, Failed> {
        let mut out = Vec::new();
        self.rest_into(size, &mut out)?;
        Ok(out)
    }

    /// The rest as [`rest`](Inflate::rest) gives it, in place of what `out` held.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn rest_into(mut self, size: usize, out: &mut Vec<u8>) -> Result<(), Failed> {
        out.clear();
        if size <= SMALL {
            let mut room = ROOM.take();
            room.resize(SMALL + SPARE, 0);
            let filled = self.fill(&mut room[..size + SPARE]);
            if filled.as_ref().is_ok_and(|filled| *filled == size) {
                out.extend_from_slice(&room[..size]);
            }
            ROOM.set(room);
            return match filled?.cmp(&size) {
                Ordering::Less => Err(Failed::Damaged(SHORT)),
                Ordering::Equal => Ok(()),
                Ordering::Greater => Err(Failed::Damaged(LONG)),
            };
        }
        while out.len() < size && !self.done {
            let filled = out.len();
            let grown = size.min((2 * filled).max(64 << 10));
            out.resize(grown, 0);
            let more = self.fill(&mut out[filled..])?;
            out.truncate(filled + more);
        }
        if out.len() < size {
            return Err(Failed::Damaged(SHORT));
        }
        // The end of the stream, with its checksum, is still to come.
        if self.fill(&mut [0])? != 0 {
            return Err(Failed::Damaged(LONG));
        }
        Ok(())
    }
}

/// How much work to spend on making bytes fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// None: the bytes as they are, in a valid stream. For what is rewritten soon.
    Stored,
    /// As usual.
    Usual,
}

/// Makes streams, one after the other, in one piece of memory.
pub struct Deflate {
    effort: Effort,
    state: Option<Compress>,
}

/// Bytes that are so few are not worth the work.
const FEW: usize = 64;
/// So many are compressed at once.
const PIECE: usize = 256 << 10;

impl Deflate {
    /// Makes streams with this effort.
    pub fn new(effort: Effort) -> Deflate {
        Deflate {
            effort,
            state: None,
        }
    }

    /// Appends the stream of `data`.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let appended: Result<(), Infallible> = self.push_through(data, out, |_| Ok(()));
        let Ok(()) = appended;
    }

    /// Appends the stream of `data` piece by piece, and has `room` take away what it likes of `out` after
    /// each, so that the stream of a large value is never in memory as a whole.
    ///
    /// # Errors
    /// What `room` gives; the stream is not whole then.
    pub fn push_through<E>(
        &mut self,
        data: &[u8],
        out: &mut Vec<u8>,
        mut room: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.effort == Effort::Stored || data.len() <= FEW {
            store(data, out);
            return room(out);
        }
        let state = self
            .state
            .get_or_insert_with(|| Compress::new(Compression::new(3), true));
        state.reset();
        let mut pieces = data.chunks(PIECE).peekable();
        while let Some(mut piece) = pieces.next() {
            let flush = match pieces.peek() {
                Some(_) => FlushCompress::None,
                None => FlushCompress::Finish,
            };
            loop {
                let read = state.total_in();
                out.reserve(piece.len() / 2 + 64);
                let status = state
                    .compress_vec(piece, out, flush)
                    .expect("a fresh compressor takes any bytes");
                piece = &piece[(state.total_in() - read) as usize..];
                if status == Status::StreamEnd || flush == FlushCompress::None && piece.is_empty() {
                    break;
                }
            }
            room(out)?;
        }
        Ok(())
    }
}

/// A stream of stored blocks (RFC 1951 §3.2.4) in a zlib frame (RFC 1950).
fn store(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = data.chunks(0xffff).peekable();
    if data.is_empty() {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&adler32(data).to_be_bytes());
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // As many bytes as cannot overflow 32 bits.
    for chunk in data.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        (a, b) = (a % 65521, b % 65521);
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(stream: &[u8], size: usize) -> Result<Vec<u8>, Failed> {
        Inflate::new(stream).rest(size)
    }

    #[test]
    fn streams_come_back_whole_and_only_whole() {
        for size in [
            0,
            1,
            5552,
            65535,
            65536,
            200_000,
            PIECE,
            PIECE + 1,
            3 * PIECE,
        ] {
            let data: Vec<u8> = (0..size as u32)
                .map(|n| (n.wrapping_mul(n) >> 7) as u8)
                .collect();
            for effort in [Effort::Stored, Effort::Usual] {
                let mut stream = Vec::new();
                Deflate::new(effort).push(&data, &mut stream);
                assert_eq!(inflate(&stream, size).unwrap(), data);
                assert!(inflate(&stream, size + 1).is_err());
                assert!(size == 0 || inflate(&stream, size - 1).is_err());
                assert!(inflate(&stream[..stream.len() - 1], size).is_err());
                let last = stream.len() - 1;
                stream[last] ^= 1;
                assert!(inflate(&stream, size).is_err(), "the checksum counts");
            }
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_it_claims() {
        let mut bomb = Vec::new();
        Deflate::new(Effort::Usual).push(&vec![0; 8 << 20], &mut bomb);
        assert!(matches!(inflate(&bomb, 100), Err(Failed::Damaged(_))));
        assert!(matches!(inflate(&bomb[..99], usize::MAX), Err(Failed::Cut)));
    }
}

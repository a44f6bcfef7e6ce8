//! The chunked transfer coding (RFC 9112 §7.1).

use crate::fields::{is_token_byte, is_value_byte};

/// Takes the chunked coding off. A byte that the grammar does not allow ends the connection:
/// lenient readings of a chunk's size are what request smuggling lives on.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    state: State,
    /// Digits of the chunk's size that were read.
    digits: u8,
    /// The chunk's size; in [`State::Data`] how much of it is still to come.
    left: u64,
    /// Bytes of extensions and trailer that may still come: they carry nothing for us, and an
    /// endless supply of them would keep us busy for nothing.
    overhead: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// After size or extension, in whitespace that only `;` may follow.
    Space,
    ExtensionStart,
    ExtensionName,
    NameSpace,
    ValueStart,
    ValueToken,
    Quoted,
    Escaped,
    ValueEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    FinalLf,
    Done,
}

impl Decoder {
    /// A decoder that allows `overhead` bytes of extensions and trailer in all.
    pub const fn new(overhead: usize) -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            overhead,
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the current chunk that are still to come.
    pub const fn left(&self) -> u64 {
        match self.state {
            State::Data => self.left,
            _ => 0,
        }
    }

    /// Accounts for bytes of the current chunk that were taken elsewhere, at most
    /// [`Decoder::left`].
    pub fn skip(&mut self, count: u64) {
        if self.state == State::Data {
            self.left = self.left.saturating_sub(count);
            if self.left == 0 {
                self.state = State::DataCr;
            }
        }
    }

    /// Decodes from `input` to `output`: how many bytes were consumed and produced. Stops at the
    /// end of either or of the content; the rest of `input` then belongs to the next message.
    pub fn decode(
        &mut self,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), &'static str> {
        let (mut consumed, mut produced) = (0, 0);
        while !self.is_done() {
            let rest = input.get(consumed..).unwrap_or_default();
            if self.state == State::Data {
                let room = output.get_mut(produced..).unwrap_or_default();
                let count = rest
                    .len()
                    .min(room.len())
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if count == 0 {
                    break;
                }
                if let (Some(to), Some(from)) = (room.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                consumed += count;
                produced += count;
                self.skip(count as u64);
                continue;
            }
            let Some(&byte) = rest.first() else { break };
            self.state = self.step(byte)?;
            consumed += 1;
        }
        Ok((consumed, produced))
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        const SIZE: &str = "a chunk's size is not valid";
        const EXTENSION: &str = "a chunk extension is not valid";
        const TRAILER: &str = "the trailer is not valid";
        const NO_CRLF: &str = "a chunk does not end in CRLF";
        use State::{
            Data, DataCr, DataLf, Done, Escaped, ExtensionName, ExtensionStart, FinalLf, NameSpace,
            Quoted, Size, SizeLf, Space, TrailerLf, TrailerName, TrailerStart, TrailerValue,
            ValueEnd, ValueStart, ValueToken,
        };
        if !matches!(self.state, Size | SizeLf | DataCr | DataLf | FinalLf) {
            self.overhead = self
                .overhead
                .checked_sub(1)
                .ok_or("extensions and trailer are too long")?;
        }
        let state = match (self.state, byte) {
            (Size, _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                let size = self.left.checked_mul(16);
                self.left = size.and_then(|size| size.checked_add(digit)).ok_or(SIZE)?;
                self.digits += 1;
                if self.digits > 16 {
                    return Err(SIZE);
                }
                Size
            }
            (Size, _) if self.digits == 0 => return Err(SIZE),
            (Size, b'\r') => SizeLf,
            (Size, b' ' | b'\t') => Space,
            (Size, b';') => ExtensionStart,
            (SizeLf, b'\n') if self.left == 0 => TrailerStart,
            (SizeLf, b'\n') => Data,
            (Size | SizeLf, _) => return Err(SIZE),

            (Space, b' ' | b'\t') => Space,
            (ExtensionStart, b' ' | b'\t') => ExtensionStart,
            (ExtensionStart | ExtensionName, _) if is_token_byte(byte) => ExtensionName,
            (ExtensionName | NameSpace, b' ' | b'\t') => NameSpace,
            (ExtensionName | NameSpace, b'=') => ValueStart,
            (Space | ExtensionName | NameSpace | ValueToken | ValueEnd, b';') => ExtensionStart,
            (ExtensionName | ValueToken | ValueEnd, b'\r') => SizeLf,
            (ValueStart, b' ' | b'\t') => ValueStart,
            (ValueStart, b'"') => Quoted,
            (ValueStart | ValueToken, _) if is_token_byte(byte) => ValueToken,
            (Quoted, b'"') => ValueEnd,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if is_value_byte(byte) => Quoted,
            (ValueToken | ValueEnd, b' ' | b'\t') => Space,
            (
                Space | ExtensionStart | ExtensionName | NameSpace | ValueStart | ValueToken
                | Quoted | Escaped | ValueEnd,
                _,
            ) => return Err(EXTENSION),

            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                (self.digits, self.left) = (0, 0);
                Size
            }
            (DataCr | DataLf, _) => return Err(NO_CRLF),

            (TrailerStart, b'\r') => FinalLf,
            (TrailerStart | TrailerName, _) if is_token_byte(byte) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, _) if is_value_byte(byte) => TrailerValue,
            (TrailerLf, b'\n') => TrailerStart,
            (FinalLf, b'\n') => Done,
            (TrailerStart | TrailerName | TrailerValue | TrailerLf | FinalLf, _) => {
                return Err(TRAILER);
            }
            (Data | Done, _) => self.state,
        };
        Ok(state)
    }
}

/// The line before a chunk's data: its size in hexadecimal and CRLF.
pub(crate) struct SizeLine {
    text: [u8; 18],
    start: usize,
}

impl SizeLine {
    pub fn new(mut size: usize) -> Self {
        let mut text = *b"0000000000000000\r\n";
        let mut start = 16;
        for place in text.iter_mut().take(16).rev() {
            if size == 0 {
                break;
            }
            *place = b"0123456789abcdef"[size & 15];
            size >>= 4;
            start -= 1;
        }
        Self {
            text,
            start: start.min(15),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use alloc::{format, vec};

    proptest::proptest! {
        #[test]
        fn any_content_comes_back_however_it_was_chunked_and_however_it_arrives(
            chunks in proptest::collection::vec(
                (proptest::collection::vec(proptest::num::u8::ANY, 1..40), "(;[a-z]{1,4}(=[a-z]{1,3})?)?"),
                0..6,
            ),
            arrives in proptest::collection::vec(1..30_usize, 1..5),
            room in 1..20_usize,
            trailer in "(X: y\r\n){0,2}",
            after in "[a-z]{0,9}",
        ) {
            let mut coded = Vec::new();
            for (chunk, extension) in &chunks {
                coded.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                coded.extend(chunk);
                coded.extend(b"\r\n");
            }
            coded.extend(format!("0\r\n{trailer}\r\n{after}").bytes());
            let mut decoder = Decoder::new(1000);
            let (mut content, mut at, mut end) = (Vec::<u8>::new(), 0, 0);
            for more in arrives.iter().cycle() {
                end = (end + more).min(coded.len());
                let mut output = vec![0; room];
                let (consumed, produced) = decoder.decode(&coded[at..end], &mut output).unwrap();
                content.extend(&output[..produced]);
                at += consumed;
                if decoder.is_done() {
                    break;
                }
            }
            let expected: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.0).collect();
            assert_eq!(content, expected);
            assert_eq!(&coded[at..], after.as_bytes());
        }
    }
}

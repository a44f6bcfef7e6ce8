//! The content of a message: where it ends, and how it is read.

use core::ops::Range;

use mirage_device::{FlowRead, FlowWrite, Sleep};

use crate::Error;
use crate::chunked::Decoder;
use crate::head::Length;
use crate::limits::Patience;
use crate::wire::Wire;

#[derive(Debug, Clone)]
enum Framing {
    Known(u64),
    Chunked(Decoder),
    /// Everything until the peer closes: an answer without a length (RFC 9112 §6.3, item 8).
    UntilClose {
        ended: bool,
    },
}

/// The content of one message while it is read.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    framing: Framing,
    /// Bytes that may still come.
    allowance: u64,
}

impl Body {
    /// The content of a request or answer of this length, at most `limit` bytes long. A chunked
    /// one may bring `overhead` bytes of extensions and trailer.
    pub const fn new(length: Length, limit: u64, overhead: usize) -> Self {
        let framing = match length {
            Length::Known(length) => Framing::Known(length),
            Length::Chunked => Framing::Chunked(Decoder::new(overhead)),
        };
        Self {
            framing,
            allowance: limit,
        }
    }

    pub const fn until_close(limit: u64) -> Self {
        Self {
            framing: Framing::UntilClose { ended: false },
            allowance: limit,
        }
    }

    /// All of it has been read.
    pub fn is_done(&self) -> bool {
        match &self.framing {
            Framing::Known(left) => *left == 0,
            Framing::Chunked(decoder) => decoder.is_done(),
            Framing::UntilClose { ended } => *ended,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub const fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Known(left) => Some(left),
            _ => None,
        }
    }

    /// How many bytes may be read into `room` bytes without passing through a buffer of
    /// `buffer` bytes.
    fn direct(&self, room: usize, buffer: usize) -> Option<usize> {
        let least = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(room);
        match &self.framing {
            Framing::Known(left) => Some(least(*left)),
            Framing::UntilClose { .. } => Some(room),
            Framing::Chunked(decoder) => {
                (decoder.left() >= buffer.max(1) as u64).then(|| least(decoder.left()))
            }
        }
    }

    fn allow(&mut self, count: usize) -> Result<(), Error> {
        self.allowance = self
            .allowance
            .checked_sub(count as u64)
            .ok_or(Error::TooLarge)?;
        Ok(())
    }

    fn took(&mut self, count: usize) -> Result<(), Error> {
        match &mut self.framing {
            Framing::Known(left) => *left = left.saturating_sub(count as u64),
            Framing::Chunked(decoder) => decoder.skip(count as u64),
            Framing::UntilClose { .. } => {}
        }
        self.allow(count)
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Error> {
        if let Framing::Chunked(decoder) = &mut self.framing {
            let (consumed, produced) = decoder.decode(input, output).map_err(Error::Malformed)?;
            self.allow(produced)?;
            return Ok((consumed, produced));
        }
        let most = self.left().map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let count = input.len().min(output.len()).min(most);
        if let (Some(to), Some(from)) = (output.get_mut(..count), input.get(..count)) {
            to.copy_from_slice(from);
        }
        self.took(count)?;
        Ok((count, count))
    }
}

/// Bytes that were read from the flow and not used yet.
pub(crate) struct Staging<'b> {
    pub bytes: &'b mut [u8],
    pub filled: &'b mut Range<usize>,
}

/// Reads the next bytes of the content; 0 at its end or for an empty `buffer`. Cancel-safe.
pub(crate) async fn read<F: FlowRead + FlowWrite, S: Sleep>(
    body: &mut Body,
    wire: &mut Wire<F, S>,
    staging: Staging<'_>,
    patience: &mut Patience,
    buffer: &mut [u8],
) -> Result<usize, Error> {
    let Staging { bytes, filled } = staging;
    while !body.is_done() && !buffer.is_empty() {
        let input = bytes.get(filled.clone()).unwrap_or_default();
        if !input.is_empty() {
            let (consumed, produced) = body.decode(input, buffer)?;
            filled.start += consumed;
            if produced > 0 {
                return Ok(produced);
            }
            continue;
        }
        let direct = body.direct(buffer.len(), bytes.len());
        let place = match direct {
            Some(most) => buffer.get_mut(..most).unwrap_or_default(),
            None => &mut *bytes,
        };
        let count = wire.receive(place, patience).await?;
        match (&mut body.framing, count) {
            (Framing::UntilClose { ended }, 0) => *ended = true,
            (_, 0) => return Err(Error::Ended),
            _ if direct.is_some() => {
                body.took(count)?;
                return Ok(count);
            }
            _ => *filled = 0..count,
        }
    }
    Ok(0)
}

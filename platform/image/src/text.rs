use core::fmt::{self, Write};

use crate::boot;

/// Gathers a line of text in place, without the heap, for `write`.
pub(crate) struct Text<'a> {
    bytes: [u8; 512],
    used: usize,
    write: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Text<'a> {
    pub(crate) fn new(write: &'a mut dyn FnMut(&[u8])) -> Self {
        Self {
            bytes: [0; 512],
            used: 0,
            write,
        }
    }

    fn flush(&mut self) {
        (self.write)(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = byte;
            }
            self.used += 1;
        }
        Ok(())
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Writes a message to the console in as few pieces as possible.
pub(crate) fn say(message: fmt::Arguments<'_>) {
    let mut write = boot::console;
    // A `Text` takes everything; only a `Display` of somebody else's can fail.
    let _ = Text::new(&mut write).write_fmt(message);
}

/// The same past the platform boundary: what differs between a run and its replay.
#[cfg(feature = "sealed")]
pub(crate) fn say_aside(message: fmt::Arguments<'_>) {
    let mut write = mirage_process::console;
    let _ = Text::new(&mut write).write_fmt(message);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn a_message_is_written_whole_and_in_one_piece_when_it_is_short() {
        for len in [0, 1, 511, 512, 513, 5000] {
            let (mut seen, mut pieces) = (std::vec::Vec::new(), 0);
            let mut write = |bytes: &[u8]| {
                seen.extend_from_slice(bytes);
                pieces += 1;
            };
            write!(Text::new(&mut write), "{}", "x".repeat(len)).unwrap();
            assert_eq!(seen, "x".repeat(len).as_bytes());
            assert_eq!(pieces, (len.max(1)).div_ceil(512));
        }
    }
}

//! Text without an allocator.

use core::fmt::{self, Write};

/// Text of at most `N` bytes. What does not fit is an error of the write and is left out.
#[derive(Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// No text yet.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Adds one byte.
    pub fn push(&mut self, byte: u8) -> fmt::Result {
        *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
        self.len += 1;
        Ok(())
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    /// Writes as much as fits.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.push(byte))
    }
}

/// A word of the command line in a message: control characters and what is not UTF-8 are
/// escaped, so that a file's name cannot command the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a>(pub &'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The decimal number that `word` is, whole.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `word` before and after the first `separator`.
pub fn split_once(word: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == separator)?;
    Some((word.get(..at)?, word.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_takes_what_fits_and_says_so_when_it_does_not() {
        let mut text = Text::<5>::new();
        assert!(write!(text, "{}-", 12).is_ok());
        assert!(write!(text, "abc").is_err());
        assert_eq!(text.as_bytes(), b"12-ab");
    }

    #[test]
    fn a_word_cannot_command_the_terminal() {
        let word = Word(b"a\x1b[2J\xff\xc3\xa9\n");
        assert_eq!(word.to_string(), "a\\u{1b}[2J\\xffé\\u{a}");
    }

    #[test]
    fn a_number_is_decimal_digits_that_fit() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for word in [
            "",
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "18446744073709551616",
            "1K",
        ] {
            assert_eq!(number(word.as_bytes()), None, "{word}");
        }
    }
}

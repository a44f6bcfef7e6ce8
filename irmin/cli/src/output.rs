//! What is written to standard output. Nothing from a repository reaches a terminal as a control
//! character: names are quoted, texts are escaped.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use serde_json::Value;

/// Standard output.
pub struct Output {
    to: BufWriter<File>,
    /// Whether one JSON object a line is wanted.
    pub json: bool,
    terminal: bool,
}

impl Output {
    /// Standard output, for a person or as JSON.
    pub fn new(json: bool) -> io::Result<Output> {
        let stdout = io::stdout();
        Ok(Output {
            json,
            terminal: stdout.is_terminal(),
            // The library's own says nothing where the descriptor cannot be written to.
            to: BufWriter::new(stdout.as_fd().try_clone_to_owned()?.into()),
        })
    }

    /// Writes a line, which must be harmless.
    pub fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.to, "{line}")
    }

    /// Writes a JSON object on a line.
    pub fn value(&mut self, value: &Value) -> io::Result<()> {
        let mut text = String::new();
        // What JSON leaves as it is, and a terminal would not: these stand in strings only.
        for c in value.to_string().chars() {
            match is_harmful(c) {
                true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    let _ = write!(text, "\\u{unit:04x}");
                }),
                false => text.push(c),
            }
        }
        self.line(text)
    }

    /// Writes contents: their bytes, but escaped on a terminal.
    pub fn contents(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.terminal {
            true => write!(self.to, "{}", harmless(&String::from_utf8_lossy(bytes))),
            false => self.to.write_all(bytes),
        }
    }

    /// Hands on what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes a line, which must be harmless, to standard error. It may be closed: what is said there is
/// no answer.
pub fn note(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Control characters, and those that turn the direction of writing.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with its control characters escaped, except line ends and tabs.
pub fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) && c != '\n' && c != '\t' {
            true => safe.extend(c.escape_unicode()),
            false => safe.push(c),
        }
    }
    safe
}

/// The first line of a text, harmless.
pub fn first_line(text: &str) -> String {
    harmless(text.lines().next().unwrap_or_default()).replace('\t', " ")
}

/// A path, quoted as Git quotes it (with `core.quotePath` off) if it holds control characters,
/// quotation marks, backslashes or what is no UTF-8, or if it is empty.
pub fn quoted(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    let mut is_quoted = path.is_empty();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if !is_harmful(c) && c != '"' && c != '\\' {
                text.push(c);
                continue;
            }
            is_quoted = true;
            let short = match c {
                '\x07' => 'a',
                '\x08' => 'b',
                '\t' => 't',
                '\n' => 'n',
                '\x0b' => 'v',
                '\x0c' => 'f',
                '\r' => 'r',
                '"' | '\\' => c,
                _ => {
                    octal(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            text.extend(['\\', short]);
        }
        is_quoted |= !chunk.invalid().is_empty();
        octal(&mut text, chunk.invalid());
    }
    match is_quoted {
        true => format!("\"{text}\""),
        false => text,
    }
}

fn octal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\{byte:03o}");
    }
}

/// Adds bytes to a JSON object: as `key` if they are text, else in hexadecimal digits as `key_hex`.
pub fn put(object: &mut Value, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object[key] = text.into(),
        Err(_) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            object[format!("{key}_hex")] = digits.collect::<String>().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_as_git_quotes_them() {
        assert_eq!(quoted("a b/ü".as_bytes()), "a b/ü");
        assert_eq!(quoted(b"a\tb\"\\\x1b\x7f"), r#""a\tb\"\\\033\177""#);
        assert_eq!(quoted(b"a\xff"), r#""a\377""#);
        assert_eq!(quoted("\u{200e}".as_bytes()), r#""\342\200\216""#);
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted("\u{9b}2J".as_bytes()), r#""\302\2332J""#);
    }

    #[test]
    fn no_control_character_is_left_in_a_text() {
        assert_eq!(harmless("a\x1b[2J\tb\n"), "a\\u{1b}[2J\tb\n");
        assert_eq!(harmless("\u{9b}\u{202e}"), "\\u{9b}\\u{202e}");
        // All that Unicode calls a control of direction (UAX #9).
        for c in "\u{61c}\u{200e}\u{200f}\u{202a}\u{202d}\u{2066}\u{2069}".chars() {
            assert!(is_harmful(c), "{c:?}");
        }
        assert_eq!(first_line("a\tb\r\nc"), "a b");
    }
}

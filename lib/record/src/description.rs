use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::format::{LEAST_SEGMENT, PAGE};
use crate::tape::head;

/// What was recorded: which image, and how it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The image's name.
    pub name: String,
    /// The SHA-256 of the image's file in hexadecimal; empty when what ran was no image.
    pub image: String,
    /// Where that file was.
    pub path: String,
    /// The platform it ran on.
    pub platform: String,
    /// The words of its command line.
    pub arguments: Vec<String>,
    /// Bytes of memory it might use.
    pub memory: u64,
    /// Bytes of counters that it shared.
    pub counters: u64,
}

impl Description {
    /// The first bytes of a file of `len` bytes; all others are zero before the unikernel starts.
    /// `None` when the file is too short for two segments of [`LEAST_SEGMENT`] bytes.
    pub fn file_head(&self, len: usize) -> Option<Vec<u8>> {
        let text = self.to_text();
        let start = PAGE + text.len().next_multiple_of(PAGE);
        let segment = len.checked_sub(start)? / 2;
        let segment = segment - segment % PAGE;
        (segment >= LEAST_SEGMENT).then(|| head(text.as_bytes(), segment))
    }

    /// The first bytes of a recording whose segments have so many bytes.
    pub(crate) fn head(&self, segment: usize) -> Vec<u8> {
        head(self.to_text().as_bytes(), segment)
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name, value: &str| {
            let value = value.replace('\\', "\\\\").replace('\n', "\\n");
            // A string takes everything.
            let _ = writeln!(text, "{name} {value}");
        };
        line("name", &self.name);
        line("image", &self.image);
        line("path", &self.path);
        line("platform", &self.platform);
        for argument in &self.arguments {
            line("argument", argument);
        }
        let _ = writeln!(text, "memory {}\ncounters {}", self.memory, self.counters);
        text
    }

    /// Reads what [`Description::to_text`] writes; lines of another name are passed over, so that
    /// a later version can say more.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut description = Self::default();
        for line in text.split_terminator('\n') {
            let (name, value) = line.split_once(' ')?;
            let value = unescape(value);
            match name {
                "name" => description.name = value,
                "image" => description.image = value,
                "path" => description.path = value,
                "platform" => description.platform = value,
                "argument" => description.arguments.push(value),
                "memory" => description.memory = value.parse().ok()?,
                "counters" => description.counters = value.parse().ok()?,
                _ => {}
            }
        }
        Some(description)
    }
}

fn unescape(value: &str) -> String {
    let mut pieces = value.split('\\');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    while let Some(piece) = pieces.next() {
        match piece.strip_prefix('n') {
            Some(rest) => {
                text.push('\n');
                text.push_str(rest);
            }
            // Two backslashes: an empty piece, then what follows them.
            None if piece.is_empty() => {
                text.push('\\');
                text.push_str(pieces.next().unwrap_or_default());
            }
            None => text.push_str(piece),
        }
    }
    text
}

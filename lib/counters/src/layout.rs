//! Where things stand in a table, and what a name may be.

/// The words of a table: 16 KiB.
pub const LEN: usize = 2048;
/// The counters that a table holds.
pub const SLOTS: usize = 156;
/// The first word of a table.
pub const MAGIC: u64 = u64::from_le_bytes(*b"MIRCOUNT");
/// The version of the layout.
pub const VERSION: u64 = 1;
/// The longest name of a device in bytes.
pub const MAX_DEVICE: usize = 32;
/// The longest name of a counter in bytes, its label included.
pub const MAX_NAME: usize = 56;

pub(crate) const COUNT: usize = 2;
pub(crate) const REFUSED: usize = 3;
pub(crate) const VALUES: usize = 8;
const NAMES: usize = VALUES + SLOTS;
pub(crate) const NAMES_LEN: usize = 1 + (MAX_DEVICE + MAX_NAME) / 8;
const _: () = assert!(NAMES + SLOTS * NAMES_LEN <= LEN);

/// The word with the lengths of a slot's names; the device's name starts behind it.
pub(crate) const fn lengths(slot: usize) -> usize {
    NAMES + slot * NAMES_LEN
}

/// The first word of the counter's name of a slot.
pub(crate) const fn name(slot: usize) -> usize {
    lengths(slot) + 1 + MAX_DEVICE / 8
}

/// A counter, and what it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The name of the device that keeps it.
    pub device: &'a str,
    /// Its own name, with its label if it has one.
    pub name: &'a str,
    /// Its value.
    pub value: u64,
}

impl<'a> Sample<'a> {
    /// Its name without the label.
    pub fn metric(&self) -> &'a str {
        self.name
            .split_once('{')
            .map_or(self.name, |(metric, _)| metric)
    }

    /// Its label as `key="value"`, empty when it has none.
    pub fn label(&self) -> &'a str {
        let label = self.name.split_once('{').map_or("", |(_, label)| label);
        label.strip_suffix('}').unwrap_or(label)
    }

    /// Whether it only goes up; a gauge goes both ways.
    pub fn is_total(&self) -> bool {
        self.metric().ends_with("_total")
    }
}

/// Whether a table takes these names.
pub(crate) fn fits(device: &str, name: &str) -> bool {
    let lengths = (1..=MAX_DEVICE).contains(&device.len()) && name.len() <= MAX_NAME;
    lengths && device.bytes().all(|b| is_plain(b) && b != b' ') && is_name(name.as_bytes())
}

/// `word`, or `word{word="text"}`.
fn is_name(name: &[u8]) -> bool {
    match word(name) {
        Some([]) => true,
        Some([b'{', label @ ..]) => match word(label) {
            Some([b'=', b'"', text @ .., b'"', b'}']) => text.iter().all(|&b| is_plain(b)),
            _ => false,
        },
        _ => false,
    }
}

/// What follows a word of `a-z`, `0-9` and `_`; it does not start with a digit.
fn word(text: &[u8]) -> Option<&[u8]> {
    let is_other = |b: &u8| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let len = text.iter().position(is_other).unwrap_or(text.len());
    match text.first() {
        Some(b'0'..=b'9') => None,
        _ if len == 0 => None,
        _ => text.get(len..),
    }
}

/// Printable, and of no meaning to whoever reads a label.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'{' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_with_at_most_one_label() {
        for name in ["a", "frames_total", "d_total{cause=\"not for us\"}", "_x"] {
            assert!(fits("net", name), "{name}");
        }
        for name in [
            "",
            "1a",
            "A",
            "a b",
            "a{",
            "a{}",
            "a{b}",
            "a{b=c}",
            "a{b=\"c\"",
            "a{b=\"c\"}x",
            "a{b=\"c\",d=\"e\"}",
            "a{b=\"\x1b[2J\"}",
            "a{b=\"\\\"}",
            "{b=\"c\"}",
            "a{b=\"é\"}",
            &"a".repeat(MAX_NAME + 1),
        ] {
            assert!(!fits("net", name), "{name}");
        }
        for device in ["stack.net", "disk-2", &"d".repeat(MAX_DEVICE)] {
            assert!(fits(device, "a"), "{device}");
        }
        for device in [
            "",
            "a b",
            "\x1b[2J",
            "é",
            "a\"",
            &"d".repeat(MAX_DEVICE + 1),
        ] {
            assert!(!fits(device, "a"), "{device}");
        }
    }

    #[test]
    fn a_name_is_taken_apart_at_its_label() {
        let sample = |name| Sample {
            device: "d",
            name,
            value: 0,
        };
        let dropped = sample("dropped_total{cause=\"checksum\"}");
        assert_eq!(dropped.metric(), "dropped_total");
        assert_eq!(dropped.label(), "cause=\"checksum\"");
        assert!(dropped.is_total());
        let tasks = sample("tasks");
        assert_eq!((tasks.metric(), tasks.label()), ("tasks", ""));
        assert!(!tasks.is_total());
    }
}

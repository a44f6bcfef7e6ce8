use core::fmt;

/// The most devices one image can have.
pub const MAX_DEVICES: usize = 63;

/// The longest name of a device in bytes.
pub const MAX_NAME: usize = 31;

/// What kind of host resource a device is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Ethernet frames: a tap.
    Net,
    /// Sectors: a file.
    Block,
}

impl Kind {
    /// Its number in the note.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Net => 1,
            Self::Block => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Net),
            2 => Some(Self::Block),
            _ => None,
        }
    }

    /// Its word on command lines and in messages: `net`, `block`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A device that the tender must attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device<'a> {
    /// What it is attached to.
    pub kind: Kind,
    /// Its name: 1 to 31 bytes of `a-z`, `0-9`, `_`, `.`, `-`; no other device has it.
    pub name: &'a str,
}

impl<'a> Device<'a> {
    /// A device of this kind and name. [`Note::new`](crate::Note::new) checks the name.
    pub const fn new(kind: Kind, name: &'a str) -> Self {
        Self { kind, name }
    }

    /// Whether `name` may be a device's name.
    pub const fn is_name(name: &[u8]) -> bool {
        let mut at = 0;
        while at < name.len() {
            if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-') {
                return false;
            }
            at += 1;
        }
        !name.is_empty() && name.len() <= MAX_NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_few_letters() {
        for name in ["a", "net0", "a.b-c_9", "abcdefghijklmnopqrstuvwxyz01234"] {
            assert!(Device::is_name(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "Net",
            "a b",
            "a=b",
            "a,b",
            "é",
            "abcdefghijklmnopqrstuvwxyz012345",
        ] {
            assert!(!Device::is_name(name.as_bytes()), "{name}");
        }
    }
}

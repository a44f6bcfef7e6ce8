use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;

use mirage_device::Cidr;

/// What the value of a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// `true` or `false`.
    Bool,
    /// A number up to 65535.
    U16,
    /// A number up to 2³² − 1.
    U32,
    /// A number up to 2⁶⁴ − 1.
    U64,
    /// Any text.
    String,
    /// A number and a unit: `10s`.
    Duration,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An address with the length of its network's prefix.
    Cidr,
    /// A file or folder of the developer's machine, when the image is built.
    Path,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bool,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::String,
        Self::Duration,
        Self::Ip,
        Self::Cidr,
        Self::Path,
    ];

    /// Its word in a Cargo.toml.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::String => "string",
            Self::Duration => "duration",
            Self::Ip => "ip",
            Self::Cidr => "cidr",
            Self::Path => "path",
        }
    }

    /// A value of this type, to show in a message.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Bool => "true",
            Self::U16 => "8080",
            Self::U32 => "100000",
            Self::U64 => "1000000000",
            Self::String => "text",
            Self::Duration => "10s",
            Self::Ip => "10.0.0.2",
            Self::Cidr => "10.0.0.2/24",
            Self::Path => "folder/file",
        }
    }

    /// Whether `value` is of this type. Returns at once.
    pub fn check(self, value: &str) -> Result<(), WrongType> {
        let right = match self {
            Self::Bool => value.parse::<bool>().is_ok(),
            Self::U16 => number(value).is_some_and(|n| n <= u16::MAX.into()),
            Self::U32 => number(value).is_some_and(|n| n <= u32::MAX.into()),
            Self::U64 => number(value).is_some(),
            Self::String => true,
            Self::Duration => duration(value).is_some(),
            Self::Ip => value.parse::<IpAddr>().is_ok(),
            Self::Cidr => value.parse::<Cidr>().is_ok(),
            Self::Path => !value.is_empty(),
        };
        if right {
            Ok(())
        } else {
            Err(WrongType { expected: self })
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KeyType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(UnknownType)
    }
}

/// A number written in digits alone: `parse` would take a sign.
#[inline(never)]
pub(super) fn number(text: &str) -> Option<u64> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

/// A number and a unit, `500ms`: ns, us, ms, s, m (minutes) or h.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number = self::number(number)?;
    Some(match unit {
        "ns" => Duration::from_nanos(number),
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    })
}

/// A value is not of its key's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType {
    /// The type it should have been of.
    pub expected: KeyType,
}

impl fmt::Display for WrongType {
    /// Completes "`x` is not".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            KeyType::Bool => return f.write_str("`true` or `false`"),
            KeyType::U16 => f.write_str("a number from 0 to 65535")?,
            KeyType::U32 => write!(f, "a number from 0 to {}", u32::MAX)?,
            KeyType::U64 => write!(f, "a number from 0 to {}", u64::MAX)?,
            KeyType::String => f.write_str("text")?,
            KeyType::Duration => f.write_str("a duration in ns, us, ms, s, m or h")?,
            KeyType::Ip => f.write_str("an IP address")?,
            KeyType::Cidr => f.write_str("an IP address with a prefix")?,
            KeyType::Path => f.write_str("a path")?,
        }
        write!(f, ", for example {}", self.expected.example())
    }
}

impl core::error::Error for WrongType {}

/// A word is not the name of a [`KeyType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownType;

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a type of key; the types are")?;
        for (at, kind) in KeyType::ALL.iter().enumerate() {
            write!(f, "{} {kind}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownType {}

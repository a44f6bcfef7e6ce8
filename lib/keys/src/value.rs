use alloc::string::{String, ToString};
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;

use mirage_device::Cidr;

use super::types::{KeyType, duration, number};

/// A Rust type that a key's value can be read into.
pub trait FromKey<'a>: Sized {
    /// Whether a key declared as `kind` is read into this type.
    fn reads(kind: KeyType) -> bool;

    /// The value written as `text`, which is of a type that [`FromKey::reads`].
    fn from_key(text: &'a str) -> Option<Self>;

    /// The value of a key that has none.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! read {
    ($($rust:ty => $kind:ident by $read:expr),*) => {$(
        impl FromKey<'_> for $rust {
            fn reads(kind: KeyType) -> bool {
                kind == KeyType::$kind
            }

            fn from_key(text: &str) -> Option<Self> {
                $read(text)
            }
        }
    )*};
}

read!(
    bool => Bool by parsed,
    u16 => U16 by fitting,
    u32 => U32 by fitting,
    u64 => U64 by number,
    Duration => Duration by duration,
    IpAddr => Ip by parsed,
    Cidr => Cidr by parsed
);

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn fitting<T: TryFrom<u64>>(text: &str) -> Option<T> {
    number(text)?.try_into().ok()
}

impl<'a> FromKey<'a> for &'a str {
    fn reads(kind: KeyType) -> bool {
        matches!(kind, KeyType::String | KeyType::Path)
    }

    fn from_key(text: &'a str) -> Option<Self> {
        Some(text)
    }
}

impl FromKey<'_> for String {
    fn reads(kind: KeyType) -> bool {
        <&str>::reads(kind)
    }

    fn from_key(text: &str) -> Option<Self> {
        Some(text.to_string())
    }
}

impl<'a, T: FromKey<'a>> FromKey<'a> for Option<T> {
    fn reads(kind: KeyType) -> bool {
        T::reads(kind)
    }

    fn from_key(text: &'a str) -> Option<Self> {
        T::from_key(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

use alloc::string::{String, ToString};
use core::net::IpAddr;
use core::time::Duration;

use mirage_device::Cidr;

use super::types::{KeyType, duration};

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

macro_rules! parsed {
    ($($rust:ty => $kind:ident),*) => {$(
        impl FromKey<'_> for $rust {
            fn reads(kind: KeyType) -> bool {
                kind == KeyType::$kind
            }

            fn from_key(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

parsed!(bool => Bool, u16 => U16, u32 => U32, u64 => U64, IpAddr => Ip, Cidr => Cidr);

impl FromKey<'_> for Duration {
    fn reads(kind: KeyType) -> bool {
        kind == KeyType::Duration
    }

    fn from_key(text: &str) -> Option<Self> {
        duration(text)
    }
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

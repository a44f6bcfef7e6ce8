//! The keys of an image's command line: `port=8080 stack.ipv4=10.0.0.2/24`.
//!
//! The tool judges a command line before the start and the image at boot, both with this crate
//! and so in the same words. Nothing here performs I/O.
//!
//! ```
//! use mirage_keys::{KeySpec, KeyType, Keys};
//!
//! const KEYS: &[KeySpec] = &[
//!     KeySpec::new("port", KeyType::U16).or("80").doc("TCP port to serve on"),
//!     KeySpec::new("name", KeyType::String).required(),
//! ];
//! let keys = Keys::parse(KEYS, ["name=printer"]).unwrap();
//! assert_eq!(keys.get::<u16>("port"), Ok(80));
//! assert_eq!(keys.get::<&str>("name"), Ok("printer"));
//!
//! let error = Keys::parse(KEYS, ["name=printer", "prot=81"]).unwrap_err();
//! assert_eq!(error.to_string(), "unknown key `prot`; did you mean `port`?");
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod nearest;
mod types;
mod value;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub use error::KeyError;
pub use types::{KeyType, UnknownType, WrongType};
pub use value::FromKey;

/// The runtime's key for its log.
pub const LOG: KeySpec<'static> = KeySpec::new("log", KeyType::String)
    .or("info")
    .doc("Least level that is logged: off, error, warn, info, debug or trace");

/// The runtime's other key.
pub const COUNTERS: KeySpec<'static> = KeySpec::new("counters", KeyType::Duration)
    .or("0s")
    .doc("How often the counters are written to the console; 0s is never");

/// The runtime's own keys, known to every image.
pub const RUNTIME: [KeySpec<'static>; 2] = [LOG, COUNTERS];

const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec<'a> {
    /// How it is addressed: `port`, `stack.ipv4`.
    pub name: &'a str,
    /// What its value may be.
    pub kind: KeyType,
    /// Its value where the command line gives none.
    pub default: Option<&'a str>,
    /// The command line must give it, unless there is a default.
    pub required: bool,
    /// What it is for, in one line.
    pub doc: &'a str,
}

impl<'a> KeySpec<'a> {
    /// A key that may be left out.
    pub const fn new(name: &'a str, kind: KeyType) -> Self {
        Self {
            name,
            kind,
            default: None,
            required: false,
            doc: "",
        }
    }

    /// The same key with a default. Whether it is of the key's type is for
    /// [`KeyType::check`] to say.
    #[must_use]
    pub const fn or(self, default: &'a str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    /// The same key, required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// The same key with a line that says what it is for.
    #[must_use]
    pub const fn doc(self, doc: &'a str) -> Self {
        Self { doc, ..self }
    }

    /// Whether `value` may be given for this key.
    pub fn check(&self, value: &str) -> Result<(), KeyError> {
        if self.name == LOG.name {
            return if LOG_LEVELS.contains(&value) {
                Ok(())
            } else {
                Err(KeyError::NotALevel {
                    value: owned(value),
                })
            };
        }
        self.kind.check(value).map_err(|wrong| KeyError::WrongType {
            key: owned(self.name),
            value: owned(value),
            wrong,
        })
    }
}

/// The keys of one start: each known one with its value, if it has one.
#[derive(Debug, Clone)]
pub struct Keys<'a> {
    /// Those of [`RUNTIME`] last.
    entries: Vec<Entry<'a>>,
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    spec: KeySpec<'a>,
    given: Option<&'a str>,
}

impl<'a> Keys<'a> {
    /// Reads `NAME=VALUE` words against the known keys and those of [`RUNTIME`].
    ///
    /// Returns at once. The first word that is wrong, or a required key that is missing, is the
    /// error.
    pub fn parse(
        known: &[KeySpec<'a>],
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, KeyError> {
        let mut entries: Vec<Entry<'a>> = known
            .iter()
            .map(|&spec| Entry { spec, given: None })
            .collect();
        entries.extend(RUNTIME.map(|spec| Entry { spec, given: None }));
        for word in words {
            let (name, value) = word
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| KeyError::NotAKey { word: owned(word) })?;
            let Some(entry) = entries.iter_mut().find(|entry| entry.spec.name == name) else {
                let names = entries.iter().map(|entry| entry.spec.name);
                return Err(KeyError::Unknown {
                    key: owned(name),
                    nearest: nearest::nearest(name, names).map(owned),
                });
            };
            if entry.given.is_some() {
                return Err(KeyError::Twice { key: owned(name) });
            }
            entry.spec.check(value)?;
            entry.given = Some(value);
        }
        for Entry { spec, given } in &entries {
            if spec.required && spec.default.is_none() && given.is_none() {
                return Err(KeyError::Missing {
                    key: owned(spec.name),
                    kind: spec.kind,
                    doc: owned(spec.doc),
                });
            }
        }
        Ok(Self { entries })
    }

    /// The value of a key as its text: the one given, else the default, else none. Returns at
    /// once.
    ///
    /// # Errors
    ///
    /// [`KeyError::Undeclared`] when no such key is known.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, KeyError> {
        Ok(self.entry(name)?.text())
    }

    /// The value of a key. `Option<T>` for a key that may have none. Returns at once.
    ///
    /// # Errors
    ///
    /// That the code asks for what the key's declaration does not promise: no such key, a value
    /// of another type, a value where there may be none.
    pub fn get<T: FromKey<'a>>(&self, name: &str) -> Result<T, KeyError> {
        let entry = self.entry(name)?;
        let value = match entry.text() {
            None => T::absent(),
            Some(text) if T::reads(entry.spec.kind) => {
                entry.spec.check(text)?;
                T::from_key(text)
            }
            Some(_) => None,
        };
        value.ok_or_else(|| entry.unreadable(core::any::type_name::<T>()))
    }

    /// The level that the key `log` asks for, in the words of the crate `log`.
    pub fn log(&self) -> &'a str {
        self.runtime(&LOG)
    }

    /// The time that the key `counters` asks for.
    pub fn counters(&self) -> Duration {
        Duration::from_key(self.runtime(&COUNTERS)).unwrap_or_default()
    }

    /// The text of one of [`RUNTIME`], which all have a default.
    fn runtime(&self, key: &KeySpec<'static>) -> &'a str {
        let mut entries = self.entries.iter().rev();
        let entry = entries.find(|entry| entry.spec.name == key.name);
        entry.and_then(Entry::text).unwrap_or_default()
    }

    fn entry(&self, name: &str) -> Result<&Entry<'a>, KeyError> {
        let found = self.entries.iter().find(|entry| entry.spec.name == name);
        found.ok_or_else(|| KeyError::Undeclared { key: owned(name) })
    }
}

impl<'a> Entry<'a> {
    fn text(&self) -> Option<&'a str> {
        self.given.or(self.spec.default)
    }

    /// Why the type `rust` cannot be had from it.
    fn unreadable(&self, rust: &'static str) -> KeyError {
        let (key, kind) = (owned(self.spec.name), self.spec.kind);
        match self.text() {
            None => KeyError::Optional { key },
            Some(_) => KeyError::OtherType { key, kind, rust },
        }
    }
}

#[inline(never)]
fn owned(text: &str) -> String {
    text.into()
}

#[cfg(test)]
mod tests;

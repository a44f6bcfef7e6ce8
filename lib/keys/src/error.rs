use alloc::string::String;
use core::fmt;

use super::LOG_LEVELS;
use super::types::{KeyType, WrongType};

/// What is wrong with a command line, or with how the code asks for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// A word is not of the form `NAME=VALUE`.
    NotAKey {
        /// The word.
        word: String,
    },
    /// There is no such key.
    Unknown {
        /// The name given.
        key: String,
        /// The known name that is most like it, if one is.
        nearest: Option<String>,
    },
    /// The value is not of the key's type.
    WrongType {
        /// The key.
        key: String,
        /// The value given.
        value: String,
        /// What it should have been.
        wrong: WrongType,
    },
    /// The value of `log` is not a level.
    NotALevel {
        /// The value given.
        value: String,
    },
    /// The key is given twice.
    Twice {
        /// The key.
        key: String,
    },
    /// A required key is not given.
    Missing {
        /// The key.
        key: String,
        /// What its value may be.
        kind: KeyType,
        /// What it is for.
        doc: String,
    },
    /// The code asks for a key that was not declared.
    Undeclared {
        /// The name asked for.
        key: String,
    },
    /// The code asks for a value of a key that may have none, and has none now.
    Optional {
        /// The key.
        key: String,
    },
    /// The code asks for a Rust type that the declared type is not read into.
    OtherType {
        /// The key.
        key: String,
        /// The type declared.
        kind: KeyType,
        /// The type asked for.
        rust: &'static str,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKey { word } => write!(f, "`{word}` is not of the form NAME=VALUE"),
            Self::Unknown {
                key,
                nearest: Some(nearest),
            } => {
                write!(f, "unknown key `{key}`; did you mean `{nearest}`?")
            }
            Self::Unknown { key, nearest: None } => {
                write!(
                    f,
                    "unknown key `{key}`; `mirage describe` lists the keys there are"
                )
            }
            Self::WrongType { key, value, wrong } => {
                write!(f, "key `{key}`: `{value}` is not {wrong}")
            }
            Self::NotALevel { value } => {
                write!(f, "key `log`: `{value}` is not a level; the levels are")?;
                for (at, level) in LOG_LEVELS.iter().enumerate() {
                    write!(f, "{} {level}", if at == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Twice { key } => write!(f, "key `{key}` is given twice"),
            Self::Missing { key, kind, doc } => {
                write!(
                    f,
                    "key `{key}` is required: give it as {key}={}",
                    kind.example()
                )?;
                if doc.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({doc})")
                }
            }
            Self::Undeclared { key } => {
                write!(
                    f,
                    "key `{key}` is read but not declared; declare it in Cargo.toml"
                )
            }
            Self::Optional { key } => write!(
                f,
                "key `{key}` has no value; read it as an Option, or declare a default or required"
            ),
            Self::OtherType { key, kind, rust } => {
                write!(
                    f,
                    "key `{key}` is declared as {kind} and cannot be read as {rust}"
                )
            }
        }
    }
}

impl core::error::Error for KeyError {}

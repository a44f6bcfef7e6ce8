//! Tokens: who may read and write which names.

use std::fmt;
use std::sync::Arc;

use irmin::RefName;
use sha2::{Digest, Sha256};

/// Names of branches that a token may use: exact names (`main`), beginnings (`alice/*`), or all (`*`).
///
/// A pattern that begins with `refs/` is meant for full names, so that `refs/tags/*` stands for the
/// tags. Any other stands for branches, but `*` alone for every name there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Names {
    /// The names that these patterns stand for.
    ///
    /// # Errors
    /// [`TokenError::Pattern`] for a `*` that is not at the end, or a pattern no name can have.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Names, TokenError> {
        patterns
            .into_iter()
            .map(|one| pattern(one.as_ref()))
            .collect::<Result<_, _>>()
            .map(Names)
    }

    /// Every name.
    pub fn all() -> Names {
        Names(vec![Pattern::Prefix(String::new())])
    }

    /// Whether this name is one of them.
    pub fn hold(&self, name: &RefName) -> bool {
        let name = name.as_str();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(exact) => exact == name,
            Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
        })
    }

    fn is_all(&self) -> bool {
        self.0.contains(&Pattern::Prefix(String::new()))
    }
}

fn pattern(text: &str) -> Result<Pattern, TokenError> {
    let wrong = || TokenError::Pattern {
        pattern: text.into(),
    };
    let full = match text {
        "*" => return Ok(Pattern::Prefix(String::new())),
        text if text.starts_with("refs/") => text.to_string(),
        text => format!("refs/heads/{text}"),
    };
    match full.strip_suffix('*') {
        // What the star stands for could be any name's end.
        Some(prefix) if RefName::new(&format!("{prefix}x")).is_ok() => {
            Ok(Pattern::Prefix(prefix.into()))
        }
        None if RefName::new(&full).is_ok() => Ok(Pattern::Exact(full)),
        _ => Err(wrong()),
    }
}

/// The tokens that a server knows. Only their SHA-256 is kept; what a client sends is compared in
/// constant time with every one of them.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Clone)]
struct Token {
    digest: [u8; 32],
    access: Access,
}

/// What somebody may do. What may be written may also be read.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// What may be read, and what may be written too; `None` for everything.
    names: Option<Arc<(Names, Names)>>,
    /// Whether nothing at all may be written.
    reads_only: bool,
}

impl Access {
    /// Everything.
    pub(crate) fn full() -> Access {
        Access {
            names: None,
            reads_only: false,
        }
    }

    /// The same without writing.
    pub(crate) fn reading(self) -> Access {
        Access {
            reads_only: true,
            ..self
        }
    }

    /// Whether every name, and so every object, may be read.
    pub(crate) fn reads_all(&self) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.0.is_all() || names.1.is_all())
    }

    pub(crate) fn may_read(&self, name: &RefName) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.0.hold(name) || names.1.hold(name))
    }

    pub(crate) fn may_write(&self, name: &RefName) -> bool {
        !self.reads_only && self.names.as_ref().is_none_or(|names| names.1.hold(name))
    }

    /// Whether there is any name that may be written.
    pub(crate) fn writes_some(&self) -> bool {
        !self.reads_only
            && self
                .names
                .as_ref()
                .is_none_or(|names| !names.1.0.is_empty())
    }
}

impl Tokens {
    /// No tokens: nobody may do anything until some are added.
    pub fn new() -> Tokens {
        Tokens::default()
    }

    /// Adds a token, and what it may read and write; what it may write it may read.
    ///
    /// # Errors
    /// [`TokenError::Weak`] for a token of fewer than 16 characters, or one with characters that do
    /// not go into a header (only letters, digits and `-._~+/=` do).
    pub fn add(&mut self, token: &str, read: Names, write: Names) -> Result<(), TokenError> {
        let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if token.len() < 16 || !token.bytes().all(is_fine) {
            return Err(TokenError::Weak);
        }
        let access = Access {
            names: Some(Arc::new((read, write))),
            reads_only: false,
        };
        self.0.push(Token {
            digest: Sha256::digest(token).into(),
            access,
        });
        Ok(())
    }

    /// Reads tokens from text, one a line: `TOKEN read=PATTERN,PATTERN write=PATTERN`, where either
    /// list may be left out. Empty lines and those that begin with `#` say nothing.
    ///
    /// ```
    /// let tokens = irmin_serve::Tokens::parse(
    ///     "# Ada writes her own branches and reads main.\n\
    ///      q3V0dGluZyB0aGUgaXJvbg read=main write=ada/*\n",
    /// )?;
    /// # Ok::<(), irmin_serve::TokenError>(())
    /// ```
    ///
    /// # Errors
    /// [`TokenError`], with the number of the line; the token itself is not repeated.
    pub fn parse(text: &str) -> Result<Tokens, TokenError> {
        let mut tokens = Tokens::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let at_line = |error: TokenError| TokenError::Line {
                line: number,
                why: error.to_string(),
            };
            let (mut read, mut write) = (Names::default(), Names::default());
            for word in words {
                let (into, patterns) = match word.split_once('=') {
                    Some(("read", patterns)) => (&mut read, patterns),
                    Some(("write", patterns)) => (&mut write, patterns),
                    _ => {
                        let why = format!("{word:?} is neither read=... nor write=...");
                        return Err(TokenError::Line { line: number, why });
                    }
                };
                *into = Names::new(patterns.split(',')).map_err(at_line)?;
            }
            tokens.add(token, read, write).map_err(at_line)?;
        }
        Ok(tokens)
    }

    /// What the token in an `Authorization` header may do: `Bearer TOKEN`, or `Basic` with the token
    /// as password, as Git sends it. `None` for what is no known token.
    pub(crate) fn access(&self, authorization: &[u8]) -> Option<Access> {
        let text = std::str::from_utf8(authorization).ok()?;
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        let given: Vec<u8> = if scheme.eq_ignore_ascii_case("bearer") {
            rest.into()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let both = base64(rest.as_bytes())?;
            let colon = both.iter().position(|&b| b == b':')?;
            both[colon + 1..].into()
        } else {
            return None;
        };
        let given: [u8; 32] = Sha256::digest(given).into();
        // All are looked at, each whole, so that time tells nothing.
        let mut found = None;
        for token in &self.0 {
            let differ = token
                .digest
                .iter()
                .zip(&given)
                .fold(0, |differ, (a, b)| differ | (a ^ b));
            if std::hint::black_box(differ) == 0 {
                found = Some(token.access.clone());
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// RFC 4648 §4, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for &b in text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text)
    {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6).then_some(bytes)
}

/// A token or pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is too easy to guess or cannot be sent.
    #[error(
        "a token has at least 16 characters, all of them letters, digits or one of -._~+/=; `openssl rand -hex 20` makes a good one"
    )]
    Weak,
    /// The pattern stands for no name.
    #[error("{pattern:?} stands for no names; patterns are like main, ada/*, refs/tags/* and *")]
    Pattern {
        /// What was given.
        pattern: String,
    },
    /// A line of a list.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RefName {
        RefName::new(text).unwrap()
    }

    #[test]
    fn a_token_reads_and_writes_the_names_of_its_patterns_and_no_others() {
        let text = "\n# comment\n0123456789abcdef read=main,refs/tags/* write=ada/*\nfedcba9876543210 read=*\n";
        let tokens = Tokens::parse(text).unwrap();
        let ada = tokens.access(b"Bearer 0123456789abcdef").unwrap();
        assert!(ada.may_read(&name("refs/heads/main")) && !ada.may_write(&name("refs/heads/main")));
        assert!(
            ada.may_read(&name("refs/heads/ada/x")) && ada.may_write(&name("refs/heads/ada/x"))
        );
        assert!(ada.may_read(&name("refs/tags/v1")) && !ada.may_read(&name("refs/heads/adam")));
        assert!(!ada.may_read(&name("refs/heads/main2")) && !ada.reads_all());
        let reader = tokens.access(b"basic eDpmZWRjYmE5ODc2NTQzMjEw").unwrap();
        assert!(reader.reads_all() && reader.may_read(&name("HEAD")));
        for wrong in [
            "",
            "Bearer",
            "Bearer x",
            "Basic !",
            "Basic eDpmZWRj",
            "Digest 0123456789abcdef",
        ] {
            assert!(tokens.access(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains("0123"));
    }

    #[test]
    fn what_is_no_token_or_pattern_is_refused_with_its_line() {
        for text in [
            "short",
            "0123456789abcde\u{e9}f",
            "0123456789abcdef reed=x",
            "0123456789abcdef read=a*b",
            "0123456789abcdef write=..",
            "0123456789abcdef write=",
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.to_string().starts_with("line 1: "), "{error}");
        }
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        for (text, bytes) in [
            ("", ""),
            ("YQ==", "a"),
            ("YQ", "a"),
            ("YWI=", "ab"),
            ("YWJj", "abc"),
        ] {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert!(base64(b"Y").is_none() && base64(b"Y===").is_none());
    }
}

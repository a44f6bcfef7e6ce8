//! What a side says it can do (gitprotocol-capabilities(5)).

use std::fmt;

use irmin::Format;

/// A list of capabilities, in the order in which they were said: `name` or `name=value`. A name may
/// come several times (`symref`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<(String, Option<String>)>);

impl Capabilities {
    /// None.
    pub fn new() -> Capabilities {
        Capabilities::default()
    }

    /// Reads the list of versions 0 and 1: words with spaces between them.
    pub fn from_words(words: &[u8]) -> Capabilities {
        let mut all = Capabilities::new();
        for word in words.split(|&byte| byte == b' ' || byte == b'\n') {
            if !word.is_empty() {
                all.push_text(word);
            }
        }
        all
    }

    /// Adds what one line of version 2 says.
    pub fn push_text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        match text.split_once('=') {
            Some((name, value)) => self.push(name, Some(value)),
            None => self.push(&text, None),
        }
    }

    /// Adds one.
    pub fn push(&mut self, name: &str, value: Option<&str>) {
        self.0.push((name.into(), value.map(Into::into)));
    }

    /// Whether it is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// The first value of this name; empty for one without.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name)?;
        Some(found.1.as_deref().unwrap_or(""))
    }

    /// All values of this name.
    pub fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s str> + use<'s, 'n> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_deref().unwrap_or(""))
    }

    /// Whether the value of this name holds this word: `fetch=shallow filter` has `shallow`.
    pub fn offers(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .any(|value| value.split(' ').any(|one| one == word))
    }

    /// Each as `name` or `name=value`: the lines of version 2, or the words of version 0.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
    }

    /// The format of the objects: `object-format`, which is SHA-1 where it is not said.
    ///
    /// # Errors
    /// What is said instead of a format that is known here.
    pub fn object_format(&self) -> Result<Format, String> {
        match self.get("object-format") {
            None => Ok(Format::GitSha1),
            Some(word) => format_named(word).ok_or_else(|| crate::text::quote(word.as_bytes())),
        }
    }
}

impl fmt::Display for Capabilities {
    /// The words of versions 0 and 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

/// The protocol's word for a format. `irmin` is ours: Git refuses it, and says so.
pub fn format_name(format: Format) -> &'static str {
    match format {
        Format::GitSha1 => "sha1",
        Format::GitSha256 => "sha256",
        Format::Native => "irmin",
    }
}

/// The format that the protocol calls so.
pub fn format_named(word: &str) -> Option<Format> {
    [Format::GitSha1, Format::GitSha256, Format::Native]
        .into_iter()
        .find(|format| format_name(*format) == word)
}

/// What we call ourselves (`agent`).
pub fn agent() -> &'static str {
    concat!("irmin/", env!("CARGO_PKG_VERSION"))
}

/// As deep as Git counts: all of a history (`shallow.h`).
pub(crate) const INFINITE: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_back() {
        let text = "ofs-delta symref=HEAD:refs/heads/a symref=X:refs/b agent=git/2.47 object-format=sha256";
        let all = Capabilities::from_words(format!(" {text}\n").as_bytes());
        assert_eq!(all.to_string(), text);
        assert!(all.has("ofs-delta") && !all.has("ofs"));
        assert_eq!(all.all("symref").count(), 2);
        assert_eq!(all.get("agent"), Some("git/2.47"));
        assert_eq!(all.object_format(), Ok(Format::GitSha256));
        let mut two = Capabilities::new();
        two.push_text(b"fetch=shallow wait-for-done");
        assert!(two.offers("fetch", "shallow") && !two.offers("fetch", "filter"));
        assert_eq!(two.object_format(), Ok(Format::GitSha1));
        two.push("object-format", Some("md5"));
        assert_eq!(two.object_format(), Err("md5".into()));
    }
}

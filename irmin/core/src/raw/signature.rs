//! Who made a commit, and when.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A line such as `Ada <ada@example.org> 1429538400 +0200`, kept as it was written.
///
/// Old repositories hold lines without a time or with time zones like `-0000` and `+051800`; the
/// parts are found when asked for, and the line itself never changes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// A new line. The time is seconds since 1970, the offset minutes east of Greenwich.
    ///
    /// As Git does, characters that would break the line (`<`, `>`, line ends, NUL) are left out.
    pub fn new(name: &str, email: &str, seconds: i64, offset_minutes: i16) -> Signature {
        let clean = |text: &str| -> String {
            let kept = text
                .chars()
                .filter(|c| !matches!(c, '<' | '>' | '\n' | '\r' | '\0'))
                .collect::<String>();
            kept.trim_matches(|c: char| c <= ' ' || ".,:;\"\\'".contains(c))
                .into()
        };
        let minutes = offset_minutes.unsigned_abs();
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes / 60, minutes % 60);
        Signature(
            alloc::format!(
                "{} <{}> {seconds} {sign}{hours:02}{minutes:02}",
                clean(name),
                clean(email)
            )
            .into_bytes(),
        )
    }

    /// A line as it stands in an object; `None` if it holds a line end or NUL.
    pub fn from_bytes(line: &[u8]) -> Option<Signature> {
        (!line.iter().any(|&b| b == b'\n' || b == 0)).then(|| Signature(line.into()))
    }

    /// The line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name, without the spaces around it.
    pub fn name(&self) -> &[u8] {
        let end = self
            .0
            .iter()
            .position(|&b| b == b'<')
            .unwrap_or(self.0.len());
        self.0[..end].trim_ascii()
    }

    /// What stands between `<` and the last `>`.
    pub fn email(&self) -> &[u8] {
        let Some(start) = self.0.iter().position(|&b| b == b'<') else {
            return b"";
        };
        let rest = &self.0[start + 1..];
        let end = rest.iter().rposition(|&b| b == b'>').unwrap_or(rest.len());
        rest[..end].trim_ascii()
    }

    /// Seconds since 1970; 0 where the line has no time that can be read, as in Git.
    pub fn seconds(&self) -> i64 {
        self.time()
            .next()
            .and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok())
            .unwrap_or(0)
    }

    /// The time zone as it was written (`+0200`); empty if there is none.
    pub fn zone(&self) -> &[u8] {
        self.time().nth(1).unwrap_or(b"")
    }

    fn time(&self) -> impl Iterator<Item = &[u8]> {
        let start = self
            .0
            .iter()
            .rposition(|&b| b == b'>')
            .map_or(self.0.len(), |at| at + 1);
        self.0[start..]
            .split(|&b| b == b' ')
            .filter(|part| !part.is_empty())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_keeps_its_line_and_gives_its_parts() {
        let new = Signature::new(" Ada <x> ", "ada@example.org\n", -5, -90);
        assert_eq!(new.as_bytes(), b"Ada x <ada@example.org> -5 -0130");
        for (text, name, email, seconds, zone) in [
            ("A B <a@b> 12 +0000", "A B", "a@b", 12, "+0000"),
            ("A <a> b> 7 -0000", "A", "a> b", 7, "-0000"),
            ("<> 9 +051800", "", "", 9, "+051800"),
            ("nobody", "nobody", "", 0, ""),
            ("A <a@b>", "A", "a@b", 0, ""),
        ] {
            let line = Signature::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(line.as_bytes(), text.as_bytes());
            assert_eq!(
                (line.name(), line.email()),
                (name.as_bytes(), email.as_bytes())
            );
            assert_eq!((line.seconds(), line.zone()), (seconds, zone.as_bytes()));
        }
        assert!(Signature::from_bytes(b"A <a>\n").is_none());
    }
}

//! What the other side says, made fit to be shown.

/// The text without anything that a terminal would obey: control characters become spaces, line
/// ends stay. What is not UTF-8 is replaced. At most `limit` bytes are kept.
pub fn clean(said: &[u8], limit: usize) -> String {
    let mut end = said.len().min(limit);
    // A character that would be cut is left out.
    while end < said.len() && end > 0 && said[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    let said = &said[..end];
    String::from_utf8_lossy(said)
        .chars()
        .map(|c| match c {
            '\n' => '\n',
            // Marks that turn the direction of writing make a text look like another.
            '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect::<String>()
        .trim_end()
        .to_string()
}

/// The bytes for which a text of a URL stands: `%41` is an `A`. `None` if a `%` stands for nothing.
pub fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push((digit()? << 4 | digit()?) as u8);
    }
    Some(bytes)
}

/// A URL as it may be shown: without user and password.
pub fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.into();
    };
    let host = rest.find('/').unwrap_or(rest.len());
    let at = rest[..host].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[at..])
}

/// The text as one line of at most `limit` bytes, if it is UTF-8.
pub(crate) fn one_line(said: &[u8], limit: usize) -> String {
    clean(said, limit).replace('\n', " ")
}

/// The text as one short line, for an error.
pub(crate) fn quote(said: &[u8]) -> String {
    one_line(said, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(
            clean(b"\x1b]0;owned\x07 hi\r\nthere\x9b2J\n", 1000),
            " ]0;owned  hi \nthere\u{fffd}2J"
        );
        assert_eq!(clean("a\u{202e}b\u{9b}c".as_bytes(), 1000), "a b c");
        assert_eq!(clean(b"abcdef", 3), "abc");
        assert_eq!(clean("aé".as_bytes(), 2), "a");
        assert_eq!(clean(b"\x80\x80", 1), "");
        assert_eq!(quote(b"a\nb\n"), "a b");
    }
}

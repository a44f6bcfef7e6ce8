//! What a request says: its path, its query and its conditions.

use alloc::string::String;
use alloc::vec::Vec;

use mirage_http::Request;

use crate::store::Condition;

/// The bytes that a percent-encoded text stands for (RFC 3986 §2.1); `None` where a `%` lacks its
/// digits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push((high << 4 | low) as u8);
    }
    Some(decoded)
}

/// What `name=` is followed by in a query, decoded; empty where the name stands alone.
pub fn parameter(query: Option<&str>, name: &str) -> Option<Vec<u8>> {
    let mut pairs = query?.split('&');
    pairs.find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then(|| decode(value)).flatten()
    })
}

/// The same as text.
pub fn text(query: Option<&str>, name: &str) -> Option<String> {
    String::from_utf8(parameter(query, name)?).ok()
}

/// `If-Match` and `If-None-Match` (RFC 9110 §13.1), of a value's tag.
pub struct Conditions<'a> {
    matching: Option<&'a [u8]>,
    differing: Option<&'a [u8]>,
}

impl<'a> Conditions<'a> {
    /// Those of a request.
    pub fn of(request: &Request<'a>) -> Conditions<'a> {
        Conditions {
            matching: request.fields().get("if-match"),
            differing: request.fields().get("if-none-match"),
        }
    }

    /// Whether the client has this value already.
    pub fn has(&self, tag: &str) -> bool {
        self.differing.is_some_and(|list| names(list, Some(tag)))
    }
}

impl Condition for Conditions<'_> {
    fn holds(&self, tag: Option<&str>) -> bool {
        self.matching.is_none_or(|list| names(list, tag))
            && !self.differing.is_some_and(|list| names(list, tag))
    }
}

/// Whether a list of tags, or `*`, names this one.
fn names(list: &[u8], tag: Option<&str>) -> bool {
    let Some(tag) = tag else { return false };
    let mut tags = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|found| found == b"*" || found == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_percent_encoded_is_decoded_and_what_is_broken_refused() {
        assert_eq!(decode("a%20b/%c3%A4"), Some("a b/ä".into()));
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%g0"), None);
        let query = Some("async&path=a%2Fb&limit=3");
        assert_eq!(parameter(query, "async"), Some(Vec::new()));
        assert_eq!(text(query, "path").as_deref(), Some("a/b"));
        assert_eq!(text(query, "at"), None);
    }

    #[test]
    fn a_change_happens_only_where_its_conditions_hold() {
        let conditions =
            |matching: Option<&'static str>, differing: Option<&'static str>| Conditions {
                matching: matching.map(str::as_bytes),
                differing: differing.map(str::as_bytes),
            };
        let (here, tag) = (Some("\"1\""), "\"1\"");
        assert!(conditions(None, None).holds(None) && conditions(None, None).holds(here));
        assert!(conditions(Some("\"0\", \"1\""), None).holds(here));
        assert!(!conditions(Some("\"0\""), None).holds(here));
        assert!(!conditions(Some("*"), None).holds(None));
        assert!(conditions(None, Some("*")).holds(None));
        assert!(!conditions(None, Some("*")).holds(here));
        assert!(conditions(None, Some("\"1\"")).has(tag) && !conditions(None, None).has(tag));
    }
}

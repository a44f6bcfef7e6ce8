//! Request targets and authorities (RFC 9112 §3.2, RFC 3986).

use memchr::memchr;

use crate::fields::{alike, decimal};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The path, percent-encoded as it came, starting with `/`; or `*`.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// The authority of an absolute-form target; it replaces `Host` (RFC 9112 §3.2.2).
    pub authority: Option<&'a str>,
}

/// Reads a target in origin-form, absolute-form or, for OPTIONS, asterisk-form.
pub(crate) fn parse<'a>(method: &str, target: &'a str) -> Option<Target<'a>> {
    if target.starts_with('/') {
        return origin(target);
    }
    if target == "*" && method == "OPTIONS" {
        return Some(Target {
            path: "*",
            query: None,
            authority: None,
        });
    }
    let (scheme, rest) = split(target, b':')?;
    let rest = rest.strip_prefix("//")?;
    if !alike(scheme.as_bytes(), "http") && !alike(scheme.as_bytes(), "https") {
        return None;
    }
    let mut bytes = rest.bytes();
    let end = bytes.position(|byte| matches!(byte, b'/' | b'?'));
    let end = end.unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    if authority.is_empty() || !is_authority(authority.as_bytes()) {
        return None;
    }
    let target = match rest.strip_prefix('?') {
        _ if rest.is_empty() => Target {
            path: "/",
            query: None,
            authority: None,
        },
        Some(query) => Target {
            query: Some(valid(query)?),
            path: "/",
            authority: None,
        },
        None => origin(rest)?,
    };
    Some(Target {
        authority: Some(authority),
        ..target
    })
}

fn origin(target: &str) -> Option<Target<'_>> {
    let target = valid(target)?;
    let (path, query) = match split(target, b'?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Some(Target {
        path,
        query,
        authority: None,
    })
}

/// What stands before and after the first `separator`, an ASCII character.
fn split(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr(separator, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Every byte may stand in a path or query, and every `%` has its two digits.
fn valid(text: &str) -> Option<&str> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let mut digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                digit() && digit()
            }
            _ => is_target_byte(byte),
        };
        if !good {
            return None;
        }
    }
    Some(text)
}

/// pchar, `/` and `?` of RFC 3986, and the few others that browsers leave as they are (URL
/// Standard, path and query percent-encode sets).
const fn is_target_byte(byte: u8) -> bool {
    is_name_byte(byte)
        || matches!(
            byte,
            b':' | b'@' | b'/' | b'?' | b'[' | b']' | b'^' | b'|' | b'{' | b'}' | b'`'
        )
}

/// unreserved and sub-delims of RFC 3986.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!'
        | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2); empty stands for no authority.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host_ok, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr(b']', rest) else {
                return false;
            };
            let (address, rest) = rest.split_at(end);
            let address = core::str::from_utf8(address).ok();
            let ok = address.is_some_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok());
            (ok, rest.get(1..).unwrap_or_default())
        }
        None => {
            let end = memchr(b':', text).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            (is_name(name), rest)
        }
    };
    let port_ok = match port.split_first() {
        None => true,
        Some((b':', [])) => true,
        Some((b':', digits)) => decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)),
        Some(_) => false,
    };
    host_ok && port_ok
}

fn is_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let mut digit = || bytes.next().is_some_and(u8::is_ascii_hexdigit);
        if !(is_name_byte(byte) || byte == b'%' && digit() && digit()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_into_path_query_and_authority() {
        let target = |path, query, authority| {
            Some(Target {
                path,
                query,
                authority,
            })
        };
        assert_eq!(parse("GET", "/"), target("/", None, None));
        assert_eq!(
            parse("GET", "/a%20b?c=d?e"),
            target("/a%20b", Some("c=d?e"), None)
        );
        assert_eq!(
            parse("GET", "http://a:80/b?c"),
            target("/b", Some("c"), Some("a:80"))
        );
        assert_eq!(parse("GET", "HTTP://a"), target("/", None, Some("a")));
        assert_eq!(
            parse("GET", "http://[::1]?q"),
            target("/", Some("q"), Some("[::1]"))
        );
        assert_eq!(parse("OPTIONS", "*"), target("*", None, None));
        assert_eq!(parse("GET", "//a/b"), target("//a/b", None, None));
    }

    #[test]
    fn what_is_not_a_target_is_refused() {
        for text in [
            "",
            "a",
            "*",
            "a:80",
            "/a#b",
            "/%",
            "/%4",
            "/%zz",
            "/a\"b",
            "/a<b",
            "/a\\b",
            "/\u{e9}",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://u@a/",
            "http://a:x/",
            "http://a/#",
        ] {
            assert_eq!(parse("GET", text), None, "{text}");
        }
    }

    #[test]
    fn an_authority_is_a_host_with_or_without_a_port() {
        for good in [
            "",
            "a",
            "a.b:80",
            "a:",
            "10.0.0.2:8080",
            "[fd00::2]",
            "[::1]:80",
            "x%41",
            "a,b",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a/b", "u@a", "a:b", "a:65536", "[::1", "[::g]", "[::1]x", "a?b", "%4",
            "a:80:80",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}

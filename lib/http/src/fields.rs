use memchr::memchr;

/// The field lines of a head (RFC 9112 §5), already checked; names compare without case.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Whole lines, each ending in CRLF.
    lines: &'a [u8],
}

impl<'a> Fields<'a> {
    /// `lines` must have been checked: `name ":" value CRLF` each.
    pub(crate) const fn new(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// The value of the first field of this name, without the whitespace around it.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all fields of this name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = Lines { rest: self.lines };
        lines.filter_map(move |line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            alike(found, name).then(|| trim(value))
        })
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let lines = Lines { rest: self.lines };
        lines.filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
            Some((core::str::from_utf8(name).ok()?, trim(value.get(1..)?)))
        })
    }

    /// All elements of the comma-separated lists in the fields of this name (RFC 9110 §5.6.1).
    /// Commas inside quoted strings are not separators.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(elements)
    }
}

/// The lines, each with its end.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end + 1)?;
        self.rest = rest;
        Some(line)
    }
}

/// Two names, or two words that are compared as names are.
#[inline(never)]
pub(crate) fn alike(a: &[u8], b: &str) -> bool {
    a.eq_ignore_ascii_case(b.as_bytes())
}

/// A value without the whitespace around it.
#[inline(never)]
pub(crate) const fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// The elements of one comma-separated list, without whitespace around them and without empty
/// ones.
pub(crate) const fn elements(value: &[u8]) -> Elements<'_> {
    Elements { rest: Some(value) }
}

pub(crate) struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let value = self.rest?;
            let (mut quoted, mut escaped) = (false, false);
            let comma = value.iter().position(|&byte| {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b',' => return !quoted,
                    _ => {}
                }
                false
            });
            let (element, after) = match comma.and_then(|at| value.split_at_checked(at)) {
                Some((element, after)) => (element, after.get(1..)),
                None => (value, None),
            };
            self.rest = after;
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// tchar (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'
        | b'_' | b'`' | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// A byte that may stand in a field value (RFC 9110 §5.5).
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// The name and value may be sent as a field line.
pub(crate) fn is_sendable(name: &str, value: &[u8]) -> bool {
    !name.is_empty()
        && name.bytes().all(is_token_byte)
        && value.iter().copied().all(is_value_byte)
        && trim(value).len() == value.len()
}

/// Only the library may send these: they decide where a message ends.
pub(crate) fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding", "connection"]
        .iter()
        .any(|framing| alike(name.as_bytes(), framing))
}

/// A decimal number of ASCII digits only, no sign and no space.
#[inline(never)]
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The decimal digits of `number`, at the end of `space`.
pub(crate) fn decimal_text(mut number: u64, space: &mut [u8; 20]) -> &[u8] {
    let mut start = space.len();
    for place in space.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    space.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn names_compare_without_case_and_values_lose_the_space_around_them() {
        let fields = Fields::new(b"Host: a\r\nX-One:\t 1 \r\nx-one:2\r\nEmpty:\r\n");
        assert_eq!(fields.get("host"), Some(&b"a"[..]));
        assert_eq!(fields.all("X-ONE").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(fields.get("empty"), Some(&b""[..]));
        assert_eq!(fields.get("missing"), None);
        assert_eq!(fields.iter().count(), 4);
    }

    #[test]
    fn a_list_spans_fields_and_a_quoted_comma_does_not_separate() {
        let fields = Fields::new(b"L: a , \"b,\\\"c\" ,,\r\nL: d\r\n");
        let list: Vec<&[u8]> = fields.list("l").collect();
        assert_eq!(list, [&b"a"[..], b"\"b,\\\"c\"", b"d"]);
    }

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for text in [
            &b""[..],
            b"+1",
            b"-1",
            b" 1",
            b"1 ",
            b"0x1",
            b"18446744073709551616",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}

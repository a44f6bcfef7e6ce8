//! Byte ranges (RFC 9110 §14).

use core::ops::Range;

use crate::fields::{alike, decimal, trim};

/// What a `Range` field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The whole: the field is absent, malformed, of another unit, or asks for several ranges,
    /// which a server may answer with the whole (§14.2).
    Whole,
    Part(Range<usize>),
    /// 416: nothing of it exists.
    Unsatisfiable,
}

/// Reads a `Range` field for content of `length` bytes.
pub(crate) fn wanted(field: Option<&[u8]>, length: usize) -> Wanted {
    let Some(spec) = field.and_then(|field| field.get(..6).zip(field.get(6..))) else {
        return Wanted::Whole;
    };
    if !alike(spec.0, "bytes=") {
        return Wanted::Whole;
    }
    let spec = trim(spec.1);
    let Some(dash) = memchr::memchr(b'-', spec) else {
        return Wanted::Whole;
    };
    let (first, last) = spec.split_at(dash);
    let last = last.get(1..).unwrap_or_default();
    let number = |text: &[u8]| match text {
        b"" => Some(None),
        // A number beyond our size is beyond our content too.
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = decimal(digits).and_then(|number| usize::try_from(number).ok());
            Some(Some(number.unwrap_or(usize::MAX)))
        }
        _ => None,
    };
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            if last.is_some_and(|last| last < first) {
                return Wanted::Whole;
            }
            if first >= length {
                return Wanted::Unsatisfiable;
            }
            Wanted::Part(first..last.map_or(length, |last| last.saturating_add(1).min(length)))
        }
        (Some(None), Some(Some(0))) => Wanted::Unsatisfiable,
        (Some(None), Some(Some(_))) if length == 0 => Wanted::Unsatisfiable,
        (Some(None), Some(Some(suffix))) => Wanted::Part(length.saturating_sub(suffix)..length),
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    #[test]
    fn a_range_is_read_as_the_rfc_has_it() {
        use Wanted::{Part, Unsatisfiable, Whole};
        for (field, length, expected) in [
            ("bytes=0-499", 10_000, Part(0..500)),
            ("bytes=500-999", 10_000, Part(500..1000)),
            ("bytes=-500", 10_000, Part(9500..10_000)),
            ("bytes=9500-", 10_000, Part(9500..10_000)),
            ("Bytes= 0-0", 10_000, Part(0..1)),
            ("bytes=0-99999999999999999999999", 10, Part(0..10)),
            ("bytes=-99999999999999999999999", 10, Part(0..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Unsatisfiable),
            ("bytes=5-4", 10, Whole),
            ("bytes=0-0,-1", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("lines=0-1", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(wanted(Some(field.as_bytes()), length), expected, "{field}");
        }
        assert_eq!(wanted(None, 10), Whole);
    }

    proptest::proptest! {
        #[test]
        fn a_range_is_the_positions_that_a_plain_reading_selects(
            first in proptest::option::of(0..30_usize),
            last in proptest::option::of(0..30_usize),
            length in 0..25_usize,
        ) {
            let text = |number: Option<usize>| number.map_or(String::new(), |n| n.to_string());
            let field = format!("bytes={}-{}", text(first), text(last));
            let selected = |position: &usize| match (first, last) {
                (Some(first), Some(last)) => (first..=last).contains(position),
                (Some(first), None) => *position >= first,
                (None, Some(suffix)) => position + suffix >= length,
                (None, None) => true,
            };
            let positions: Vec<usize> = (0..length).filter(selected).collect();
            let malformed = match (first, last) {
                (Some(first), Some(last)) => first > last,
                (first, last) => first.or(last).is_none(),
            };
            let expected = match positions[..] {
                _ if malformed => Wanted::Whole,
                [] => Wanted::Unsatisfiable,
                [start, ..] => Wanted::Part(start..start + positions.len()),
            };
            assert_eq!(wanted(Some(field.as_bytes()), length), expected);
        }

        #[test]
        fn whatever_is_asked_for_a_part_is_inside_and_not_empty(
            field in "(bytes=)?[0-9a-z, -]{0,40}",
            length in proptest::num::usize::ANY,
        ) {
            if let Wanted::Part(part) = wanted(Some(field.as_bytes()), length) {
                assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}

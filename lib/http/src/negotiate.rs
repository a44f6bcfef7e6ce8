//! Content codings by preference (RFC 9110 §12.5.3).

use crate::fields::{Fields, alike, trim};

/// The client would rather have `coding` than the content as it is.
pub(crate) fn prefers(fields: Fields<'_>, coding: &str) -> bool {
    let (mut ours, mut identity, mut any) = (None, None, None);
    for element in fields.list("accept-encoding") {
        let mut parts = element.split(|&byte| byte == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        let weight = match parts.next() {
            None => Some(1000),
            Some(parameter) => weight(parameter),
        };
        // A weight that cannot be read says nothing.
        let Some(weight) = weight.filter(|_| parts.next().is_none()) else {
            continue;
        };
        let is = |wanted: &str| alike(name, wanted);
        if is(coding) || coding == "gzip" && is("x-gzip") {
            ours = Some(weight);
        } else if is("identity") {
            identity = Some(weight);
        } else if is("*") {
            any = Some(weight);
        }
    }
    // Unlisted, the content as it is can be sent always, but is preferred to nothing.
    let ours = ours.or(any).unwrap_or(0);
    ours > 0 && ours >= identity.unwrap_or(0)
}

/// `q=0.123` in thousandths (RFC 9110 §12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let text = match parameter {
        [b'q' | b'Q', b'=', text @ ..] => text,
        _ => return None,
    };
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    if !whole.is_ascii_digit() || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| u16::from(decimals.get(at).map_or(0, |digit| digit - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_prefers_it() {
        for (value, expected) in [
            ("gzip", true),
            ("GZIP, deflate, br", true),
            ("x-gzip", true),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
            ("gzip ; q=0.001", true),
            ("*", true),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("", false),
            ("br", false),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=2", false),
            ("gzip;q=0.1234", false),
            ("gzip;q=", false),
            ("gzip;level=9", false),
            ("gzipped", false),
        ] {
            let lines = alloc::format!("Accept-Encoding: {value}\r\n");
            assert_eq!(
                prefers(Fields::new(lines.as_bytes()), "gzip"),
                expected,
                "{value}"
            );
        }
        assert!(!prefers(Fields::new(b""), "gzip"));
        assert!(prefers(
            Fields::new(b"Accept-Encoding: br\r\naccept-encoding: gzip\r\n"),
            "gzip"
        ));
    }

    proptest::proptest! {
        #[test]
        fn the_weights_decide_as_in_plain_numbers(
            weights in proptest::collection::vec((0..5_usize, proptest::option::of(0..=1000_u32)), 0..6),
        ) {
            let names = ["gzip", "x-gzip", "identity", "*", "br"];
            let mut last = [None; 4];
            let mut field = alloc::string::String::from("Accept-Encoding: ");
            for (name, weight) in weights {
                field += names[name];
                if let Some(weight) = weight {
                    field += &alloc::format!(" ; q={:.3}", f64::from(weight) / 1000.0);
                }
                field += ", ";
                // Two names for one coding.
                if let Some(place) = last.get_mut(name.max(1)) {
                    *place = Some(weight.unwrap_or(1000));
                }
            }
            field += "\r\n";
            let [_, ours, identity, any] = last;
            let ours = ours.or(any).unwrap_or(0);
            let expected = ours > 0 && ours >= identity.unwrap_or(0);
            assert_eq!(prefers(Fields::new(field.as_bytes()), "gzip"), expected, "{field}");
        }
    }
}

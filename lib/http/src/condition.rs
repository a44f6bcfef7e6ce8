//! Conditional requests (RFC 9110 §13).

use core::time::Duration;

use crate::date;
use crate::fields::Fields;

/// What identifies the content that would be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    /// A strong entity tag without its quotes, in two parts.
    pub etag: [&'a str; 2],
    pub modified: Option<Duration>,
}

/// What the conditions of a request ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Go,
    /// 304: the client has the content already.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD in the order of RFC 9110 §13.2.2. A date counts
/// only where the content's own is known.
pub(crate) fn evaluate(fields: Fields<'_>, own: Validators<'_>, now: Option<Duration>) -> Verdict {
    let date = |name| {
        fields
            .get(name)
            .and_then(|text| date::parse(text, now))
            .zip(own.modified)
    };
    if fields.get("if-match").is_some() {
        if !names(fields, "if-match", own.etag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|(since, modified)| modified > since) {
        return Verdict::Failed;
    }
    if fields.get("if-none-match").is_some() {
        if names(fields, "if-none-match", own.etag, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|(since, modified)| modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// A range may be served: there is no `If-Range`, or it names exactly this content.
pub(crate) fn range_applies(
    fields: Fields<'_>,
    own: Validators<'_>,
    now: Option<Duration>,
) -> bool {
    match fields.get("if-range") {
        None => true,
        Some(tag @ [b'"', ..]) => matches(tag, own.etag, Comparison::Strong),
        Some(text) => own.modified.is_some() && date::parse(text, now) == own.modified,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn names(fields: Fields<'_>, name: &str, own: [&str; 2], comparison: Comparison) -> bool {
    fields
        .list(name)
        .any(|tag| tag == b"*" || matches(tag, own, comparison))
}

/// One entity tag, `"x"` or `W/"x"`, names our strong one (RFC 9110 §8.8.3.2).
fn matches(tag: &[u8], own: [&str; 2], comparison: Comparison) -> bool {
    let tag = match tag.strip_prefix(b"W/") {
        Some(_) if comparison == Comparison::Strong => return false,
        Some(tag) => tag,
        None => tag,
    };
    let inner = tag
        .strip_prefix(b"\"")
        .and_then(|tag| tag.strip_suffix(b"\""));
    inner.and_then(|tag| tag.strip_prefix(own[0].as_bytes())) == Some(own[1].as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Validators<'_> = Validators {
        etag: ["abc", "-gzip"],
        modified: Some(Duration::from_secs(784_111_777)),
    };

    fn verdict(lines: &str) -> Verdict {
        evaluate(Fields::new(lines.as_bytes()), OWN, None)
    }

    #[test]
    fn the_conditions_are_evaluated_in_the_order_of_the_rfc() {
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let same = "Sun, 06 Nov 1994 08:49:37 GMT";
        use Verdict::{Failed, Go, NotModified};
        for (lines, expected) in [
            ("", Go),
            ("If-None-Match: \"abc-gzip\"\r\n", NotModified),
            ("If-None-Match: W/\"abc-gzip\"\r\n", NotModified),
            (
                "If-None-Match: \"x\", \"a,b\" , \"abc-gzip\"\r\n",
                NotModified,
            ),
            ("If-None-Match: \"x\"\r\nIf-None-Match: *\r\n", NotModified),
            ("If-None-Match: \"abc\"\r\n", Go),
            ("If-None-Match: abc-gzip\r\n", Go),
            ("If-Match: \"abc-gzip\"\r\n", Go),
            ("If-Match: *\r\n", Go),
            ("If-Match: W/\"abc-gzip\"\r\n", Failed),
            ("If-Match: \"x\"\r\n", Failed),
            ("If-Match:\r\n", Failed),
            (
                "If-Match: \"abc-gzip\"\r\nIf-None-Match: \"abc-gzip\"\r\n",
                NotModified,
            ),
            (
                &alloc::format!("If-Modified-Since: {same}\r\n"),
                NotModified,
            ),
            (&alloc::format!("If-Modified-Since: {before}\r\n"), Go),
            ("If-Modified-Since: yesterday\r\n", Go),
            (
                &alloc::format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {same}\r\n"),
                Go,
            ),
            (&alloc::format!("If-Unmodified-Since: {same}\r\n"), Go),
            (&alloc::format!("If-Unmodified-Since: {before}\r\n"), Failed),
        ] {
            assert_eq!(verdict(lines), expected, "{lines}");
        }
    }

    #[test]
    fn without_a_date_of_our_own_dates_do_not_count() {
        let own = Validators {
            modified: None,
            ..OWN
        };
        let fields = Fields::new(b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(evaluate(fields, own, None), Verdict::Go);
        let fields = Fields::new(b"If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert!(!range_applies(fields, own, None));
    }

    #[test]
    fn a_range_applies_to_exactly_this_content() {
        for (lines, expected) in [
            ("", true),
            ("If-Range: \"abc-gzip\"\r\n", true),
            ("If-Range: W/\"abc-gzip\"\r\n", false),
            ("If-Range: \"abc\"\r\n", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n", false),
        ] {
            assert_eq!(
                range_applies(Fields::new(lines.as_bytes()), OWN, None),
                expected,
                "{lines}"
            );
        }
    }
}

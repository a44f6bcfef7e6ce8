//! HTTP dates (RFC 9110 §5.6.7).

use core::time::Duration;

use memchr::memchr;

use crate::fields::decimal;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds in a day.
const DAY: u64 = 86_400;

/// The last second that IMF-fixdate can tell: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// A date as text, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) type Text = [u8; 29];

/// IMF-fixdate of a time since 1970, in whole seconds.
pub(crate) fn format(time: Duration) -> Text {
    let seconds = time.as_secs().min(LAST);
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut put = |at, bytes: &[u8]| put(&mut text, at, bytes);
    let name =
        |names: &[&'static str], index: u64| names.get(index as usize).copied().unwrap_or("");
    let two = |number: u64| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    put(0, name(&DAYS, days % 7).as_bytes());
    put(5, &two(day));
    put(8, name(&MONTHS, month - 1).as_bytes());
    put(12, &two(year / 100));
    put(14, &two(year % 100));
    put(17, &two(second / 3600));
    put(20, &two(second / 60 % 60));
    put(23, &two(second % 60));
    text
}

#[inline(never)]
fn put(text: &mut Text, at: usize, bytes: &[u8]) {
    let places = text.iter_mut().skip(at);
    places.zip(bytes).for_each(|(to, from)| *to = *from);
}

/// The date of a day counted from 1970: year, month 1 to 12, day 1 to 31. A year that begins in
/// March has its leap day last, and five months of it have 153 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day_of_month)
}

/// Days from 1970 to a date; the inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)
}

/// Reads a date in any of the three forms that a recipient must accept; whole seconds since
/// 1970. `now` places a two-digit year: never more than 50 years ahead.
pub(crate) fn parse(text: &[u8], now: Option<Duration>) -> Option<Duration> {
    // Behind the day's name: where year, month, day and time are.
    let comma = memchr(b',', text);
    let (_, text) = text.split_at_checked(comma.unwrap_or(3))?;
    let (year, month, day, time) = if is_like(text, b", 00 Nov 0000 00:00:00 GMT") {
        (9..13, 5, 2..4, 14)
    } else if is_like(text, b", 00-Nov-00 00:00:00 GMT") {
        (9..11, 5, 2..4, 12)
    } else if is_like(text, b" Nov 00 00:00:00 0000") {
        (17..21, 1, 5..7, 8)
    } else if is_like(text, b" Nov  0 00:00:00 0000") {
        (17..21, 1, 6..7, 8)
    } else {
        return None;
    };
    let number = |range| decimal(text.get(range)?);
    let two = |at| number(at..at + 2);
    let is_short = year.len() == 2;
    let year = number(year)?;
    let year = if is_short { full_year(year, now) } else { year };
    let name = text.get(month..month + 3)?;
    let month = MONTHS.iter().position(|month| month.as_bytes() == name)? as u64 + 1;
    let (day, hour, minute, second) = (number(day)?, two(time)?, two(time + 3)?, two(time + 6)?);
    if hour > 23 || minute > 59 || second > 60 || day > 31 {
        return None;
    }
    let seconds = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    Some(Duration::from_secs(seconds))
}

/// The text has this form: a digit for every `0`, some byte for every letter of `Nov`, and all
/// others as they are.
fn is_like(text: &[u8], form: &[u8]) -> bool {
    text.len() == form.len()
        && text.iter().zip(form).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b'N' | b'o' | b'v' => true,
            _ => byte == form,
        })
}

fn full_year(short: u64, now: Option<Duration>) -> u64 {
    let this = civil(now.map_or(0, |now| now.as_secs().min(LAST) / DAY)).0;
    let year = this - this % 100 + short;
    if year > this + 50 { year - 100 } else { year }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    const EXAMPLE: Duration = Duration::from_secs(784_111_777);

    #[test]
    fn the_example_of_the_rfc_is_written_and_read_in_its_three_forms() {
        assert_eq!(&format(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                parse(text.as_bytes(), Some(EXAMPLE)),
                Some(EXAMPLE),
                "{text}"
            );
        }
    }

    #[test]
    fn every_day_of_eight_centuries_is_read_as_it_was_written() {
        for day in 0..800 * 366 {
            let time = Duration::from_secs(day * DAY + day % DAY);
            assert_eq!(parse(&format(time), None), Some(time));
        }
    }

    #[test]
    fn known_days_have_their_names() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(Duration::from_secs(seconds)), text.as_bytes());
        }
    }

    #[test]
    fn what_is_not_a_date_is_not_read() {
        for text in [
            "",
            "Sun",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 0001 08:49:37 GMT",
            "\u{e9}, , GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), None), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_time_is_read_back_from_each_of_its_three_forms(seconds in 0..=LAST) {
            let time = Duration::from_secs(seconds);
            let text = format(time);
            let text = core::str::from_utf8(&text).unwrap();
            let (name, day, month) = (&text[..3], &text[5..7], &text[8..11]);
            let (year, clock) = (&text[12..16], &text[17..25]);
            let space_padded = std::format!("{:2}", day.parse::<u8>().unwrap());
            for form in [
                text.into(),
                std::format!("{name}day, {day}-{month}-{} {clock} GMT", &year[2..]),
                std::format!("{name} {month} {space_padded} {clock} {year}"),
            ] {
                assert_eq!(parse(form.as_bytes(), Some(time)), Some(time), "{form}");
            }
        }

        #[test]
        fn what_is_read_from_any_text_can_be_written(
            text in "([A-Z][a-z]{2},? )?[0-3 ][0-9][ -][JFMASOND][a-z]{2}[ -][0-9]{2,4} [0-9:]{5,9}( GMT)?",
            now in 0..=LAST,
        ) {
            if let Some(time) = parse(text.as_bytes(), Some(Duration::from_secs(now))) {
                // A leap second may be the first of the year 10000.
                assert!(time.as_secs() <= LAST + 31 * DAY, "{text}");
                assert!(time.as_secs() > LAST || parse(&format(time), None) == Some(time));
            }
        }
    }
}

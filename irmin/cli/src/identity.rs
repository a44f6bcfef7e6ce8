//! Who makes a commit, and when: as Git finds it out (git-commit-tree(1)).

use std::env;

use irmin::{Info, Signature};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::place::Place;

/// Author, committer and message of a new commit. `author` is `NAME <EMAIL>`.
pub fn info(place: &Place, message: &str, author: Option<&str>) -> Result<Info> {
    let config = Config::read(&place.folder)?;
    let mut message = message.trim_end().to_string();
    message.push('\n');
    Ok(Info {
        author: signature(&config, "author", author)?,
        committer: signature(&config, "committer", None)?,
        message,
    })
}

fn signature(config: &Config, role: &str, given: Option<&str>) -> Result<Signature> {
    let given = given.map(parse_author).transpose()?;
    let is_given = given.is_some();
    let part = |part: &str, other: &str| {
        set(&variable(role, part))
            .or_else(|| config.get(&format!("{role}.{part}")).map(Into::into))
            .or_else(|| config.get(&format!("user.{part}")).map(Into::into))
            .or_else(|| set(other))
            .ok_or_else(|| {
                Failure::broken_with(
                    format!("the {role}'s {part} is not known"),
                    format!(
                        "set {}, or tell Git once: git config --global user.{part} ...",
                        variable(role, part)
                    ),
                )
            })
    };
    let (name, email) = match given {
        Some(given) => given,
        None => (part("name", "")?, part("email", "EMAIL")?),
    };
    let (seconds, minutes) = match set(&variable(role, "date")) {
        Some(date) => parse_date(&date).ok_or_else(|| {
            Failure::usage(
                format!("{} is no date: {date}", variable(role, "date")),
                "write it as 2015-04-20T12:00:00+02:00, or as seconds since 1970 and a zone: @1429524000 +0200",
            )
        })?,
        None => {
            let now = ZonedDateTime::now();
            (now.timestamp().as_second(), now.offset().seconds() / 60)
        }
    };
    let signature = Signature::new(&name, &email, seconds, minutes as i16);
    if signature.name().is_empty() && is_given {
        return Err(Failure::usage(
            format!("--author has no name: {name:?}"),
            "write it as 'Ada Lovelace <ada@example.org>'",
        ));
    }
    if signature.name().is_empty() {
        return Err(Failure::broken_with(
            format!("the {role}'s name is empty: {name:?}"),
            format!("set {} to a name with letters", variable(role, "name")),
        ));
    }
    Ok(signature)
}

/// The two halves of `NAME <EMAIL>`.
fn parse_author(text: &str) -> Result<(String, String)> {
    let halves = text
        .trim_end()
        .strip_suffix('>')
        .and_then(|text| text.split_once('<'));
    match halves {
        Some((name, email)) if !email.contains(['<', '>']) => {
            Ok((name.trim().into(), email.trim().into()))
        }
        _ => Err(Failure::usage(
            format!("{text} is no author"),
            "write it as 'Ada Lovelace <ada@example.org>'",
        )),
    }
}

fn variable(role: &str, part: &str) -> String {
    format!("GIT_{}_{}", role.to_uppercase(), part.to_uppercase())
}

fn set(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// Seconds since 1970 and minutes east of Greenwich, from Git's own form (`@1429524000 +0200`) or
/// ISO 8601, where a date without a zone is one of here.
fn parse_date(text: &str) -> Option<(i64, i32)> {
    let text = text.trim();
    let raw = text.strip_prefix('@').unwrap_or(text);
    let (seconds, zone) = raw.split_once(' ').unwrap_or((raw, "+0000"));
    let is_number = !seconds.is_empty() && seconds.bytes().all(|digit| digit.is_ascii_digit());
    if is_number && (raw != text || seconds.len() > 8) {
        return Some((seconds.parse().ok()?, parse_zone(zone)?));
    }
    // `2015-04-20 12:00:00 +0200` is written with spaces in Git's logs.
    let text = match text.rsplit_once([' ']) {
        Some((front, zone)) if zone.starts_with(['+', '-']) => format!("{front}{zone}"),
        _ => text.into(),
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        let front = text.len().checked_sub(1)?;
        let minutes = match text[front..].eq_ignore_ascii_case("z") {
            true => 0,
            false => parse_zone(text.get(text.rfind(['+', '-'])?..)?)?,
        };
        return Some((time.as_second(), minutes));
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    let local = local.to_zoned_datetime(TimeZone::system()).ok()?;
    Some((local.timestamp().as_second(), local.offset().seconds() / 60))
}

/// `+0200` or `+02:00` in minutes.
fn parse_zone(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (60 * hours + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_git_writes_them() {
        for (text, wanted) in [
            ("@12 -0130", Some((12, -90))),
            ("1429524000 +0200", Some((1_429_524_000, 120))),
            ("1429524000", Some((1_429_524_000, 0))),
            ("2015-04-20T12:00:00+02:00", Some((1_429_524_000, 120))),
            ("2015-04-20 12:00:00 +0200", Some((1_429_524_000, 120))),
            ("2015-04-20T10:00:00Z", Some((1_429_524_000, 0))),
            ("yesterday", None),
            ("12", None),
            ("@12 +2500", None),
            ("ü", None),
        ] {
            assert_eq!(parse_date(text), wanted, "{text}");
        }
    }
}

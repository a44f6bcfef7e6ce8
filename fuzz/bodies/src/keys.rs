use std::net::IpAddr;
use std::time::Duration;

use mirage_device::Cidr;
use mirage_keys::{KeyError, KeySpec, KeyType, Keys, LOG};

const KNOWN: [KeySpec<'static>; 10] = [
    KeySpec::new("flag", KeyType::Bool).or("false"),
    KeySpec::new("port", KeyType::U16).or("80"),
    KeySpec::new("count", KeyType::U32),
    KeySpec::new("size", KeyType::U64),
    KeySpec::new("name", KeyType::String),
    KeySpec::new("idle", KeyType::Duration).or("10s"),
    KeySpec::new("dns", KeyType::Ip),
    KeySpec::new("stack.ipv4", KeyType::Cidr),
    KeySpec::new("from", KeyType::Path),
    KeySpec::new("must", KeyType::String).required(),
];

/// A command line of one word a line: the values are those given, and what is wrong is what an
/// independent reading finds wrong first.
pub fn keys(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let words: Vec<&str> = text.lines().collect();
    let parsed = Keys::parse(&KNOWN, words.iter().copied());
    let expected = judge(&words);
    match (&parsed, expected) {
        (Ok(keys), None) => values(keys, &words),
        (Err(error), Some(expected)) => {
            assert_eq!(
                std::mem::discriminant(error),
                expected,
                "{words:?}: {error}"
            );
            assert!(!error.to_string().is_empty());
        }
        (parsed, expected) => panic!("{words:?}: {parsed:?}, expected {expected:?}"),
    }
}

/// What is wrong first.
fn judge(words: &[&str]) -> Option<std::mem::Discriminant<KeyError>> {
    let none = String::new;
    let mut seen = Vec::new();
    for word in words {
        let Some(at) = word.find('=').filter(|at| *at > 0) else {
            return Some(std::mem::discriminant(&KeyError::NotAKey { word: none() }));
        };
        let (name, value) = (&word[..at], &word[at + 1..]);
        let known = KNOWN.iter().chain([&LOG]).find(|spec| spec.name == name);
        let Some(spec) = known else {
            let (key, nearest) = (none(), None);
            return Some(std::mem::discriminant(&KeyError::Unknown { key, nearest }));
        };
        if seen.contains(&name) {
            return Some(std::mem::discriminant(&KeyError::Twice { key: none() }));
        }
        seen.push(name);
        if name == "log" {
            if !["off", "error", "warn", "info", "debug", "trace"].contains(&value) {
                let value = none();
                return Some(std::mem::discriminant(&KeyError::NotALevel { value }));
            }
        } else if !fits(spec.kind, value) {
            let wrong = spec.kind.check(value).unwrap_err();
            let (key, value) = (none(), none());
            return Some(std::mem::discriminant(&KeyError::WrongType {
                key,
                value,
                wrong,
            }));
        }
    }
    let (key, kind, doc) = (none(), KeyType::String, none());
    (!seen.contains(&"must")).then(|| std::mem::discriminant(&KeyError::Missing { key, kind, doc }))
}

fn fits(kind: KeyType, value: &str) -> bool {
    match kind {
        KeyType::Bool => value == "true" || value == "false",
        KeyType::U16 => number(value).is_some_and(|number| number <= u16::MAX.into()),
        KeyType::U32 => number(value).is_some_and(|number| number <= u32::MAX.into()),
        KeyType::U64 => number(value).is_some_and(|number| number <= u64::MAX.into()),
        KeyType::Duration => nanoseconds(value).is_some(),
        KeyType::Ip => value.parse::<IpAddr>().is_ok(),
        KeyType::Cidr => value.split_once('/').is_some_and(|(address, prefix)| {
            let most = match address.parse() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            number(prefix).is_some_and(|prefix| prefix <= most)
        }),
        KeyType::Path => !value.is_empty(),
        _ => true,
    }
}

/// A decimal number of digits alone.
fn number(text: &str) -> Option<u128> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u128, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn nanoseconds(text: &str) -> Option<u128> {
    let units = [
        ("ns", 1, 1_000_000_000),
        ("us", 1_000, 1_000_000),
        ("ms", 1_000_000, 1_000),
        ("s", 1_000_000_000, 1),
        ("m", 60_000_000_000, 1),
        ("h", 3_600_000_000_000, 1),
    ];
    units.into_iter().find_map(|(unit, length, divisor)| {
        let count = number(text.strip_suffix(unit)?)?;
        let nanoseconds = count.checked_mul(length)?;
        // The number and the seconds have 64 bits each.
        let fits = count <= u64::MAX.into()
            && (divisor > 1 || nanoseconds / 1_000_000_000 <= u64::MAX.into());
        fits.then_some(nanoseconds)
    })
}

fn values(keys: &Keys<'_>, words: &[&str]) {
    let given = |name: &str| {
        let start = format!("{name}=");
        words.iter().find_map(|word| word.strip_prefix(&start))
    };
    for spec in KNOWN {
        let text = given(spec.name).or(spec.default);
        assert_eq!(keys.text(spec.name), Ok(text));
    }
    let is = |name, value: u128| number(given(name).unwrap()) == Some(value);
    if let Some(count) = keys.get::<Option<u32>>("count").unwrap() {
        assert!(is("count", count.into()));
    }
    if let Some(size) = keys.get::<Option<u64>>("size").unwrap() {
        assert!(is("size", size.into()));
    }
    let port = keys.get::<u16>("port").unwrap();
    assert!(given("port").is_none() && port == 80 || is("port", port.into()));
    let idle: Duration = keys.get("idle").unwrap();
    assert_eq!(
        nanoseconds(given("idle").unwrap_or("10s")),
        Some(idle.as_nanos())
    );
    if let Some(address) = keys.get::<Option<Cidr>>("stack.ipv4").unwrap() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    assert_eq!(keys.log(), given("log").unwrap_or("info"));
}

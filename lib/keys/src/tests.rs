extern crate std;

use alloc::string::ToString;
use std::format;
use std::string::String;
use std::vec::Vec;

use core::net::IpAddr;
use core::time::Duration;
use mirage_device::Cidr;
use proptest::prelude::*;

use super::*;

const KNOWN: &[KeySpec<'_>] = &[
    KeySpec::new("port", KeyType::U16)
        .or("80")
        .doc("TCP port to serve on"),
    KeySpec::new("stack.ipv4", KeyType::Cidr),
    KeySpec::new("idle", KeyType::Duration).or("10s"),
    KeySpec::new("greeting", KeyType::String),
];

fn parse<'a>(words: &[&'a str]) -> Result<Keys<'a>, KeyError> {
    Keys::parse(KNOWN, words.iter().copied())
}

fn message(words: &[&str]) -> String {
    format!("{}", parse(words).unwrap_err())
}

#[test]
fn a_value_given_wins_over_the_default() {
    assert_eq!(parse(&[]).unwrap().get::<u16>("port"), Ok(80));
    assert_eq!(parse(&["port=8080"]).unwrap().get::<u16>("port"), Ok(8080));
}

#[test]
fn every_type_is_read_into_its_rust_type() {
    use KeyType as T;
    let known = KeyType::ALL.map(|kind| KeySpec::new(kind.name(), kind));
    let words = [
        "bool=true",
        "u16=65535",
        "u32=4294967295",
        "u64=18446744073709551615",
        "string=a=b c",
        "duration=500ms",
        "ip=fd00::2",
        "cidr=10.0.0.2/24",
        "path=/srv",
    ];
    let keys = Keys::parse(&known, words).unwrap();
    assert_eq!(keys.get::<bool>("bool"), Ok(true));
    assert_eq!(keys.get::<u16>("u16"), Ok(u16::MAX));
    assert_eq!(keys.get::<u32>("u32"), Ok(u32::MAX));
    assert_eq!(keys.get::<u64>("u64"), Ok(u64::MAX));
    assert_eq!(keys.get::<&str>("string"), Ok("a=b c"));
    assert_eq!(keys.get::<String>("string").as_deref(), Ok("a=b c"));
    assert_eq!(
        keys.get::<Duration>("duration"),
        Ok(Duration::from_millis(500))
    );
    assert_eq!(keys.get::<IpAddr>("ip"), Ok("fd00::2".parse().unwrap()));
    assert_eq!(keys.get::<Cidr>("cidr"), Ok("10.0.0.2/24".parse().unwrap()));
    assert_eq!(keys.get::<&str>("path"), Ok("/srv"));
    assert_eq!(keys.get::<Option<u16>>("u16"), Ok(Some(u16::MAX)));
    for kind in T::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(kind.check(kind.example()), Ok(()), "{kind}");
    }
    assert_eq!("u8".parse::<KeyType>(), Err(UnknownType));
}

#[test]
fn durations_have_a_number_and_a_unit() {
    for (text, value) in [
        ("0s", Duration::ZERO),
        ("7ns", Duration::from_nanos(7)),
        ("7us", Duration::from_micros(7)),
        ("500ms", Duration::from_millis(500)),
        ("2m", Duration::from_secs(120)),
        ("1h", Duration::from_secs(3600)),
    ] {
        assert_eq!(types::duration(text), Some(value), "{text}");
    }
    for text in [
        "",
        "10",
        "s",
        "-1s",
        "1.5s",
        "10 s",
        "1d",
        "99999999999999999999s",
    ] {
        assert_eq!(types::duration(text), None, "{text}");
    }
    assert_eq!(types::duration("18446744073709551615h"), None);
}

#[test]
fn a_command_line_that_is_wrong_is_told_what_and_what_instead() {
    for (words, expected) in [
        (&["port"][..], "`port` is not of the form NAME=VALUE"),
        (&["=80"], "`=80` is not of the form NAME=VALUE"),
        (&[""], "`` is not of the form NAME=VALUE"),
        (&["prot=80"], "unknown key `prot`; did you mean `port`?"),
        (
            &["colour=red"],
            "unknown key `colour`; `mirage describe` lists the keys there are",
        ),
        (
            &["port=http"],
            "key `port`: `http` is not a number from 0 to 65535, for example 8080",
        ),
        (
            &["port=65536"],
            "key `port`: `65536` is not a number from 0 to 65535, for example 8080",
        ),
        (
            &["port=+80"],
            "key `port`: `+80` is not a number from 0 to 65535, for example 8080",
        ),
        (
            &["stack.ipv4=10.0.0.2/+24"],
            "key `stack.ipv4`: `10.0.0.2/+24` is not an IP address with a prefix, for example \
             10.0.0.2/24",
        ),
        (
            &["stack.ipv4=10.0.0.2"],
            "key `stack.ipv4`: `10.0.0.2` is not an IP address with a prefix, for example \
             10.0.0.2/24",
        ),
        (
            &["idle=10"],
            "key `idle`: `10` is not a duration in ns, us, ms, s, m or h, for example 10s",
        ),
        (&["port=1", "port=1"], "key `port` is given twice"),
        (
            &["log=loud"],
            "key `log`: `loud` is not a level; the levels are off, error, warn, info, debug, trace",
        ),
    ] {
        assert_eq!(message(words), expected);
    }
}

#[test]
fn a_required_key_must_be_given() {
    let known = [KeySpec::new("name", KeyType::String)
        .required()
        .doc("What to answer to")];
    let error = Keys::parse(&known, []).unwrap_err();
    assert_eq!(
        format!("{error}"),
        "key `name` is required: give it as name=text (What to answer to)"
    );
    assert_eq!(
        Keys::parse(&known, ["name="]).unwrap().get::<&str>("name"),
        Ok("")
    );
}

#[test]
fn the_log_level_is_always_known() {
    assert_eq!(parse(&[]).unwrap().log(), "info");
    assert_eq!(Keys::parse(&[], ["log=trace"]).unwrap().log(), "trace");
}

#[test]
fn the_time_between_reports_of_the_counters_is_always_known() {
    assert_eq!(parse(&[]).unwrap().counters(), Duration::ZERO);
    let keys = Keys::parse(&[], ["counters=10s"]).unwrap();
    assert_eq!(keys.counters(), Duration::from_secs(10));
    assert_eq!(keys.log(), "info");
    let error = Keys::parse(&[], ["counters=often"]).unwrap_err();
    assert!(format!("{error}").contains("a duration in ns, us, ms, s, m or h"));
}

#[test]
fn code_that_asks_for_what_was_not_declared_is_told_so() {
    let keys = parse(&[]).unwrap();
    assert_eq!(
        keys.get::<u16>("colour"),
        Err(KeyError::Undeclared {
            key: "colour".to_string()
        })
    );
    assert_eq!(
        keys.get::<&str>("greeting"),
        Err(KeyError::Optional {
            key: "greeting".to_string()
        })
    );
    assert_eq!(keys.get::<Option<&str>>("greeting"), Ok(None));
    assert_eq!(
        format!("{}", keys.get::<u32>("port").unwrap_err()),
        "key `port` is declared as u16 and cannot be read as u32"
    );
    assert_eq!(keys.text("port"), Ok(Some("80")));
    assert_eq!(keys.text("greeting"), Ok(None));
}

#[test]
fn a_default_of_the_wrong_type_is_an_error_when_read() {
    let known = [KeySpec::new("port", KeyType::U16).or("http")];
    let error = Keys::parse(&known, [])
        .unwrap()
        .get::<u16>("port")
        .unwrap_err();
    assert!(matches!(error, KeyError::WrongType { .. }), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_words_never_panic(words in proptest::collection::vec(".{0,80}", 0..5)) {
        let _ = Keys::parse(KNOWN, words.iter().map(String::as_str));
    }

    #[test]
    fn words_like_keys_never_panic_and_are_read_as_they_are(
        port in any::<u16>(),
        text in "[ -~]{0,20}",
        stray in "[a-z.]{0,8}=[ -~]{0,8}",
    ) {
        let words = [format!("port={port}"), format!("greeting={text}")];
        let keys = Keys::parse(KNOWN, words.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(keys.get::<u16>("port"), Ok(port));
        prop_assert_eq!(keys.get::<&str>("greeting"), Ok(text.as_str()));
        let all: Vec<&str> = words.iter().chain([&stray]).map(String::as_str).collect();
        if let Err(error) = Keys::parse(KNOWN, all) {
            let message = format!("{error}");
            prop_assert!(message.contains(&stray) || message.contains('`'), "{}", message);
        }
    }

    #[test]
    fn what_the_check_accepts_is_read(text in "[0-9a-z./:]{0,24}") {
        prop_assert_eq!(KeyType::U32.check(&text).is_ok(), u32::from_key(&text).is_some());
        prop_assert_eq!(KeyType::Bool.check(&text).is_ok(), bool::from_key(&text).is_some());
        prop_assert_eq!(KeyType::Ip.check(&text).is_ok(), IpAddr::from_key(&text).is_some());
        prop_assert_eq!(KeyType::Cidr.check(&text).is_ok(), Cidr::from_key(&text).is_some());
        prop_assert_eq!(
            KeyType::Duration.check(&text).is_ok(),
            Duration::from_key(&text).is_some()
        );
    }
}

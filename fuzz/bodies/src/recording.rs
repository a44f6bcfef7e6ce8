use mirage_record::format::PAGE;
use mirage_record::{Description, Kind, Recording};

use crate::input::Input;

/// Bytes of a file before its first segment, with a short description.
const HEAD: usize = 2 * PAGE;
/// Where the table of segments stands, and the bytes before a segment's checkpoint.
const TABLE: usize = 64;
const SEGMENT_HEAD: usize = 32;

/// A recording of two segments with any events, and any words of it changed: what is accepted
/// holds the events that a reading by the description of the format finds, and each is inside.
pub fn recording(input: &[u8]) {
    let mut input = Input::new(input);
    let changes: Vec<(u16, u8)> = (0..input.below(5))
        .map(|_| (input.half(), input.byte()))
        .collect();
    let file = file(&mut input, &changes);
    let recording = match Recording::read(&file) {
        Ok(recording) => recording,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut number = None;
    let mut count = 0;
    let mut seen = Vec::new();
    for event in recording.events() {
        let (at, event) = event.expect("every event was checked");
        assert!(number.is_none_or(|before: u64| before.wrapping_add(1) == at));
        number = Some(at);
        count += 1;
        if has_payload(event.kind as u8, event.code) {
            let end = event.payload as u64 + event.len;
            assert!(end <= file.len() as u64, "a payload ends outside");
        }
        assert!(!event.to_string().is_empty());
        seen.push((event.kind as u8, event.code));
    }
    assert_eq!((recording.len(), recording.is_empty()), (count, count == 0));
    if recording.is_whole() {
        let begin = recording.events().next().and_then(Result::ok);
        assert!(begin.is_some_and(|(at, begin)| (at, begin.kind) == (0, Kind::Argument)));
    }
    if changes.is_empty() {
        assert_eq!(seen, plain_reading(&file));
    }
    let _ = (recording.outcome(), recording.status(), recording.span());
    let copy = recording.replay(false);
    assert!(copy.len().is_multiple_of(PAGE) && copy.len() <= file.len() + 2 * PAGE);
}

/// A file of at most two segments, the second following the first.
fn file(input: &mut Input<'_>, changes: &[(u16, u8)]) -> Vec<u8> {
    let description = Description {
        name: "x".into(),
        ..Description::default()
    };
    let segment = mirage_record::format::LEAST_SEGMENT;
    let mut file = description
        .file_head(HEAD + 2 * segment)
        .expect("a length that fits");
    assert_eq!(file.len(), HEAD);
    let mut first_event = u64::from(input.byte() & 1);
    let segments = 1 + input.below(2);
    for (place, number) in (1 + first_event..).enumerate().take(segments) {
        let checkpoint = if number == 1 {
            &[][..]
        } else {
            input.counted()
        };
        let events = if place == 1 {
            input.rest()
        } else {
            input.counted()
        };
        file.resize(HEAD + place * segment, 0);
        for word in [number, first_event, checkpoint.len() as u64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(checkpoint);
        file.extend(events);
        let used = file.len() - HEAD - place * segment;
        for (at, word) in [(0, number), (8, used as u64)] {
            let at = TABLE + 16 * place + at;
            file[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        first_event += count(events);
    }
    for (at, byte) in changes {
        // The head's words, the description's text, and the first segment.
        let places = [0..256, PAGE..PAGE + 64, HEAD..file.len()];
        let mut places = places.into_iter().flatten();
        if let Some(place) = places.nth(usize::from(*at) % (320 + 500)) {
            file[place] = *byte;
        }
    }
    file
}

fn has_payload(kind: u8, code: u8) -> bool {
    matches!(kind, 3 | 5 | 7 | 14 | 15) && code < 2
}

/// The events of both segments, kind and code, by the tables in the description of the format.
fn plain_reading(file: &[u8]) -> Vec<(u8, u8)> {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let mut found = Vec::new();
    for (place, start) in [HEAD, HEAD + mirage_record::format::LEAST_SEGMENT]
        .into_iter()
        .enumerate()
    {
        let (number, used) = (word(TABLE + 16 * place), word(TABLE + 16 * place + 8));
        if number != 0 {
            let events = start + SEGMENT_HEAD + word(start + 16);
            found.extend(events_of(&file[events..start + used]).0);
        }
    }
    found
}

fn count(events: &[u8]) -> u64 {
    events_of(events).0.len() as u64
}

/// The events at the start of these bytes, and whether there is nothing else.
fn events_of(mut bytes: &[u8]) -> (Vec<(u8, u8)>, bool) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let Some((event, rest)) = one(bytes) else {
            return (found, false);
        };
        found.push(event);
        bytes = rest;
    }
    (found, true)
}

fn one(bytes: &[u8]) -> Option<((u8, u8), &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let (kind, code) = (first & 15, first >> 4);
    let (device, numbers, checksum) = match kind {
        1 | 13 => (false, 1, false),
        2 | 12 => (false, 2, false),
        3 | 14 => (false, 1, false),
        4 => (false, 1, true),
        5 | 15 => (true, 1, false),
        6 => (true, 1, true),
        7 | 10 => (true, 2, false),
        8 => (true, 2, true),
        9 | 11 => (true, 0, false),
        _ => return None,
    };
    if device {
        rest = rest.get(1..)?;
    }
    let mut last = 0;
    for _ in 0..numbers {
        let len = rest.iter().position(|byte| *byte < 0x80)? + 1;
        let (digits, after) = rest.split_at(len);
        let value = digits.iter().rev().try_fold(0_u128, |sum, byte| {
            (sum < 1 << 100).then_some(sum << 7 | u128::from(byte & 0x7f))
        });
        last = u64::try_from(value?).ok().filter(|_| len <= 10)?;
        rest = after;
    }
    if checksum {
        rest = rest.get(4..)?;
    }
    if has_payload(kind, code) {
        rest = rest.get(usize::try_from(last).ok()?..)?;
    }
    Some(((kind, code), rest))
}

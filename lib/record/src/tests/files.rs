//! Files that anybody may have written.

use super::*;
use crate::format;

fn file(seed: u64, calls: &[Call]) -> Vec<u8> {
    let tape = Memory::recording(&description(), 1 << 20);
    let door = Door::new(World::new(seed), Some(tape));
    for call in calls {
        make(&door, call);
    }
    door.tape().unwrap().to_bytes()
}

#[test]
fn the_head_is_as_it_is_laid_down() {
    let head = description().file_head(1 << 20).unwrap();
    assert_eq!(head.len(), 2 * PAGE);
    assert_eq!(head[..8], *b"MirageR\x01");
    assert_eq!(head[8..16], [0; 8]);
    assert_eq!(head[16..24], 8192u64.to_le_bytes());
    assert_eq!(
        head[24..32],
        (((1u64 << 20) - 8192) / 2 / 4096 * 4096).to_le_bytes()
    );
    let text = String::from_utf8(head[PAGE..].to_vec()).unwrap();
    let hash = "ab".repeat(32);
    assert_eq!(
        text.trim_end_matches('\0'),
        std::format!(
            "name test\nimage {hash}\npath /a path/with\\nlines and \\\\n and \\\\\nplatform test\n\
             argument \nargument port=80\nargument end\r\nmemory 33554432\ncounters 4096\n"
        )
    );
}

#[test]
fn an_event_is_as_it_is_laid_down() {
    let file = file(0, &[Call::Console(b"hello".to_vec())]);
    let expected = [
        &[14, 7][..],
        b"port=80",
        &[14, 0],
        &[14, 9],
        "n\u{e4}me=x\ny".as_bytes(),
        &[14 | 2 << 4, 0],
        &[15, 0, 24 + 3, 1, 7, 2, 0, 0, 0, 0, 9],
        &1500u64.to_le_bytes(),
        &65_549u64.to_le_bytes(),
        b"net",
        &[15, 1, 24 + 4, 2, 1, 0, 0, 0, 0, 0, 0],
        &(1u64 << 20).to_le_bytes(),
        &512u64.to_le_bytes(),
        b"disk",
        &[15 | 2 << 4, 2, 0],
        &[4, 5],
        &crate::wire::Checksum::of(b"hello").to_le_bytes(),
    ]
    .concat();
    // The head, and four words.
    let events = 2 * PAGE + 32;
    assert_eq!(file[events..], expected);
    assert_eq!(file[72..80], (32 + expected.len() as u64).to_le_bytes());
}

#[test]
fn a_file_too_short_for_a_ring_is_refused() {
    let least = 2 * PAGE + 2 * LEAST_SEGMENT;
    assert!(description().file_head(least).is_some());
    assert!(description().file_head(least - 1).is_none());
    assert!(description().file_head(0).is_none());
}

#[test]
fn what_follows_the_used_part_can_be_cut_off() {
    let file = file(1, &[Call::Now, Call::Wait]);
    let whole = Recording::read(&file).unwrap();
    let used = whole.used();
    assert!(used < 3 * PAGE, "{used}");
    let cut = Recording::read(&file[..used]).unwrap();
    assert!(cut.events().eq(whole.events()));
    assert_eq!(cut.replay(false), whole.replay(false));
    assert!(Recording::read(&file[..used - 1]).is_err());
}

#[test]
fn what_is_no_recording_is_told_from_one_that_is_damaged() {
    let good = file(1, &[Call::Now, Call::Wait]);
    let error = |file: &[u8]| Recording::read(file).unwrap_err().to_string();
    assert_eq!(error(b""), "it is not a recording");
    assert_eq!(error(b"\x7fELF..........."), "it is not a recording");
    let mut other = good.clone();
    other[7] = 9;
    assert_eq!(
        error(&other),
        "it is a recording of version 9; this is for version 1"
    );
    assert_eq!(error(&good[..2000]), "its head is damaged");
    assert_eq!(
        error(&good[..2 * PAGE]),
        "it is empty: the unikernel was never started"
    );
    let mut short = good.clone();
    let used = short[72] - 1;
    short[72] = used;
    assert_eq!(error(&short), "it is damaged or cut short at event 8");
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() = 0xff;
    assert_eq!(error(&wrong), "it is damaged or cut short at event 8");
    // The beginning, numbered as if something were before it.
    let mut late = good.clone();
    late[2 * PAGE + 8] = 1;
    assert_eq!(error(&late), "it is damaged or cut short at event 0");
}

#[test]
fn the_status_that_somebody_saw_is_kept_with_it() {
    let mut file = file(1, &[]);
    assert_eq!(Recording::read(&file).unwrap().status(), None);
    let (at, word) = Recording::status_word(137);
    file[at as usize..][..8].copy_from_slice(&word);
    assert_eq!(Recording::read(&file).unwrap().status(), Some(137));
}

#[test]
fn a_description_survives_every_character() {
    let file = file(1, &[]);
    assert_eq!(
        *Recording::read(&file).unwrap().description(),
        description()
    );
}

/// Reads the file in every way, and repeats it with the calls that it was made of.
fn use_it(file: &[u8], calls: &[Call]) {
    if let Ok(recording) = Recording::read(file) {
        for event in recording.events() {
            let (_, event) = event.unwrap();
            assert!(!event.to_string().is_empty());
        }
        assert!(!recording.outcome().to_string().is_empty());
        repeat(recording.replay(false), calls);
    }
}

fn repeat(copy: Vec<u8>, calls: &[Call]) {
    ending(|| {
        let door = Door::new(World::new(0), Some(Memory::blank(copy)));
        let _ = door.outcome().to_string();
        assert!(door.arguments().count() < 1 << 20);
        for call in calls {
            make(&door, call);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_events_read_are_those_written(seed in any::<u64>(), calls in calls()) {
        let file = file(seed, &calls);
        let recording = Recording::read(&file).unwrap();
        prop_assert_eq!(recording.len(), calls.len() as u64 + BEGIN);
        prop_assert!(recording.is_whole());
        let numbers: Vec<u64> = recording.events().map(|event| event.unwrap().0).collect();
        prop_assert!(numbers.iter().copied().eq(0..recording.len()));
    }

    #[test]
    fn bytes_changed_or_missing_never_panic_nor_ask_for_absurd_memory(
        seed in any::<u64>(),
        calls in calls(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        low in prop::collection::vec((0usize..200, any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = file(seed, &calls);
        let len = file.len();
        for (at, byte) in changes {
            file[at.index(len)] = byte;
        }
        // The head decides the most.
        for (at, byte) in low {
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(len));
        }
        use_it(&file, &calls);
    }

    #[test]
    fn words_of_the_head_never_panic(
        at in 0usize..24,
        word in prop_oneof![any::<u64>(), 0u64..10_000, Just(u64::MAX), Just(i64::MAX as u64)],
    ) {
        let calls = [Call::Now, Call::Receive(100), Call::Wait];
        let mut file = file(5, &calls);
        file[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
        use_it(&file, &calls);
    }

    #[test]
    fn a_damaged_copy_never_panics(
        seed in any::<u64>(),
        calls in calls(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        word in prop::option::of((0usize..30, prop_oneof![any::<u64>(), 0u64..20_000])),
    ) {
        let file = file(seed, &calls);
        let mut copy = Recording::read(&file).unwrap().replay(false);
        let len = copy.len();
        for (at, byte) in changes {
            copy[at.index(len)] = byte;
        }
        if let Some((at, word)) = word {
            copy[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
        }
        repeat(copy, &calls);
    }

    #[test]
    fn a_cut_file_is_damaged_at_the_event_that_is_cut(
        seed in any::<u64>(), calls in calls(), cut in 1usize..500,
    ) {
        let file = file(seed, &calls);
        let start = format::PAGE * 2;
        let cut = file.len().saturating_sub(cut).max(start);
        let error = Recording::read(&file[..cut]).unwrap_err();
        prop_assert!(
            matches!(error, RecordingError::Empty | RecordingError::Event(_)), "{error:?}"
        );
    }
}

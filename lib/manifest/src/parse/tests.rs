extern crate std;

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::note::{HEADER, Note, note_len};

const DEVICES: &[Device<'_>] = &[
    Device::new(Kind::Net, "net"),
    Device::new(Kind::Block, "disk.0"),
    Device::new(Kind::Net, "b"),
];
static NOTE: Note<{ note_len(DEVICES) }> = Note::new(DEVICES);
static EMPTY: Note<{ note_len(&[]) }> = Note::new(&[]);

/// A note built at run time, byte by byte, from whatever one likes.
fn note(owner: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((owner.len() as u32).to_le_bytes());
    bytes.extend((description.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    for field in [owner, description] {
        bytes.extend(field);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn ours(description: &[u8]) -> Vec<u8> {
    note(OWNER, TYPE, description)
}

fn devices(list: &[(u8, &[u8])]) -> Vec<u8> {
    let mut description = vec![VERSION, list.len() as u8];
    for (kind, name) in list {
        description.extend([*kind, name.len() as u8]);
        description.extend(*name);
    }
    ours(&description)
}

#[test]
fn what_was_sealed_is_read_back() {
    let manifest = Manifest::parse(NOTE.as_bytes()).unwrap();
    assert!(manifest.devices().eq(DEVICES.iter().copied()));
    assert_eq!(manifest.devices().len(), 3);
    assert_eq!(
        Manifest::parse(EMPTY.as_bytes()).unwrap().devices().len(),
        0
    );
    assert_eq!(NOTE.as_bytes().len() % 4, 0);
}

#[test]
fn notes_of_other_owners_are_skipped() {
    let mut bytes = note(b"GNU\0", 3, &[1, 2, 3]);
    bytes.extend(NOTE.as_bytes());
    bytes.extend(note(b"Xen\0", 18, &[0; 8]));
    bytes.extend(note(b"", 18, &[]));
    assert_eq!(Manifest::parse(&bytes).unwrap().devices().len(), 3);
}

#[test]
fn no_note_or_two_notes_are_refused() {
    assert_eq!(Manifest::parse(&[]), Err(ManifestError::Missing));
    assert_eq!(
        Manifest::parse(&note(b"Mirage", TYPE, &[1, 0])),
        Err(ManifestError::Missing)
    );
    let twice = [EMPTY.as_bytes(), NOTE.as_bytes()].concat();
    assert_eq!(Manifest::parse(&twice), Err(ManifestError::Twice));
}

#[test]
fn a_newer_note_is_refused() {
    assert_eq!(
        Manifest::parse(&note(OWNER, 2, &[1, 0])),
        Err(ManifestError::UnknownType(2))
    );
    assert_eq!(
        Manifest::parse(&ours(&[2, 0])),
        Err(ManifestError::UnknownVersion(2))
    );
}

#[test]
fn every_cut_of_a_note_is_refused() {
    for end in 1..NOTE.as_bytes().len() {
        let error = Manifest::parse(&NOTE.as_bytes()[..end]).unwrap_err();
        assert_eq!(error, ManifestError::Truncated, "cut at {end}");
    }
    assert_eq!(Manifest::parse(&ours(&[])), Err(ManifestError::Truncated));
    assert_eq!(Manifest::parse(&ours(&[1])), Err(ManifestError::Truncated));
    assert_eq!(
        Manifest::parse(&ours(&[1, 1, 1])),
        Err(ManifestError::Truncated)
    );
    assert_eq!(
        Manifest::parse(&ours(&[1, 1, 1, 5, b'a'])),
        Err(ManifestError::Truncated)
    );
}

#[test]
fn bytes_after_the_last_device_or_note_are_refused() {
    assert_eq!(
        Manifest::parse(&ours(&[1, 0, 7])),
        Err(ManifestError::Trailing(1))
    );
    for extra in [&[0u8][..], &[0; 4], &[1; 11], b"garbage!"] {
        let bytes = [NOTE.as_bytes(), extra].concat();
        assert_eq!(
            Manifest::parse(&bytes),
            Err(ManifestError::Truncated),
            "{extra:?}"
        );
    }
}

#[test]
fn padding_that_is_not_zero_is_refused() {
    let mut bytes = ours(&[1, 0]);
    *bytes.last_mut().unwrap() = 1;
    assert_eq!(Manifest::parse(&bytes), Err(ManifestError::Truncated));
}

#[test]
fn lengths_near_the_end_of_the_number_range_are_refused() {
    for len in [u32::MAX, u32::MAX - 2, 0x8000_0000] {
        for field in [0, 4] {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[field..field + 4].copy_from_slice(&len.to_le_bytes());
            assert_eq!(Manifest::parse(&bytes), Err(ManifestError::Truncated));
        }
    }
}

#[test]
fn devices_that_lie_are_refused() {
    let parse = |list: &[(u8, &[u8])]| Manifest::parse(&devices(list)).unwrap_err();
    assert_eq!(
        parse(&[(0, b"a")]),
        ManifestError::UnknownKind { device: 0, kind: 0 }
    );
    assert_eq!(
        parse(&[(1, b"a"), (3, b"b")]),
        ManifestError::UnknownKind { device: 1, kind: 3 }
    );
    assert_eq!(parse(&[(1, b"")]), ManifestError::BadName(0));
    assert_eq!(parse(&[(1, b"A")]), ManifestError::BadName(0));
    assert_eq!(parse(&[(1, b"\xff")]), ManifestError::BadName(0));
    assert_eq!(parse(&[(1, &[b'a'; 32])]), ManifestError::BadName(0));
    assert_eq!(
        parse(&[(1, b"a"), (2, b"b"), (1, b"a")]),
        ManifestError::DuplicateName(2)
    );
    assert_eq!(
        Manifest::parse(&ours(&[1, 64])),
        Err(ManifestError::TooManyDevices(64))
    );
}

#[test]
fn sixty_three_devices_fit() {
    let names: Vec<String> = (0..63).map(|n| n.to_string()).collect();
    let list: Vec<(u8, &[u8])> = names.iter().map(|n| (2, n.as_bytes())).collect();
    assert_eq!(
        Manifest::parse(&devices(&list)).unwrap().devices().len(),
        63
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(manifest.devices().count(), manifest.devices().len());
        }
    }

    #[test]
    fn arbitrary_descriptions_never_panic_and_what_parses_is_whole(
        version in 1u8..3,
        rest in proptest::collection::vec(prop_oneof![0u8..4, Just(b'a'), any::<u8>()], 0..40),
    ) {
        let description = [&[version][..], &rest].concat();
        if let Ok(manifest) = Manifest::parse(&ours(&description)) {
            let list: Vec<(u8, &[u8])> =
                manifest.devices().map(|d| (d.kind.code(), d.name.as_bytes())).collect();
            prop_assert_eq!(list.len(), manifest.devices().len());
            prop_assert_eq!(devices(&list), ours(&description));
        }
    }

    #[test]
    fn a_note_with_one_byte_changed_never_panics(at in 0..HEADER + 20, byte in any::<u8>()) {
        let mut bytes = NOTE.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(manifest.devices().count(), manifest.devices().len());
        }
    }
}

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// An image of code, data and a note, as small as can be.
fn image() -> Vec<u8> {
    let mut file = vec![0; 0x3000];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &2u16.to_le_bytes());
    put(&mut file, 18, &62u16.to_le_bytes());
    put(&mut file, 24, &0x20_1000u64.to_le_bytes());
    put(&mut file, 32, &64u64.to_le_bytes());
    put(&mut file, 52, &64u16.to_le_bytes());
    put(&mut file, 54, &56u16.to_le_bytes());
    put(&mut file, 56, &4u16.to_le_bytes());
    segment(
        &mut file,
        0,
        [PT_LOAD, 5],
        [0x1000, 0x20_1000, 0x800, 0x800],
    );
    segment(
        &mut file,
        1,
        [PT_LOAD, 6],
        [0x2000, 0x20_2000, 0x10, 0x9000],
    );
    segment(&mut file, 2, [PT_NOTE, 4], [0x1700, 0x20_1700, 0x20, 0x20]);
    segment(&mut file, 3, [PT_GNU_STACK, 6], [0, 0, 0, 0]);
    file
}

fn segment(file: &mut [u8], number: usize, kind: [u32; 2], extent: [u64; 4]) {
    let at = 64 + number * 56;
    put(file, at, &kind[0].to_le_bytes());
    put(file, at + 4, &kind[1].to_le_bytes());
    for (place, value) in [8, 16, 32, 40].into_iter().zip(extent) {
        put(file, at + place, &value.to_le_bytes());
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn check(file: &[u8]) -> Result<(u64, Vec<Extent>), ElfError> {
    let elf = Elf::check(&file[..file.len().min(HEAD)], file.len() as u64)?;
    Ok((elf.memory, elf.notes().collect()))
}

#[test]
fn an_image_is_one() {
    let note = Extent {
        offset: 0x1700,
        len: 0x20,
    };
    assert_eq!(check(&image()), Ok((0x1000 + 0x9000, vec![note])));
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut Vec<u8>);
    let cases: &[(Change, ElfError)] = &[
        (|f| f.clear(), ElfError::NotElf),
        (|f| f[1] = b'F', ElfError::NotElf),
        (|f| f.truncate(63), ElfError::Truncated),
        (|f| f.truncate(64 + 56), ElfError::Truncated),
        (|f| f.truncate(0x200f), ElfError::Truncated),
        (|f| f[4] = 1, ElfError::Machine),
        (|f| f[5] = 2, ElfError::Machine),
        (|f| f[6] = 0, ElfError::Machine),
        (|f| f[18] = 183, ElfError::Machine),
        (|f| f[16] = 1, ElfError::NotExecutable),
        (|f| f[16] = 4, ElfError::NotExecutable),
        (|f| f[16] = 3, ElfError::Dynamic),
        (|f| f[54] = 32, ElfError::Header),
        (|f| f[52] = 52, ElfError::Header),
        (|f| f[32] = 63, ElfError::Header),
        (|f| f[39] = 0xff, ElfError::Header),
        (|f| f[57] = 0xff, ElfError::Header),
        (|f| f[56] = 0, ElfError::Empty),
        (|f| segment(f, 2, [PT_INTERP, 4], [0; 4]), ElfError::Dynamic),
        (
            |f| segment(f, 2, [PT_DYNAMIC, 4], [0; 4]),
            ElfError::Dynamic,
        ),
        (
            |f| segment(f, 3, [PT_GNU_STACK, 7], [0; 4]),
            ElfError::ExecutableStack,
        ),
        (|f| segment(f, 3, [0, 7], [0; 4]), ElfError::ExecutableStack),
        (
            |f| segment(f, 0, [PT_LOAD, 7], [0x1000, 0x20_1000, 1, 1]),
            ElfError::WritableCode(0),
        ),
        (
            |f| segment(f, 2, [PT_NOTE, 4], [0x2fff, 0, 2, 2]),
            ElfError::Truncated,
        ),
        (
            |f| segment(f, 2, [PT_NOTE, 4], [u64::MAX, 0, 2, 2]),
            ElfError::Truncated,
        ),
        (
            |f| {
                f.resize(0x6000, 0);
                segment(f, 2, [PT_NOTE, 4], [0, 0, 0x4001, 0x4001]);
            },
            ElfError::Notes,
        ),
        // Below, above, across the upper bound, wrapped around.
        (
            |f| segment(f, 0, [PT_LOAD, 5], [0, 0xf_f000, 1, 1]),
            ElfError::Segment(0),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 1 << 40, 1, 1]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x7fff_f000, 1, 0x1001]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x30_0000, 1, u64::MAX]),
            ElfError::Segment(1),
        ),
        // In the last page that there could be.
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x30_0000, 1, u64::MAX - 0x30_0000]),
            ElfError::Segment(1),
        ),
        // On the page of the code, below it, empty, longer in the file than in memory.
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0x800, 0x20_1800, 1, 1]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x20_0000, 1, 1]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x30_0000, 0, 0]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 6], [0, 0x30_0000, 2, 1]),
            ElfError::Segment(1),
        ),
        // Not congruent; memory past the file's content that cannot be zeroed.
        (
            |f| segment(f, 1, [PT_LOAD, 6], [1, 0x30_0000, 1, 1]),
            ElfError::Segment(1),
        ),
        (
            |f| segment(f, 1, [PT_LOAD, 4], [0, 0x30_0000, 1, 2]),
            ElfError::Segment(1),
        ),
        // Before the code, just past it, in the data.
        (|f| put(f, 24, &0x20_0fffu64.to_le_bytes()), ElfError::Entry),
        (|f| put(f, 24, &0x20_1800u64.to_le_bytes()), ElfError::Entry),
        (|f| put(f, 24, &0x20_2000u64.to_le_bytes()), ElfError::Entry),
    ];
    for (number, (change, error)) in cases.iter().enumerate() {
        let mut file = image();
        change(&mut file);
        assert_eq!(check(&file), Err(*error), "case {number}");
    }
}

#[test]
fn an_image_cut_anywhere_in_its_loaded_part_is_refused() {
    let file = image();
    for len in 0..0x2010 {
        assert!(check(&file[..len]).is_err(), "{len}");
    }
}

proptest! {
    #[test]
    fn changed_headers_never_panic_and_never_break_the_promises(
        changes in prop::collection::vec((0usize..64 + 4 * 56, any::<u8>()), 1..12),
    ) {
        let mut file = image();
        for (at, byte) in changes {
            file[at] = byte;
        }
        if let Ok((memory, notes)) = check(&file) {
            prop_assert!(memory <= IMAGE.end - IMAGE.start);
            prop_assert!(notes.iter().map(|note| note.len).sum::<u64>() <= MAX_NOTES);
            for note in notes {
                prop_assert!(note.offset + note.len <= file.len() as u64);
            }
            let count = usize::from(half(&file, 56).unwrap());
            let start = word(&file, 32).unwrap() as usize;
            let loads = entries(&file[start..start + count * 56]).filter(|s| s.kind == PT_LOAD);
            for load in loads {
                prop_assert!(load.flags & 3 != 3);
                prop_assert!(load.address >= IMAGE.start);
                prop_assert!(load.address + load.memsz <= IMAGE.end);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_checked_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        size in any::<u64>(),
    ) {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.extend(bytes);
        let _ = Elf::check(&head, size);
    }
}

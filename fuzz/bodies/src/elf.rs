use mirage_tender_process::IMAGE;
use mirage_tender_process::elf::{Elf, MAX_NOTES};

const PAGE: u128 = 4096;

/// The start of a file that may be an image: whatever passes can be mapped, in the words of the
/// System V ABI read anew here, and no page of it is both writable and executable.
pub fn elf(input: &[u8]) {
    let (size, head) = input.split_at(input.len().min(4));
    let size = size.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let elf = match Elf::check(head, size) {
        Ok(elf) => elf,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let number = |at: usize, len: usize| {
        let bytes = &head[at..at + len];
        bytes
            .iter()
            .rev()
            .fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte))
    };
    let (table, count) = (number(32, 8) as usize, number(56, 2) as usize);
    let entry = number(24, 8);
    let (mut pages, mut code, mut notes) = (Vec::new(), false, 0);
    for at in (0..count).map(|n| table + n * 56) {
        let [kind, flags] = [number(at, 4), number(at + 4, 4)];
        let [offset, address, _, in_file, in_memory] =
            [8, 16, 24, 32, 40].map(|field| number(at + field, 8));
        match kind {
            1 => {
                assert!(offset + in_file <= size.into() && in_file <= in_memory);
                assert!(address >= IMAGE.start.into() && address + in_memory <= IMAGE.end.into());
                assert_ne!(flags & 3, 3, "writable code");
                pages.push((address / PAGE, (address + in_memory).div_ceil(PAGE)));
                code |= flags & 1 != 0 && (address..address + in_file).contains(&entry);
            }
            4 => notes += in_file,
            2 | 3 => panic!("a loader is asked for"),
            0x6474_e551 => assert_eq!(flags & 1, 0, "an executable stack"),
            _ => {}
        }
    }
    assert!(code && notes <= MAX_NOTES.into());
    assert!(
        pages.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{pages:?}"
    );
    let memory: u128 = pages.iter().map(|(first, end)| (end - first) * PAGE).sum();
    assert_eq!(u128::from(elf.memory), memory);
    let extents = elf.notes().map(|extent| {
        assert!(u128::from(extent.offset) + u128::from(extent.len) <= size.into());
        u128::from(extent.len)
    });
    assert_eq!(extents.sum::<u128>(), notes);
}

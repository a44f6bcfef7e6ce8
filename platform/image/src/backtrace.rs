//! Where a panic came from, without unwind tables: the stack holds a return address for every
//! call that has not returned.

/// The most addresses that are shown.
const MOST: usize = 16;

/// The words of a stack that may be return addresses: they lie in the code, behind a call. Some
/// may be left over from calls that have returned.
pub(crate) fn return_addresses<'a>(
    stack: impl Iterator<Item = usize> + 'a,
    code: &'a [u8],
) -> impl Iterator<Item = usize> + 'a {
    let base = code.as_ptr() as usize;
    let behind_call = move |&word: &usize| {
        word.checked_sub(base)
            .and_then(|at| code.get(..at))
            .is_some_and(ends_with_call)
    };
    stack.filter(behind_call).take(MOST)
}

/// Whether the last instruction of `code` may be a call (Intel SDM, volume 2, "CALL").
fn ends_with_call(code: &[u8]) -> bool {
    /// `FF /2`, a call through a register or memory: the middle bits of the second byte are 2.
    fn through(modrm: u8) -> bool {
        modrm & 0b0011_1000 == 0b0001_0000
    }
    /// No displacement, one byte, four bytes; the lowest bits tell whether one more byte (SIB)
    /// follows, or, without displacement, four (relative to the next instruction).
    fn length(modrm: u8) -> usize {
        let sib = usize::from(modrm & 7 == 4);
        match modrm >> 6 {
            0 if modrm & 7 == 5 => 6,
            0 => 2 + sib,
            1 => 3 + sib,
            2 => 6 + sib,
            _ => 2,
        }
    }
    let relative = matches!(code, [.., 0xe8, _, _, _, _]);
    relative
        || (2..=7).any(|len| {
            let tail = code.len().checked_sub(len).and_then(|at| code.get(at..));
            matches!(tail, Some([0xff, modrm, ..]) if through(*modrm) && length(*modrm) == len)
        })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn calls_of_every_form_are_known_and_other_instructions_are_not() {
        for call in [
            &[0xe8, 1, 2, 3, 4][..],         // call rel32
            &[0xff, 0xd0],                   // call rax
            &[0x41, 0xff, 0xd7],             // call r15
            &[0xff, 0x10],                   // call [rax]
            &[0xff, 0x14, 0xc8],             // call [rax + 8 * rcx]
            &[0xff, 0x50, 0x18],             // call [rax + 0x18]
            &[0xff, 0x54, 0x24, 0x08],       // call [rsp + 8]
            &[0xff, 0x15, 1, 2, 3, 4],       // call [rip + disp32]
            &[0xff, 0x90, 1, 2, 3, 4],       // call [rax + disp32]
            &[0xff, 0x94, 0x24, 1, 2, 3, 4], // call [rsp + disp32]
        ] {
            let padded = [&[0x90; 8][..], call].concat();
            assert!(ends_with_call(&padded), "{call:x?}");
            assert!(ends_with_call(call), "{call:x?}");
        }
        for other in [
            &[][..],
            &[0x90; 8],
            &[0xe9, 1, 2, 3, 4], // jmp rel32
            &[0xff, 0xe0],       // jmp rax
            &[0xff, 0xc0],       // inc eax
            &[0xff, 0x10, 0x90], // call [rax]; nop
            &[0xe8, 1, 2, 3, 4, 5],
        ] {
            assert!(!ends_with_call(other), "{other:x?}");
        }
    }

    #[test]
    fn only_words_behind_a_call_in_the_code_are_shown_and_not_too_many() {
        let code = [[0x90; 8], [0x90, 0xff, 0xd0, 0x90, 0x90, 0x90, 0x90, 0x90]].concat();
        let base = code.as_ptr() as usize;
        let stack = [
            0,
            base,
            base + 11,
            base - 1,
            base + 12,
            usize::MAX,
            base + 11,
            base + 100,
        ];
        let found: Vec<usize> = return_addresses(stack.into_iter(), &code).collect();
        assert_eq!(found, [base + 11; 2]);
        assert_eq!(
            return_addresses(core::iter::repeat(base + 11), &code).count(),
            MOST
        );
    }
}

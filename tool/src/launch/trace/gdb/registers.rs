//! The registers, as the kernel has them and as GDB's protocol has them.

use gdbstub_arch::x86::reg::X86_64CoreRegs;

use crate::launch::trace::tracee::{Registers, Vectors};

/// Fills GDB's registers.
pub fn to_gdb(from: &Registers, vectors: &Vectors, to: &mut X86_64CoreRegs) {
    let r = from;
    to.regs = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15,
    ];
    to.rip = r.rip;
    to.eflags = r.eflags as u32;
    let segments = &mut to.segments;
    (segments.cs, segments.ss) = (r.cs as u32, r.ss as u32);
    (segments.ds, segments.es) = (r.ds as u32, r.es as u32);
    (segments.fs, segments.gs) = (r.fs as u32, r.gs as u32);
    for (place, words) in to.st.iter_mut().zip(vectors.st_space.chunks_exact(4)) {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        place
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
    }
    for (place, words) in to.xmm.iter_mut().zip(vectors.xmm_space.chunks_exact(4)) {
        *place = words
            .iter()
            .rev()
            .fold(0, |all, word| all << 32 | u128::from(*word));
    }
    let fpu = &mut to.fpu;
    (fpu.fctrl, fpu.fstat) = (vectors.cwd.into(), vectors.swd.into());
    fpu.ftag = tags(vectors.ftw);
    (fpu.fioff, fpu.fooff) = (vectors.rip as u32, vectors.rdp as u32);
    (fpu.fiseg, fpu.foseg) = ((vectors.rip >> 32) as u32, (vectors.rdp >> 32) as u32);
    fpu.fop = vectors.fop.into();
    to.mxcsr = vectors.mxcsr;
}

/// Takes GDB's registers over; what its protocol does not have stays.
pub fn from_gdb(from: &X86_64CoreRegs, to: &mut Registers, vectors: &mut Vectors) {
    [
        to.rax, to.rbx, to.rcx, to.rdx, to.rsi, to.rdi, to.rbp, to.rsp, to.r8, to.r9, to.r10,
        to.r11, to.r12, to.r13, to.r14, to.r15,
    ] = from.regs;
    to.rip = from.rip;
    to.eflags = from.eflags.into();
    for (words, value) in vectors.st_space.chunks_exact_mut(4).zip(&from.st) {
        for (word, bytes) in words.iter_mut().zip(value.chunks(4)) {
            let mut whole = [0; 4];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_le_bytes(whole);
        }
    }
    for (words, value) in vectors.xmm_space.chunks_exact_mut(4).zip(from.xmm) {
        for (at, word) in words.iter_mut().enumerate() {
            *word = (value >> (32 * at)) as u32;
        }
    }
    (vectors.cwd, vectors.swd) = (from.fpu.fctrl as u16, from.fpu.fstat as u16);
    vectors.ftw = used(from.fpu.ftag);
    vectors.fop = from.fpu.fop as u16;
    vectors.rip = u64::from(from.fpu.fiseg) << 32 | u64::from(from.fpu.fioff);
    vectors.rdp = u64::from(from.fpu.foseg) << 32 | u64::from(from.fpu.fooff);
    vectors.mxcsr = from.mxcsr;
}

/// The kernel has a bit for each register in use; GDB has two, 3 for one that is empty.
fn tags(used: u16) -> u32 {
    let empty = (0..8).filter(|at| used & 1 << at == 0);
    empty.fold(0, |tags, at| tags | 3 << (2 * at))
}

fn used(tags: u32) -> u16 {
    let used = (0..8).filter(|at| tags >> (2 * at) & 3 != 3);
    used.fold(0, |used, at| used | 1 << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_bits_are_the_same_news() {
        assert_eq!(tags(0), 0xffff);
        assert_eq!(tags(0xff), 0);
        assert_eq!(tags(0b1000_0000), 0x3fff);
        for bits in 0..=0xff {
            assert_eq!(used(tags(bits)), bits);
        }
    }
}

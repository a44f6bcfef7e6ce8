extern crate std;

use core::cmp::Ordering;
use core::ffi::{c_char, c_int};
use std::vec::Vec;

use proptest::prelude::*;

unsafe extern "C" {
    fn mirage_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    fn mirage_memset(to: *mut u8, byte: c_int, len: usize) -> *mut u8;
    fn mirage_memcmp(a: *const u8, b: *const u8, len: usize) -> c_int;
    fn mirage_strlen(text: *const c_char) -> usize;
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 167 + at / 256) as u8).collect()
}

/// Lengths on both sides of every branch.
fn lengths() -> impl Iterator<Item = usize> {
    (0..300).chain([
        511, 512, 1000, 1023, 1024, 1025, 1500, 2047, 2048, 2049, 5000,
    ])
}

#[test]
fn moving_is_as_in_the_naive_model_for_every_length_and_distance() {
    let original = pattern(6000);
    for len in lengths() {
        for (from, to) in [
            (0, 0),
            (0, 1),
            (1, 0),
            (0, 15),
            (16, 0),
            (3, 64),
            (64, 3),
            (0, 200),
            (201, 2),
            (0, 700),
            (700, 0),
            (900, 0),
            (0, 900),
        ] {
            let mut ours = original.clone();
            // SAFETY: both blocks are inside the buffer.
            let result = unsafe {
                let base = ours.as_mut_ptr();
                mirage_memmove(base.add(to), base.add(from), len).offset_from(base)
            };
            let mut model = original.clone();
            for (at, &byte) in original[from..from + len].iter().enumerate() {
                model[to + at] = byte;
            }
            assert_eq!(result, to as isize);
            assert!(ours == model, "{len} bytes from {from} to {to}");
        }
    }
}

#[test]
fn copying_apart_is_as_in_the_naive_model() {
    let from = pattern(6000);
    for len in lengths() {
        for (a, b) in [(0, 0), (1, 0), (0, 1), (7, 9)] {
            let mut to = std::vec![0xee; 6000];
            // SAFETY: both blocks are inside their buffers.
            unsafe { mirage_memmove(to.as_mut_ptr().add(b), from.as_ptr().add(a), len) };
            assert!(to[b..b + len] == from[a..a + len], "{len}");
            assert!(
                to[..b]
                    .iter()
                    .chain(&to[b + len..])
                    .all(|&byte| byte == 0xee),
                "{len}"
            );
        }
    }
}

#[test]
fn setting_writes_every_byte_and_no_other() {
    for len in lengths() {
        for start in [0, 1, 7, 15, 16, 31] {
            let mut ours = std::vec![0xee; 6000];
            // SAFETY: the block is inside the buffer. Only the low byte of the value counts.
            let result = unsafe { mirage_memset(ours.as_mut_ptr().add(start), 0x7f5a, len) };
            assert_eq!(result, ours[start..].as_mut_ptr());
            assert!(
                ours[start..start + len].iter().all(|&byte| byte == 0x5a),
                "{len}"
            );
            let outside = ours[..start].iter().chain(&ours[start + len..]);
            assert!(
                outside.copied().all(|byte| byte == 0xee),
                "{len} at {start}"
            );
        }
    }
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    assert_eq!(a.len(), b.len());
    // SAFETY: both are of that length.
    unsafe { mirage_memcmp(a.as_ptr(), b.as_ptr(), a.len()) }.cmp(&0)
}

#[test]
fn comparing_is_by_the_first_byte_that_differs() {
    for len in lengths() {
        let a = pattern(len);
        assert_eq!(compare(&a, &a.clone()), Ordering::Equal);
        for at in 0..len.min(600) {
            let mut b = a.clone();
            b[at] = b[at].wrapping_add(0x80);
            if let Some(later) = b.get_mut(at + 1) {
                *later = later.wrapping_add(0x55);
            }
            assert_eq!(compare(&a, &b), a.cmp(&b), "{len} at {at}");
            assert_eq!(compare(&b, &a), b.cmp(&a), "{len} at {at}");
        }
    }
}

#[test]
fn a_string_is_as_long_as_up_to_its_zero() {
    for len in 0..70 {
        let mut text = std::vec![b'x'; len];
        text.extend(b"\0more\0");
        // SAFETY: the string ends with zero.
        assert_eq!(unsafe { mirage_strlen(text.as_ptr().cast()) }, len);
    }
}

proptest! {
    #[test]
    fn moving_anywhere_within_a_buffer_is_as_the_standard_library_has_it(
        from in 0usize..3000, to in 0usize..3000, len in 0usize..5000,
    ) {
        let mut ours = pattern(8000);
        let mut model = ours.clone();
        model.copy_within(from..from + len, to);
        // SAFETY: both blocks are inside the buffer.
        unsafe {
            let base = ours.as_mut_ptr();
            mirage_memmove(base.add(to), base.add(from), len);
        }
        prop_assert!(ours == model);
    }

    #[test]
    fn comparing_is_as_the_standard_library_has_it(
        a in proptest::collection::vec(0u8..3, 0..40),
        b in proptest::collection::vec(0u8..3, 0..40),
    ) {
        let len = a.len().min(b.len());
        prop_assert_eq!(compare(&a[..len], &b[..len]), a[..len].cmp(&b[..len]));
    }
}

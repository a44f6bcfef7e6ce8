#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mirage_fuzz_bodies::segments(input));

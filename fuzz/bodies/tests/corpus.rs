//! Every body over its checked-in corpus, and over random changes of it.
//!
//! A failure prints the input, and the command that repeats the whole run.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use mirage_fuzz_bodies::{BODIES, Body};

/// The variable that repeats a run.
const SEED: &str = "MIRAGE_FUZZ_SEED";
/// Changed inputs for each body. `gateway` starts a thread and opens sockets for each.
const CASES: usize = 2000;
const CASES_OF_GATEWAY: usize = 100;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn span(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..start + self.below((bytes.len() - start).min(40) + 1)
    }
}

/// One of the corpus, changed in a few ways.
fn change(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    const TELLING: [u8; 12] = [0, 1, 2, 4, 8, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0xfe, 0xff];
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(5) {
        let at = random.below(input.len());
        match random.below(7) {
            0 => input.truncate(at),
            1 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            2 if !input.is_empty() => input[at] = TELLING[random.below(TELLING.len())],
            3 => input.insert(at, random.next() as u8),
            4 => {
                let span = random.span(&input);
                input.drain(span);
            }
            5 => {
                let span = random.span(&input);
                let again = input[span].to_vec();
                input.splice(at..at, again);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let span = random.span(other);
                input.splice(at..at, other[span].iter().copied());
            }
        }
    }
    input
}

fn run(name: &str, body: Body, input: &[u8], seed: u64) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        eprintln!("{name} fails on \"{}\"", input.escape_ascii());
        eprintln!(
            "repeat with {SEED}={seed} cargo test -p mirage-fuzz-bodies --test corpus {name}"
        );
        resume_unwind(panic);
    }
}

fn holds(name: &str) {
    let (_, body) = *BODIES.iter().find(|body| body.0 == name).unwrap();
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed
            .parse()
            .unwrap_or_else(|_| panic!("{SEED}={seed} is not a number")),
        Err(_) => RandomState::new().hash_one(name),
    };
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for input in &corpus {
        run(name, body, input, seed);
    }
    let mut random = Random(seed);
    let cases = if name == "gateway" {
        CASES_OF_GATEWAY
    } else {
        CASES
    };
    for _ in 0..cases {
        run(name, body, &change(&mut random, &corpus), seed);
    }
}

macro_rules! bodies {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

bodies! {
    arguments assets counters disk dns elf files gateway git_client git_server http_client http_server keys manifest
    objects packfile recording segments stack tasks words
}

#[test]
fn every_body_has_a_test_a_target_and_a_small_corpus() {
    let manifest = fs::read_to_string(folder().join("../Cargo.toml")).unwrap();
    let mut size = 0;
    for (name, _) in BODIES {
        assert!(TESTED.contains(&name), "{name} is not tested");
        assert!(
            manifest.contains(&format!("path = \"targets/{name}.rs\"")),
            "{name}: no target"
        );
        let files = corpus(name);
        assert!(
            (1..=48).contains(&files.len()),
            "{name}: {} files",
            files.len()
        );
        size += files.iter().map(Vec::len).sum::<usize>();
    }
    assert_eq!(fs::read_dir(folder()).unwrap().count(), BODIES.len());
    assert!(size < 300_000, "the corpus has {size} bytes");
}

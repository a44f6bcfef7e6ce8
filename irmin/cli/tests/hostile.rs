//! Repositories that are damaged: every command that reads ends, in time, with a code of the table.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Place, Random};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
    found.sort();
}

/// What reads, in all ways that there are.
const READS: &[&str] = &[
    "get a",
    "get d/f --json",
    "ls d",
    "tree",
    "log",
    "log topic -- d/f",
    "branches",
    "lcas main topic",
    "diff main topic",
    "merge --dry-run main topic",
    "dot",
    "svg",
    "watch --count 0",
    "export x.bundle",
    "fsck",
];

fn damage(place: &Place, folder: &str) {
    let number = |name, or| std::env::var(name).map_or(or, |text| text.parse().unwrap());
    let (first, runs): (u64, u64) = (number("SEED", 1), number("RUNS", 1));
    let root = place.path().join(folder);
    let mut all = Vec::new();
    files(&root, &mut all);
    all.retain(|path| !path.to_string_lossy().contains("/hooks/"));
    let config = place.path().canonicalize().unwrap();
    for seed in first..first + runs {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for path in &all {
            let whole = fs::read(path).unwrap();
            if whole.is_empty() {
                continue;
            }
            fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
            let kind = random.below(3);
            let at = random.below(whole.len());
            let mut bytes = whole.clone();
            match kind {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << random.below(8),
                _ => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            }
            fs::write(path, bytes).unwrap();
            for line in READS {
                let args: Vec<&str> = line.split(' ').collect();
                let mut command = place.command("timeout");
                command.args(["60", env!("CARGO_BIN_EXE_irmin")]).args(args);
                command.env("GIT_CEILING_DIRECTORIES", &config);
                let output = command.output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                let code = output.status.code();
                assert!(
                    matches!(code, Some(0 | 1 | 3)) && !error.contains("panicked"),
                    "SEED={seed}: {path:?}, {kind} at {at}: irmin {line}: {code:?}\n{error}"
                );
                let is_told = code != Some(3) || error.starts_with("error: ");
                assert!(is_told, "SEED={seed}: {path:?}: irmin {line}: {error}");
            }
            fs::write(path, &whole).unwrap();
        }
    }
    assert_eq!(place.irmin(&["fsck"]), "");
}

fn sample(place: &Place) {
    place.irmin(&["set", "a", &"base\n".repeat(50)]);
    place.irmin(&["set", "d/f", "x"]);
    place.irmin(&["branches", "--create", "topic"]);
    place.irmin(&["set", "a", &"ours\n".repeat(50)]);
    place.irmin(&["set", "b", "theirs", "--branch", "topic"]);
    place.irmin(&["merge", "topic"]);
}

#[test]
fn a_damaged_git_repository_is_read_as_far_as_it_goes() {
    let place = Place::of_git("sha1");
    sample(&place);
    place.git(&["gc", "-q"]);
    place.git(&["commit-graph", "write", "--reachable"]);
    place.git(&["pack-refs", "--all"]);
    place.irmin(&["set", "c", "loose"]);
    place.git(&["tag", "-a", "-m", "v", "v1"]);
    damage(&place, ".git");
}

#[test]
fn a_damaged_native_store_is_read_as_far_as_it_goes() {
    let place = Place::new("native", &[]);
    sample(&place);
    damage(&place, ".irmin");
}

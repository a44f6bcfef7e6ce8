//! `irmin fsck` of native stores with damage of any kind: it looks at all it can, says what is wrong, and
//! fails only where it could not look.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, Random};
use irmin::{Format, Info, Repo, Signature};
use irmin_pack::{Files, MIN_SEGMENT, Pack};

/// A store of several small segments, with history compressed in some of them.
fn sample(place: &Path) {
    let pack = Pack::create_with(Files::open(place).unwrap(), Format::Native, MIN_SEGMENT).unwrap();
    let pack = std::sync::Arc::new(pack);
    let main = Repo::new(pack.clone()).branch("main").unwrap();
    let mut random = Random(7);
    for n in 0..200 {
        let info = Info::new(Signature::new("Ada", "ada@example.org", n, 0), "Change");
        let key = format!("{}/{}", random.below(9), random.below(9));
        let value = format!("{n} ").repeat(random.below(600));
        main.change(&info, |edit| edit.set(&key, value.clone()))
            .unwrap();
        if n == 100 {
            pack.collect().unwrap();
            pack.collect().unwrap();
        }
    }
    irmin::Backend::flush(&*pack).unwrap();
}

#[test]
fn random_damage_is_told_and_what_is_left_looked_at_and_saved() {
    let number = |name, or| std::env::var(name).map_or(or, |text| text.parse().unwrap());
    let (first, runs): (u64, u64) = (number("SEED", 1), number("RUNS", 40));
    let whole = Place(tempfile::tempdir().unwrap());
    sample(whole.path());
    let mut files: Vec<_> = fs::read_dir(whole.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(whole.irmin(&["fsck"]), "");
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let place = Place(tempfile::tempdir().unwrap());
        for file in &files {
            fs::copy(file, place.path().join(file.file_name().unwrap())).unwrap();
        }
        for _ in 0..1 + random.below(2) {
            let file = files[random.below(files.len())].file_name().unwrap();
            let mut bytes = fs::read(place.path().join(file)).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes.truncate(at),
                1 => bytes[at] ^= 1 << random.below(8),
                _ => {
                    let end = bytes.len().min(at + random.below(9000));
                    bytes[at..end].fill_with(|| random.below(256) as u8);
                }
            }
            println!("{file:?} at {at}, {} bytes", bytes.len());
            fs::write(place.path().join(file), bytes).unwrap();
        }
        let (code, out, error) = place.try_irmin(&["fsck"]);
        assert!(code < 2, "{code}: {out}{error}");
        assert_eq!(code == 1, !out.is_empty(), "{out}");
        let (again, out, error) = place.try_irmin(&["fsck", "--repair"]);
        assert_eq!(again, code, "{out}{error}");
        let is_gone = out.contains("no segment can be read");
        let (after, out, error) = place.try_irmin(&["fsck"]);
        assert!(after <= code, "{out}{error}");
        assert!(is_gone || !out.contains("damaged"), "{out}");
        if code == 0 {
            place.irmin(&["log"]);
        }
    }
}

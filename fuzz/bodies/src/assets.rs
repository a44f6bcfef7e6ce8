use std::collections::BTreeSet;
use std::sync::Mutex;

use mirage_assets::Sealed;
use mirage_device::{Assets, Encoding};

/// A packed folder: whatever is accepted holds exactly the files that its own description finds.
pub fn assets(input: &[u8]) {
    let sealed = match Sealed::new(keep(input)) {
        Ok(sealed) => sealed,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let paths: Vec<&str> = sealed.paths().collect();
    assert!(paths.is_sorted_by(|a, b| a < b));
    let number = |at: usize| u32::from_le_bytes(input[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(paths.len(), number(12));
    let entries = 24 + number(16) * 8;
    for (place, path) in paths.iter().enumerate() {
        assert!(path.split('/').all(|part| !["", ".", ".."].contains(&part)));
        let part = |part: usize| {
            let at = entries + place * 40 + part * 8;
            &input[number(at)..][..number(at + 4)]
        };
        let asset = sealed.get(path).expect("a path that is listed is found");
        assert_eq!(path.as_bytes(), part(0));
        assert_eq!(asset.media_type.as_bytes(), part(1));
        assert_eq!(asset.etag.as_bytes(), part(2));
        assert_eq!(asset.bytes, part(3));
        match asset.encoded {
            None => assert!(part(4).is_empty()),
            Some((encoding, bytes)) => assert_eq!((encoding, bytes), (Encoding::Gzip, part(4))),
        }
        let shorter: String = path.chars().skip(1).collect();
        for other in [format!("{path}/"), format!("/{path}"), shorter] {
            assert_eq!(
                sealed.get(&other).is_some(),
                paths.contains(&other.as_str())
            );
        }
    }
}

/// A folder lies in its image for ever: so does each one here, once.
fn keep(bytes: &[u8]) -> &'static [u8] {
    static KEPT: Mutex<BTreeSet<&[u8]>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    match kept.get(bytes) {
        Some(known) => known,
        None => {
            let bytes: &'static [u8] = bytes.to_vec().leak();
            kept.insert(bytes);
            bytes
        }
    }
}

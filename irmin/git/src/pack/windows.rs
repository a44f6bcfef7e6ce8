//! Parts of packs that are read again and again.
//!
//! Objects that are asked for one after the other mostly lie near each other, hundreds in one part: then
//! no system call is made for each.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use bytes::Bytes;

/// Bytes of a window. Each begins at a multiple of this.
pub(crate) const WINDOW: u64 = 32 << 10;
/// So far each reaches into the next one, so that the header of an entry is in one piece.
const LAP: u64 = 64;
/// So many are kept: 1 MiB.
const KEPT: usize = 32;
/// A part is read as a whole when it was asked for before, as one of so many.
const LATELY: usize = 128;

/// Which part of which pack.
type Key = (u64, u64);

/// The windows that were used last.
#[derive(Default)]
pub(crate) struct Windows {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last that was used first.
    kept: VecDeque<(Key, Bytes)>,
    lately: VecDeque<Key>,
}

impl Windows {
    /// The window in which the byte at `at` of this pack lies, cut off at `end`; `None` if it is better
    /// read by itself: nothing near it was asked for lately, or it cannot be read.
    pub(crate) fn at(&self, pack: u64, at: u64, file: &File, end: u64) -> Option<Bytes> {
        let key = (pack, at / WINDOW);
        {
            let mut state = self.state.lock().expect(UNPOISONED);
            if let Some(found) = state.kept.iter().position(|(kept, _)| *kept == key) {
                let found = state.kept.remove(found)?;
                let window = found.1.clone();
                state.kept.push_front(found);
                return Some(window);
            }
            if !state.lately.contains(&key) {
                state.lately.truncate(LATELY - 1);
                state.lately.push_front(key);
                return None;
            }
        }
        let start = key.1 * WINDOW;
        let mut bytes = vec![0; (WINDOW + LAP).min(end - start) as usize];
        file.read_exact_at(&mut bytes, start).ok()?;
        let window = Bytes::from(bytes);
        let mut state = self.state.lock().expect(UNPOISONED);
        state.kept.truncate(KEPT - 1);
        state.kept.push_front((key, window.clone()));
        Some(window)
    }
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_bytes_of_the_file_and_a_header_in_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        let bytes: Vec<u8> = (0..100_003u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        let (windows, end) = (Windows::default(), 100_000);
        for number in [1, 2] {
            let edges = [0, 1, 2, 3].map(|edge| edge * WINDOW);
            for at in edges
                .iter()
                .flat_map(|edge| edge.saturating_sub(70)..edge + 70)
            {
                let window = windows
                    .at(number, at, &file, end)
                    .or_else(|| windows.at(number, at, &file, end));
                let window = window.unwrap();
                let rest = &window[(at % WINDOW) as usize..];
                assert!(rest.len() as u64 >= LAP.min(end - at), "{at}");
                assert_eq!(rest, &bytes[at as usize..][..rest.len()]);
            }
        }
        // What cannot be read as a whole is read by itself.
        assert!((0..3).all(|_| windows.at(3, 99_999, &file, 200_000).is_none()));
    }
}

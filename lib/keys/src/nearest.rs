/// Longer names are compared by nobody: a row of distances is then a fixed array.
const LONGEST: usize = 63;

/// The name most like `word`, if one is like it: about one slip in three letters.
pub(super) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .filter_map(|name| Some((distance(word.as_bytes(), name.as_bytes())?, name)))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The slips between `a` and `b`: letters changed, left out, put in, or two neighbours swapped
/// (optimal string alignment). `None` when one is too long to compare.
fn distance(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    // Rows of the table, the last two and the one being filled: entry `j` is the distance of
    // the letters of `a` read so far from the first `j` letters of `b`.
    let mut before = [0; LONGEST + 1];
    let mut last: [usize; LONGEST + 1] = core::array::from_fn(|j| j);
    for (i, &letter) in a.iter().enumerate() {
        let mut row = [0; LONGEST + 1];
        row[0] = i + 1;
        for (j, &other) in b.iter().enumerate() {
            let changed = last[j] + usize::from(letter != other);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == b[j - 1] && a[i - 1] == other {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = last;
        last = row;
    }
    Some(last[b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_a_letter_changed_left_out_put_in_or_swapped() {
        for (a, b, slips) in [
            ("", "", 0),
            ("port", "port", 0),
            ("port", "", 4),
            ("", "port", 4),
            ("prot", "port", 1),
            ("pot", "port", 1),
            ("portt", "port", 1),
            ("part", "port", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), Some(slips), "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), Some(slips), "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_nothing_when_none_is_near() {
        let names = ["port", "stack.ipv4", "stack.ipv6", "log"];
        let nearest = |word| nearest(word, names.into_iter());
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("stack.ip4"), Some("stack.ipv4"));
        assert_eq!(nearest("stack.ipv"), Some("stack.ipv4"));
        assert_eq!(nearest("lag"), Some("log"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(core::str::from_utf8(&[b'p'; 500]).unwrap()), None);
    }
}

//! Deltas: an object told as pieces of another and new bytes.

/// The object that a delta makes of its base.
///
/// # Errors
/// What is wrong with the delta; also if the object would have more than `largest` bytes.
pub fn apply(base: &[u8], delta: &[u8], largest: u64) -> Result<Vec<u8>, &'static str> {
    let mut rest = delta;
    if read_size(&mut rest)? != base.len() as u64 {
        return Err("a delta is for another base");
    }
    let size = read_size(&mut rest)?;
    if size > largest {
        return Err("a delta makes more bytes than the limit allows");
    }
    // What is claimed is not taken as given before bytes have come.
    let mut out = Vec::with_capacity((size as usize).min(base.len() + delta.len()));
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        let piece = if code & 0x80 != 0 {
            let (offset, length) = read_copy(code, &mut rest)?;
            offset
                .checked_add(length)
                .and_then(|end| base.get(offset..end))
                .ok_or("a delta copies from beyond its base")?
        } else {
            // Code 0 is kept for later and means nothing.
            if code == 0 || usize::from(code) > rest.len() {
                return Err("a delta has a broken instruction");
            }
            let (piece, after) = rest.split_at(usize::from(code));
            rest = after;
            piece
        };
        if piece.len() as u64 > size - out.len() as u64 {
            return Err("a delta makes more than it says");
        }
        out.extend_from_slice(piece);
    }
    if out.len() as u64 != size {
        return Err("a delta makes less than it says");
    }
    Ok(out)
}

/// Reads one of the two sizes at the beginning of a delta: that of its base, then that of what it makes.
///
/// # Errors
/// What is wrong with it.
pub fn read_size(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let (mut size, mut shift) = (0u64, 0);
    loop {
        let (&byte, after) = rest.split_first().ok_or("a delta is cut off")?;
        *rest = after;
        if shift > 56 {
            return Err("a delta has an absurd size");
        }
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

fn read_copy(code: u8, rest: &mut &[u8]) -> Result<(usize, usize), &'static str> {
    let mut numbers = [0u8; 7];
    for (bit, byte) in numbers.iter_mut().enumerate() {
        if code & 1 << bit != 0 {
            let (&value, after) = rest.split_first().ok_or("a delta is cut off")?;
            (*byte, *rest) = (value, after);
        }
    }
    let [a, b, c, d, x, y, z] = numbers;
    let length = u32::from_le_bytes([x, y, z, 0]) as usize;
    let offset = u32::from_le_bytes([a, b, c, d]) as usize;
    Ok((offset, if length == 0 { 0x10000 } else { length }))
}

/// A delta that makes `target` of `base`, if there is one of at most `longest` bytes.
///
/// Finds what is common at both ends and, in between, runs in which 16 bytes are the same as at a
/// multiple of 16 in `base`: enough for a directory with some entries changed, and for a text
/// with some lines changed.
pub fn make(base: &[u8], target: &[u8], longest: usize) -> Option<Vec<u8>> {
    // Offsets in a delta have 32 bits.
    if base.len() > u32::MAX as usize || target.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(64);
    push_size(base.len(), &mut out);
    push_size(target.len(), &mut out);
    let head = common(base.iter().zip(target));
    let tail = common(base[head..].iter().rev().zip(target[head..].iter().rev()));
    push_copy(0, head, &mut out);
    let middle = &target[head..target.len() - tail];
    if !push_middle(base, middle, longest, &mut out) {
        return None;
    }
    push_copy(base.len() - tail, tail, &mut out);
    (out.len() <= longest).then_some(out)
}

fn common<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(a, b)| a == b).count()
}

const BLOCK: usize = 16;

/// Tells `target` by pieces of `base`. Whether it stayed short.
fn push_middle(base: &[u8], target: &[u8], longest: usize, out: &mut Vec<u8>) -> bool {
    let blocks = base.len() / BLOCK;
    let (mut fresh, mut at) = (0, 0);
    if blocks > 0 && target.len() >= 2 * BLOCK {
        let bits = usize::BITS - blocks.leading_zeros() + 1;
        let slot = |block: &[u8]| {
            let mut key = [0; 8];
            key.copy_from_slice(&block[..8]);
            let mut more = [0; 8];
            more.copy_from_slice(&block[8..BLOCK]);
            let mixed = u64::from_le_bytes(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ u64::from_le_bytes(more).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
            (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
        };
        let mut places = vec![u32::MAX; 1 << bits];
        for block in 0..blocks {
            places[slot(&base[block * BLOCK..])] = (block * BLOCK) as u32;
        }
        while at + BLOCK <= target.len() {
            let place = places[slot(&target[at..])] as usize;
            if place < base.len() && base[place..place + BLOCK] == target[at..at + BLOCK] {
                let back = common(
                    base[..place]
                        .iter()
                        .rev()
                        .zip(target[fresh..at].iter().rev()),
                );
                let length = back + common(base[place..].iter().zip(&target[at..]));
                push_new(&target[fresh..at - back], out);
                push_copy(place - back, length, out);
                at += length - back;
                fresh = at;
            } else {
                at += 1;
            }
            if out.len() + at - fresh > longest {
                return false;
            }
        }
    }
    push_new(&target[fresh..], out);
    out.len() <= longest
}

fn push_new(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(127) {
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
}

fn push_copy(mut offset: usize, mut length: usize, out: &mut Vec<u8>) {
    while length > 0 {
        // Lengths of two bytes are what version 2 of packs defines.
        let piece = length.min(0x10000);
        let numbers = (offset as u32).to_le_bytes();
        let sizes = if piece == 0x10000 {
            [0, 0]
        } else {
            (piece as u16).to_le_bytes()
        };
        let code_at = out.len();
        out.push(0x80);
        for (bit, byte) in numbers.into_iter().chain(sizes).enumerate() {
            if byte != 0 {
                out[code_at] |= 1 << bit;
                out.push(byte);
            }
        }
        offset += piece;
        length -= piece;
    }
}

fn push_size(mut size: usize, out: &mut Vec<u8>) {
    while size > 0x7f {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_entry_of_a_directory_costs_some_bytes() {
        let base: Vec<u8> = (0..3400u32).map(|n| ((n * n) >> 5) as u8).collect();
        let mut target = base.clone();
        target[1700..1720].copy_from_slice(&[9; 20]);
        let delta = make(&base, &target, 100).unwrap();
        assert!(delta.len() < 40, "{}", delta.len());
        assert_eq!(apply(&base, &delta, 9999).unwrap(), target);
        target[300..320].copy_from_slice(&[7; 20]);
        target.drain(900..930);
        let delta = make(&base, &target, 200).unwrap();
        assert!(delta.len() < 100, "{}", delta.len());
        assert_eq!(apply(&base, &delta, 9999).unwrap(), target);
    }

    #[test]
    fn long_copies_are_told_in_pieces() {
        let base: Vec<u8> = (0..300_000u32)
            .map(|n| (n.wrapping_mul(n) >> 9) as u8)
            .collect();
        let target = [&base[..], b"x", &base[70_000..]].concat();
        let delta = make(&base, &target, 1000).unwrap();
        assert_eq!(apply(&base, &delta, 1 << 20).unwrap(), target);
        assert!(apply(&base, &delta, 1000).is_err(), "larger than allowed");
    }

    proptest! {
        #[test]
        fn a_delta_makes_its_target(base: Vec<u8>, edits: Vec<(u16, Vec<u8>, u8)>) {
            let mut target = base.repeat(3);
            let base = base.repeat(2);
            for (at, new, gone) in edits {
                let at = usize::from(at) % (target.len() + 1);
                let end = (at + usize::from(gone)).min(target.len());
                target.splice(at..end, new);
            }
            if let Some(delta) = make(&base, &target, usize::MAX) {
                prop_assert_eq!(apply(&base, &delta, u64::MAX).unwrap(), target);
            }
        }

        #[test]
        fn no_delta_makes_apply_panic(base: Vec<u8>, delta: Vec<u8>) {
            let _ = apply(&base, &delta, 1 << 16);
            let sized = [&[base.len() as u8 & 0x7f, 100][..], &delta].concat();
            let _ = apply(&base[..base.len() & 0x7f], &sized, 1 << 16);
        }
    }
}

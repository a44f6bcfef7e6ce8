//! Numbers and checksums.

/// The most bytes before an event's payload: a byte, the device, two numbers, the checksum.
pub(crate) const LONGEST: usize = 1 + 1 + 10 + 10 + 4;

/// What stands before an event's payload.
pub(crate) struct Line {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Line {
    pub fn new() -> Self {
        Self {
            bytes: [0; LONGEST],
            len: 0,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
}

/// Reads a number. `None` when the bytes end in it, or it has more than 64 bits.
pub(crate) fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// A checksum that finds what differs, not what somebody forges: four lanes of multiplications,
/// so that it costs less than a copy.
pub(crate) struct Checksum([u64; 4]);

impl Checksum {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    pub fn new() -> Self {
        Self([1, 2, 3, 4])
    }

    pub fn add(&mut self, bytes: &[u8]) {
        let mix = |lane: u64, word: [u8; 8]| {
            let mixed = lane ^ u64::from_le_bytes(word);
            mixed.wrapping_mul(Self::FACTOR).rotate_left(29)
        };
        let [mut a, mut b, mut c, mut d] = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        let (blocks, words) = words.as_chunks::<4>();
        // Four multiplications at a time: none waits for another.
        for &[first, second, third, fourth] in blocks {
            (a, b) = (mix(a, first), mix(b, second));
            (c, d) = (mix(c, third), mix(d, fourth));
        }
        for word in words {
            b = mix(b, *word);
        }
        for byte in rest {
            c = mix(c, [*byte, 0, 0, 0, 0, 0, 0, 0]);
        }
        // The length tells apart what was added in other pieces.
        d = mix(d, (bytes.len() as u64).to_le_bytes());
        self.0 = [a, b, c, d];
    }

    pub fn finish(&self) -> u32 {
        let sum = self.0.iter().fold(0u64, |sum, lane| {
            (sum.rotate_left(23) ^ lane).wrapping_mul(Self::FACTOR)
        });
        (sum >> 32) as u32
    }

    pub fn of(bytes: &[u8]) -> u32 {
        let mut checksum = Self::new();
        checksum.add(bytes);
        checksum.finish()
    }
}

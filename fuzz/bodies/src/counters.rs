use mirage_counters::{LEN, MAGIC, MAX_DEVICE, MAX_NAME, Prometheus, SLOTS, Snapshot, VERSION};

use crate::input::Input;

/// A table of counters with any names and any bytes changed, as a hostile unikernel may leave it:
/// what is read stands there, and its text has one line for each counter.
pub fn counters(input: &[u8]) {
    let mut input = Input::new(input);
    let changes: Vec<(u16, u8)> = (0..input.below(5))
        .map(|_| (input.half(), input.byte()))
        .collect();
    let mut table = vec![0; LEN * 8];
    let mut put =
        |at: usize, word: u64| table[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
    put(0, MAGIC);
    put(1, VERSION);
    let mut slots = Vec::new();
    while !input.is_empty() && slots.len() < SLOTS {
        let names = [input.counted(), input.counted()];
        let value = u64::from(input.half());
        let slot = slots.len();
        put(8 + slot, value);
        let at = 8 + SLOTS + 12 * slot;
        put(at, names[0].len() as u64 | (names[1].len() as u64) << 8);
        let places = [at + 1, at + 1 + MAX_DEVICE / 8];
        for ((name, place), most) in names.iter().zip(places).zip([MAX_DEVICE, MAX_NAME]) {
            for (number, bytes) in name[..name.len().min(most)].chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                put(place + number, u64::from_le_bytes(word));
            }
        }
        slots.push((names, value));
    }
    put(2, slots.len() as u64);
    for (at, byte) in &changes {
        let at = usize::from(*at) % table.len();
        table[at] = *byte;
    }
    let snapshot = match Snapshot::read(&table) {
        Ok(snapshot) => snapshot,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let samples: Vec<_> = snapshot.samples().collect();
    if changes.is_empty() {
        assert_eq!(samples.len(), slots.len());
        for (sample, (names, value)) in samples.iter().zip(&slots) {
            assert_eq!([sample.device.as_bytes(), sample.name.as_bytes()], *names);
            assert_eq!(sample.value, *value);
        }
    }
    let mut text = Prometheus::new();
    for sample in &samples {
        let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(
            printable(sample.device) && printable(sample.name),
            "{sample:?}"
        );
        text.add(&[], *sample);
    }
    let text = text.to_string();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    // One whose own label is called `device` has no place in the text.
    let shown = samples
        .iter()
        .filter(|sample| !sample.label().starts_with("device="));
    assert_eq!(lines.clone().count(), shown.count(), "{text}");
    for line in lines {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(name.starts_with("mirage_") && name.ends_with('}') && value.parse::<u64>().is_ok());
    }
}

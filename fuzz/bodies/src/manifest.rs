use mirage_manifest::{Manifest, OWNER, TYPE, VERSION};

/// The notes of an image: what is read is valid, and read again when it is written afresh.
pub fn manifest(input: &[u8]) {
    let manifest = match Manifest::parse(input) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let devices: Vec<_> = manifest.devices().collect();
    assert_eq!(devices.len(), manifest.devices().len());
    assert!(devices.len() <= 63);
    let mut description = vec![VERSION, devices.len() as u8];
    for (at, device) in devices.iter().enumerate() {
        assert!((1..=31).contains(&device.name.len()));
        assert!(device.name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte)
        }));
        assert!(devices[..at].iter().all(|other| other.name != device.name));
        let kind = match device.kind.name() {
            "net" => 1,
            "block" => 2,
            other => panic!("a device of the kind {other}"),
        };
        description.extend([kind, device.name.len() as u8]);
        description.extend(device.name.bytes());
    }
    let mut note = Vec::new();
    note.extend((OWNER.len() as u32).to_le_bytes());
    note.extend((description.len() as u32).to_le_bytes());
    note.extend(TYPE.to_le_bytes());
    for part in [&OWNER[..], &description] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    let again = Manifest::parse(&note).unwrap();
    assert!(again.devices().eq(devices));
    assert!(
        input.windows(note.len()).any(|window| window == note),
        "what was read does not stand in the notes"
    );
}

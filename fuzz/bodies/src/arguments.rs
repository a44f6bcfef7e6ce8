use mirage_tender_process::arguments::{Arguments, MEMORY, Resource, Source};

/// The tender's command line, its words separated by zeros: what is read is within its bounds,
/// and reads the same when it is written out in full.
pub fn arguments(input: &[u8]) {
    let words: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    let arguments = match Arguments::parse(words.iter().copied()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.to_string();
            return assert!(
                !text.is_empty() && !text.chars().any(char::is_control),
                "{text:?}"
            );
        }
    };
    assert!(MEMORY.contains(&arguments.memory) && arguments.memory.is_multiple_of(4096));
    assert!(words.len() > arguments.image_at);
    let mut full: Vec<Vec<u8>> = vec![b"tender".to_vec(), b"--memory".to_vec()];
    full.push(arguments.memory.to_string().into());
    if let Some(parent) = arguments.parent {
        full.extend([b"--parent".to_vec(), parent.to_string().into()]);
    }
    if arguments.all_namespaces {
        full.push(b"--all-namespaces".to_vec());
    }
    let mut names = Vec::new();
    for attachment in arguments.attachments() {
        assert!(
            !names.contains(&attachment.name),
            "{} twice",
            attachment.name
        );
        names.push(attachment.name);
        full.extend(written(attachment.name, &attachment.resource));
    }
    full.push(match arguments.image {
        Source::Path(path) => path.to_vec(),
        Source::Descriptor(number) => {
            assert!(number >= 3);
            format!("fd:{number}").into()
        }
    });
    let mut again = Arguments::parse(full.iter().map(Vec::as_slice)).unwrap();
    again.image_at = arguments.image_at;
    assert_eq!(again, arguments);
}

fn written(name: &str, resource: &Resource<'_>) -> [Vec<u8>; 2] {
    let start = format!("{name}=");
    let mac = |mac: &Option<_>| {
        mac.map_or(String::new(), |mac: mirage_tender_process::mac::Mac| {
            format!(",mac={mac}")
        })
    };
    match resource {
        Resource::Tap {
            interface,
            mac: address,
        } => {
            assert!((1..16).contains(&interface.len()) && !interface.contains(&b'/'));
            let value = [
                start.as_bytes(),
                b"tap:",
                interface,
                mac(address).as_bytes(),
            ]
            .concat();
            [b"--net".to_vec(), value]
        }
        Resource::Socket {
            descriptor,
            mac: address,
            mtu,
        } => {
            assert!(*descriptor >= 3 && (68..=65_535).contains(mtu));
            let value = format!("{start}fd:{descriptor}{},mtu={mtu}", mac(address));
            [b"--net".to_vec(), value.into()]
        }
        Resource::File { path, writable } => {
            let end: &[u8] = if *writable { b"" } else { b",ro" };
            [b"--block".to_vec(), [start.as_bytes(), path, end].concat()]
        }
    }
}

//! What the command line says of a unikernel's devices.

use std::path::PathBuf;
use std::str::FromStr;

/// `--tap [DEVICE=]TAP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// The device; the only one when it is not named.
    pub device: Option<String>,
    /// The tap.
    pub tap: String,
}

impl FromStr for Attach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (device, tap) = match text.split_once('=') {
            Some((device, tap)) => (Some(device.to_string()), tap),
            None => (None, text),
        };
        // As Linux has it (dev_valid_name).
        let fits = (1..16).contains(&tap.len())
            && tap
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"/:%".contains(&b))
            && !matches!(tap, "." | "..");
        if fits && device.as_deref() != Some("") {
            Ok(Self {
                device,
                tap: tap.into(),
            })
        } else {
            Err(format!(
                "`{text}` is not of the form [DEVICE=]TAP, for example tap0 or net=tap0"
            ))
        }
    }
}

/// `--block DEVICE=FILE[,ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFile {
    /// The device.
    pub device: String,
    /// The file.
    pub file: PathBuf,
    /// The unikernel may only read it.
    pub read_only: bool,
}

impl FromStr for BlockFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, read_only) = match text.strip_suffix(",ro") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match rest.split_once('=') {
            Some((device, file)) if !device.is_empty() && !file.is_empty() => Ok(Self {
                device: device.into(),
                file: file.into(),
                read_only,
            }),
            _ => Err(format!(
                "`{text}` is not of the form DEVICE=FILE[,ro], for example disk=store.img"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_may_be_given_to_a_device_by_name() {
        assert_eq!(
            "net=tap0".parse(),
            Ok(Attach {
                device: Some("net".into()),
                tap: "tap0".into()
            })
        );
        assert_eq!(
            "tap0".parse(),
            Ok(Attach {
                device: None,
                tap: "tap0".into()
            })
        );
        for text in ["", "=tap0", "net=", "a/b", "0123456789abcdef", "tap%d"] {
            assert!(text.parse::<Attach>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_block_device_is_writable_unless_it_says_ro() {
        let block: BlockFile = "disk=a=b.img".parse().unwrap();
        assert_eq!(
            (block.file.to_str(), block.read_only),
            (Some("a=b.img"), false)
        );
        let block: BlockFile = "disk=/x,ro".parse().unwrap();
        assert_eq!((block.file.to_str(), block.read_only), (Some("/x"), true));
        for text in ["", "disk", "=x", "disk=", "disk=,ro"] {
            assert!(text.parse::<BlockFile>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_given_to_a_device_is_what_stands_behind_its_name(text in "[a-z=,./%ro ]{0,24}") {
            if let Ok(Attach { device, tap }) = text.parse() {
                let start = device.map_or(String::new(), |device| device + "=");
                assert_eq!(start + &tap, text);
                assert!((1..16).contains(&tap.len()) && !tap.contains(['/', ' ', '%']));
            }
            if let Ok(BlockFile { device, file, read_only }) = text.parse() {
                let end = if read_only { ",ro" } else { "" };
                assert_eq!(format!("{device}={}{end}", file.display()), text);
                assert!(!device.is_empty() && !device.contains('='));
            }
        }
    }
}

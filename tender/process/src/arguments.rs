//! The command line.
//!
//! ```text
//! mirage-tender-process [--memory BYTES] [--parent PID] [--hold] [--all-namespaces]
//!     [--net NAME=tap:INTERFACE[,mac=MAC]]... [--net NAME=fd:N[,mac=MAC][,mtu=BYTES]]...
//!     [--block NAME=FILE[,ro]]... [--counters fd:N] [--record fd:N | --replay fd:N]
//!     IMAGE [KEY=VALUE]...
//! ```
//!
//! IMAGE is a file or `fd:N`. What follows it is the image's own and goes to it as it is.

use mirage_manifest::{Device, Kind, MAX_DEVICES};

use crate::error::Error;
use crate::mac::Mac;
use crate::text::{Word, number, split_once};

/// Memory where the command line says nothing: 32 MiB.
pub const DEFAULT_MEMORY: u64 = 32 << 20;
/// The least and the most memory.
pub const MEMORY: core::ops::RangeInclusive<u64> = 64 << 10..=1 << 44;
const PAGE: u64 = 4096;

/// The packet sizes a network device may have: the least that IPv4 asks of a link (RFC 791
/// §3.2), the most that an IP packet has.
const MTU: core::ops::RangeInclusive<u64> = 68..=65_535;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments<'a> {
    /// Bytes of heap the image may map, whole pages.
    pub memory: u64,
    /// The process to die with: the tender's parent.
    pub parent: Option<u32>,
    /// Begin only when the standard input tells to.
    pub hold: bool,
    /// Enter namespaces whose making takes long, too.
    pub all_namespaces: bool,
    /// The descriptor of the file for counters, at least 3.
    pub counters: Option<u32>,
    /// The descriptor of the recording, at least 3.
    pub record: Option<u32>,
    /// The recording is to be repeated: every answer is in it, so no device is attached.
    pub replay: bool,
    /// Where the image is.
    pub image: Source<'a>,
    /// Which word of the command line IMAGE is, counted from 0, the program's name.
    pub image_at: usize,
    attachments: [Option<Attachment<'a>>; MAX_DEVICES],
}

/// A file by its name, or one that is open already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// Its path.
    Path(&'a [u8]),
    /// Its descriptor, at least 3.
    Descriptor(u32),
}

/// A host resource for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// The device.
    pub name: &'a str,
    /// What it is attached to.
    pub resource: Resource<'a>,
}

/// What a device can be attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A tap interface that exists.
    Tap {
        /// Its name.
        interface: &'a [u8],
        /// The guest's address; derived where none is given.
        mac: Option<Mac>,
    },
    /// A socket of messages: each is a virtio header and a frame, checksums and large segments
    /// left as they are.
    Socket {
        /// Its descriptor, at least 3.
        descriptor: u32,
        /// The guest's address; derived where none is given.
        mac: Option<Mac>,
        /// The largest IP packet in bytes.
        mtu: u32,
    },
    /// A file or block device.
    File {
        /// Its path.
        path: &'a [u8],
        /// The image may write to it.
        writable: bool,
    },
}

impl Resource<'_> {
    /// The kind of device it suits.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Tap { .. } | Self::Socket { .. } => Kind::Net,
            Self::File { .. } => Kind::Block,
        }
    }
}

impl<'a> Arguments<'a> {
    /// Reads the command line, the program's own name first.
    pub fn parse(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error<'a>> {
        let mut memory = None;
        let mut parent = None;
        let mut hold = false;
        let mut all_namespaces = false;
        let (mut counters, mut record, mut replay) = (None, None, false);
        let mut attachments = [None; MAX_DEVICES];
        let mut words = words.into_iter().enumerate().skip(1);
        let (image_at, image) = loop {
            let (at, word) = words.next().ok_or(Error::NoImage)?;
            let mut value = || {
                let (_, value) = words.next().ok_or(Error::NoValue(Word(word)))?;
                Ok(value)
            };
            let attachment = match word {
                b"--memory" => {
                    let bytes = parse_memory(value()?)?;
                    if memory.replace(bytes).is_some() {
                        return Err(Error::Twice(Word(word)));
                    }
                    continue;
                }
                b"--parent" => {
                    let process = parse_parent(value()?)?;
                    if parent.replace(process).is_some() {
                        return Err(Error::Twice(Word(word)));
                    }
                    continue;
                }
                b"--hold" => {
                    hold = true;
                    continue;
                }
                b"--all-namespaces" => {
                    all_namespaces = true;
                    continue;
                }
                b"--counters" => {
                    let descriptor = parse_shared(word, value()?)?;
                    if counters.replace(descriptor).is_some() {
                        return Err(Error::Twice(Word(word)));
                    }
                    continue;
                }
                b"--record" | b"--replay" => {
                    let descriptor = parse_shared(word, value()?)?;
                    if record.replace(descriptor).is_some() {
                        return Err(Error::RecordTwice);
                    }
                    replay = word == b"--replay";
                    continue;
                }
                b"--net" => parse_net(value()?)?,
                b"--block" => parse_block(value()?)?,
                [b'-', ..] => return Err(Error::UnknownOption(Word(word))),
                image => break (at, image),
            };
            add(&mut attachments, attachment)?;
        };
        let image = match image.strip_prefix(b"fd:") {
            Some(word) => Source::Descriptor(parse_descriptor(word)?),
            None => Source::Path(image),
        };
        if replay && attachments.iter().any(Option::is_some) {
            return Err(Error::ReplayWithDevices);
        }
        Ok(Self {
            memory: memory.unwrap_or(DEFAULT_MEMORY),
            parent,
            hold,
            all_namespaces,
            counters,
            record,
            replay,
            image,
            image_at,
            attachments,
        })
    }

    /// What is given, in the order of the command line.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment<'a>> {
        self.attachments.iter().flatten()
    }
}

/// Puts an attachment into the first free place, unless its device has one already.
fn add<'a>(
    attachments: &mut [Option<Attachment<'a>>],
    attachment: Attachment<'a>,
) -> Result<(), Error<'a>> {
    for place in attachments {
        match place {
            None => {
                *place = Some(attachment);
                return Ok(());
            }
            Some(other) if other.name == attachment.name => {
                return Err(Error::DeviceTwice(attachment.name));
            }
            Some(_) => {}
        }
    }
    Err(Error::TooManyDevices)
}

fn parse_memory(word: &[u8]) -> Result<u64, Error<'_>> {
    number(word)
        .filter(|bytes| MEMORY.contains(bytes) && bytes.is_multiple_of(PAGE))
        .ok_or(Error::Memory(Word(word)))
}

fn parse_parent(word: &[u8]) -> Result<u32, Error<'_>> {
    number(word)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=i32::MAX as u32).contains(number))
        .ok_or(Error::Parent(Word(word)))
}

fn parse_descriptor(word: &[u8]) -> Result<u32, Error<'_>> {
    number(word)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (3..=i32::MAX as u32).contains(number))
        .ok_or(Error::Descriptor(Word(word)))
}

/// `fd:N`, the value of `option`.
fn parse_shared<'a>(option: &'a [u8], word: &'a [u8]) -> Result<u32, Error<'a>> {
    let descriptor = word
        .strip_prefix(b"fd:")
        .ok_or(Error::Shared(Word(option), Word(word)))?;
    parse_descriptor(descriptor)
}

/// `NAME=` and the rest.
fn parse_name(word: &[u8]) -> Option<(&str, &[u8])> {
    let (name, rest) = split_once(word, b'=')?;
    if !Device::is_name(name) {
        return None;
    }
    Some((core::str::from_utf8(name).ok()?, rest))
}

fn parse_net(word: &[u8]) -> Result<Attachment<'_>, Error<'_>> {
    let wrong = Error::Net(Word(word));
    let (name, rest) = parse_name(word).ok_or(wrong)?;
    let (target, mut options) = split_once(rest, b',').unwrap_or((rest, b""));
    let (mut mac, mut mtu) = (None, None);
    while !options.is_empty() {
        let (option, after) = split_once(options, b',').unwrap_or((options, b""));
        options = after;
        match split_once(option, b'=') {
            Some((b"mac", value)) if mac.is_none() => {
                mac = Some(Mac::parse(value).ok_or(Error::Mac(Word(value)))?);
            }
            Some((b"mtu", value)) if mtu.is_none() => {
                let bytes = number(value).filter(|bytes| MTU.contains(bytes));
                mtu = Some(bytes.ok_or(Error::Mtu(Word(value)))? as u32);
            }
            _ => return Err(wrong),
        }
    }
    let resource = match split_once(target, b':') {
        // A tap's packet size is the interface's own.
        Some((b"tap", interface)) if mtu.is_none() => {
            if !is_interface(interface) {
                return Err(Error::Interface(Word(interface)));
            }
            Resource::Tap { interface, mac }
        }
        Some((b"fd", descriptor)) => Resource::Socket {
            descriptor: parse_descriptor(descriptor)?,
            mac,
            mtu: mtu.unwrap_or(1500),
        },
        _ => return Err(wrong),
    };
    Ok(Attachment { name, resource })
}

/// As Linux has it (dev_valid_name), and no `%`: that asks the kernel to invent a name.
fn is_interface(name: &[u8]) -> bool {
    (1..16).contains(&name.len())
        && name != b"."
        && name != b".."
        && name
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(byte))
}

fn parse_block(word: &[u8]) -> Result<Attachment<'_>, Error<'_>> {
    let (name, rest) = parse_name(word).ok_or(Error::Block(Word(word)))?;
    let (path, writable) = match rest.strip_suffix(b",ro") {
        Some(path) => (path, false),
        None => (rest, true),
    };
    if path.is_empty() {
        return Err(Error::Block(Word(word)));
    }
    Ok(Attachment {
        name,
        resource: Resource::File { path, writable },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn parse<'a>(words: &[&'a str]) -> Result<Arguments<'a>, String> {
        let words: Vec<&[u8]> = ["tender"]
            .iter()
            .chain(words)
            .map(|w| w.as_bytes())
            .collect();
        Arguments::parse(words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_command_line_is_read() {
        let arguments = parse(&[
            "--memory",
            "65536",
            "--net",
            "net=tap:tap0",
            "--net",
            "up=fd:7,mtu=9000,mac=02:00:00:00:00:01",
            "--block",
            "disk=a,b",
            "--all-namespaces",
            "--counters",
            "fd:8",
            "--record",
            "fd:9",
            "--hold",
            "--block",
            "cd=x=y,ro",
            "site.img",
            "port=80",
            "--memory",
        ])
        .unwrap();
        assert_eq!(arguments.memory, 65_536);
        assert!(arguments.all_namespaces && arguments.hold);
        assert_eq!(arguments.image, Source::Path(b"site.img"));
        assert_eq!(arguments.image_at, 17);
        assert_eq!(arguments.counters, Some(8));
        assert_eq!((arguments.record, arguments.replay), (Some(9), false));
        let given: Vec<_> = arguments.attachments().collect();
        assert_eq!(
            given,
            [
                &Attachment {
                    name: "net",
                    resource: Resource::Tap {
                        interface: b"tap0",
                        mac: None
                    }
                },
                &Attachment {
                    name: "up",
                    resource: Resource::Socket {
                        descriptor: 7,
                        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
                        mtu: 9000
                    }
                },
                &Attachment {
                    name: "disk",
                    resource: Resource::File {
                        path: b"a,b",
                        writable: true
                    }
                },
                &Attachment {
                    name: "cd",
                    resource: Resource::File {
                        path: b"x=y",
                        writable: false
                    }
                },
            ]
        );
    }

    #[test]
    fn a_recording_is_repeated_without_devices() {
        let arguments = parse(&["--replay", "fd:9", "i"]).unwrap();
        assert_eq!((arguments.record, arguments.replay), (Some(9), true));
    }

    #[test]
    fn an_image_alone_gets_the_defaults() {
        let arguments = parse(&["fd:3"]).unwrap();
        assert_eq!(arguments.memory, 32 << 20);
        assert_eq!(arguments.image, Source::Descriptor(3));
        assert_eq!(arguments.image_at, 1);
        assert!(!arguments.all_namespaces && !arguments.hold);
        assert_eq!((arguments.counters, arguments.record), (None, None));
        assert_eq!(arguments.attachments().count(), 0);
    }

    #[test]
    fn every_wrong_word_is_named() {
        let long = "x".repeat(32) + "=tap:tap0";
        let cases: &[(&[&str], &str)] = &[
            (&[], "no image"),
            (&["--memory", "65536"], "no image"),
            (&["--memory"], "--memory needs a value"),
            (&["--parent", "0", "i"], "--parent 0"),
            (&["--parent", "x", "i"], "--parent x"),
            (&["--parent", "2147483648", "i"], "--parent 2147483648"),
            (&["--net"], "--net needs a value"),
            (&["--block"], "--block needs a value"),
            (&["--mem", "1", "i"], "unknown option --mem"),
            (&["-"], "unknown option -"),
            (&["--counters", "8", "i"], "--counters 8 is not of the form"),
            (&["--counters", "fd:1", "i"], "descriptor 1"),
            (
                &["--counters", "fd:8", "--counters", "fd:9", "i"],
                "--counters is given twice",
            ),
            (&["--record", "/x", "i"], "--record /x is not of the form"),
            (
                &["--record", "fd:8", "--replay", "fd:9", "i"],
                "either records or repeats",
            ),
            (
                &["--net", "net=fd:3", "--replay", "fd:9", "i"],
                "remove the options that give devices",
            ),
            (
                &["--memory", "65536", "--memory", "65536", "i"],
                "--memory is given twice",
            ),
            (&["--memory", "32M", "i"], "32M"),
            (&["--memory", "0", "i"], "0"),
            (&["--memory", "61440", "i"], "61440"),
            (&["--memory", "65537", "i"], "65537"),
            (&["--memory", "17592186048512", "i"], "17592186048512"),
            (
                &["--memory", "99999999999999999999", "i"],
                "99999999999999999999",
            ),
            (&["--net", "net", "i"], "--net net"),
            (&["--net", "=tap:tap0", "i"], "--net =tap:tap0"),
            (&["--net", "Net=tap:tap0", "i"], "--net Net=tap:tap0"),
            (&["--net", &long, "i"], &long),
            (&["--net", "net=tap0", "i"], "--net net=tap0"),
            (&["--net", "net=veth:tap0", "i"], "--net net=veth:tap0"),
            (&["--net", "net=tap:", "i"], "interface"),
            (&["--net", "net=tap:tap%d", "i"], "tap%d"),
            (
                &["--net", "net=tap:0123456789abcdef", "i"],
                "0123456789abcdef",
            ),
            (&["--net", "net=tap:a/b", "i"], "a/b"),
            (&["--net", "net=tap:..", "i"], ".."),
            (
                &["--net", "net=tap:tap0,mtu=1500", "i"],
                "--net net=tap:tap0,mtu=1500",
            ),
            (&["--net", "net=tap:tap0,ro", "i"], "--net net=tap:tap0,ro"),
            (&["--net", "net=fd:2", "i"], "descriptor 2"),
            (&["--net", "net=fd:-1", "i"], "descriptor -1"),
            (
                &["--net", "net=fd:4294967296", "i"],
                "descriptor 4294967296",
            ),
            (
                &["--net", "net=fd:2147483648", "i"],
                "descriptor 2147483648",
            ),
            (&["--net", "net=fd:3,mtu=67", "i"], "67"),
            (&["--net", "net=fd:3,mtu=65536", "i"], "65536"),
            (
                &["--net", "net=fd:3,mac=01:00:00:00:00:00", "i"],
                "01:00:00:00:00:00",
            ),
            (
                &["--net", "net=fd:3,mtu=99,mtu=99", "i"],
                "--net net=fd:3,mtu=99,mtu=99",
            ),
            (
                &["--net", "a=fd:3", "--block", "a=f", "i"],
                "device a is given twice",
            ),
            (&["--block", "disk", "i"], "--block disk"),
            (&["--block", "disk=", "i"], "--block disk="),
            (&["--block", "disk=,ro", "i"], "--block disk=,ro"),
            (&["--block", "di sk=f", "i"], "--block di sk=f"),
            (&["fd:2"], "descriptor 2"),
            (&["fd:x"], "descriptor x"),
        ];
        for (words, expected) in cases {
            let message = parse(words).expect_err(&words.join(" "));
            assert!(message.contains(expected), "{words:?}: {message}");
        }
    }

    #[test]
    fn sixty_three_devices_fit_and_no_more() {
        let words: Vec<String> = (0..64)
            .flat_map(|n| ["--net".to_string(), std::format!("n{n}=tap:tap0")])
            .chain(["image".to_string()])
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(parse(&words).unwrap_err().contains("63"));
        assert_eq!(parse(&words[2..]).unwrap().attachments().count(), 63);
    }
}

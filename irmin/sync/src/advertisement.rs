//! What a server says first: its version, what it can do, and in versions 0 and 1 all its names
//! (gitprotocol-pack(5), gitprotocol-v2(5)).

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};

use irmin::{Format, Id, RefName};

use crate::capabilities::Capabilities;
use crate::error::{SyncError, protocol};
use crate::pktline::{Packet, Reader, Writer};
use crate::text::quote;

/// A name of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// The name.
    pub name: RefName,
    /// What it points to; `None` for a symbolic name that stands for a branch not made yet.
    pub id: Option<Id>,
    /// What the tag that it points to leads to in the end, if it is a tag and the server says it.
    pub peeled: Option<Id>,
    /// The name that it stands for, if it is symbolic and the server says it.
    pub stands_for: Option<RefName>,
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertisement {
    /// Versions 0 and 1.
    Names {
        /// What it can do.
        capabilities: Capabilities,
        /// Its names, ordered as they came.
        names: Vec<RemoteRef>,
        /// Objects that it has beside its names (`.have`).
        haves: Vec<Id>,
        /// Where its own history is cut off.
        shallow: Vec<Id>,
    },
    /// Version 2: names are asked for.
    Commands {
        /// What it can do.
        capabilities: Capabilities,
    },
}

/// So many bytes of a server's names are read: about three million names.
pub const MOST_NAMES: u64 = 256 << 20;

/// So much is read of what a server of version 2 can do.
const MOST_CAPABILITIES: u64 = 1 << 20;

impl Advertisement {
    /// Reads what a server says first, up to the flush packet. `# service=...`, which HTTP servers say
    /// before it, is passed over.
    ///
    /// # Errors
    /// [`SyncError`]: `Remote` if the server says why it does not serve, `Protocol` for hostile names, ids
    /// of a wrong length and names that come twice.
    pub fn read<R: Read>(reader: &mut Reader<R>) -> Result<Advertisement, SyncError> {
        reader.set_budget(MOST_NAMES);
        let read = read(reader);
        reader.set_budget(u64::MAX);
        read
    }

    /// What the server can do.
    pub fn capabilities(&self) -> &Capabilities {
        match self {
            Advertisement::Names { capabilities, .. }
            | Advertisement::Commands { capabilities } => capabilities,
        }
    }

    /// The format of its objects.
    ///
    /// # Errors
    /// [`SyncError::Protocol`] for a format that is not known here.
    pub fn format(&self) -> Result<Format, SyncError> {
        self.capabilities().object_format().or_else(|word| {
            protocol(format!(
                "it keeps objects named by {word:?}, which is not known here"
            ))
        })
    }

    /// Writes it as a server of version 0, 1 or 2 says it; `format` is that of the ids. The version is
    /// said where it is not 0. A symbolic name that stands for nothing yet is left out.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn write<W: Write>(
        &self,
        writer: &mut Writer<W>,
        version: u8,
        format: Format,
    ) -> io::Result<()> {
        if version > 0 {
            writer.line(format_args!("version {version}"))?;
        }
        match self {
            Advertisement::Commands { capabilities } => {
                for one in capabilities.iter() {
                    writer.line(format_args!("{one}"))?;
                }
            }
            Advertisement::Names {
                capabilities,
                names,
                haves,
                shallow,
            } => {
                let mut first = Some(capabilities);
                let mut say = |id: &dyn std::fmt::Display, name: &str| match first.take() {
                    Some(words) => writer.line(format_args!("{id} {name}\0{words}")),
                    None => writer.line(format_args!("{id} {name}")),
                };
                for one in names {
                    if let Some(id) = one.id {
                        say(&id, one.name.as_str())?;
                    }
                    if let Some(peeled) = one.peeled {
                        say(&peeled, &format!("{}^{{}}", one.name))?;
                    }
                }
                for have in haves {
                    say(have, ".have")?;
                }
                if let Some(words) = first {
                    let zero = "0".repeat(2 * format.id_len());
                    writer.line(format_args!("{zero} capabilities^{{}}\0{words}"))?;
                }
                for id in shallow {
                    writer.line(format_args!("shallow {id}"))?;
                }
            }
        }
        writer.flush_packet()
    }
}

fn read<R: Read>(reader: &mut Reader<R>) -> Result<Advertisement, SyncError> {
    let mut first = owned(reader)?;
    if first
        .as_deref()
        .is_some_and(|line| line.starts_with(b"# service="))
    {
        if reader.read_said()? != Packet::Flush {
            return protocol("no flush follows the name of the service");
        }
        first = owned(reader)?;
    }
    match first.as_deref() {
        Some(b"version 2") => return commands(reader),
        Some(b"version 1") => first = owned(reader)?,
        Some(line) if line.starts_with(b"version ") => {
            return protocol(format!(
                "it speaks {:?}, which is not known here",
                quote(line)
            ));
        }
        _ => {}
    }
    names(reader, first)
}

/// A line, or `None` for a flush.
fn owned<R: Read>(reader: &mut Reader<R>) -> Result<Option<Vec<u8>>, SyncError> {
    match reader.read_said()? {
        Packet::Flush => Ok(None),
        packet => match packet.text() {
            Some(text) => Ok(Some(text.into())),
            None => protocol("a delimiter stands in its greeting"),
        },
    }
}

fn commands<R: Read>(reader: &mut Reader<R>) -> Result<Advertisement, SyncError> {
    reader.set_budget(MOST_CAPABILITIES);
    let mut capabilities = Capabilities::new();
    while let Some(line) = owned(reader)? {
        capabilities.push_text(&line);
    }
    Ok(Advertisement::Commands { capabilities })
}

fn names<R: Read>(
    reader: &mut Reader<R>,
    first: Option<Vec<u8>>,
) -> Result<Advertisement, SyncError> {
    let mut capabilities = Capabilities::new();
    let (mut names, mut haves, mut shallow) = (Vec::new(), Vec::new(), Vec::new());
    // A server without any name may say nothing at all.
    let Some(mut line) = first else {
        return Ok(Advertisement::Names {
            capabilities,
            names,
            haves,
            shallow,
        });
    };
    if let Some(nul) = line.iter().position(|&byte| byte == 0) {
        capabilities = Capabilities::from_words(&line[nul + 1..]);
        line.truncate(nul);
    }
    let format = match capabilities.object_format() {
        Ok(format) => format,
        Err(word) => {
            return protocol(format!(
                "it keeps objects named by {word:?}, which is not known here"
            ));
        }
    };
    let mut seen = BTreeSet::new();
    let mut next = Some(line);
    while let Some(line) = next {
        if let Some(hex) = line.strip_prefix(b"shallow ") {
            shallow.push(id(format, hex)?);
        } else {
            let (hex, name) = line
                .split_at_checked(2 * format.id_len())
                .unwrap_or((&line, b""));
            let Some(name) = name.strip_prefix(b" ") else {
                return protocol(format!("{:?} is no id and name", quote(&line)));
            };
            match name {
                b"capabilities^{}" => {}
                b".have" => haves.push(id(format, hex)?),
                _ => match name.strip_suffix(b"^{}") {
                    Some(tag) => match names.last_mut() {
                        Some(RemoteRef { name, peeled, .. }) if name.as_str().as_bytes() == tag => {
                            *peeled = Some(id(format, hex)?);
                        }
                        _ => return protocol(format!("{:?} follows no tag", quote(name))),
                    },
                    None => {
                        let name = ref_name(name)?;
                        if !seen.insert(name.clone()) {
                            return protocol(format!("it says {name} twice"));
                        }
                        names.push(RemoteRef {
                            name,
                            id: Some(id(format, hex)?),
                            peeled: None,
                            stands_for: None,
                        });
                    }
                },
            }
        }
        next = owned(reader)?;
    }
    let mut symbolic = HashMap::new();
    for pair in capabilities.all("symref") {
        if let Some((from, to)) = pair.split_once(':') {
            symbolic.insert(from, ref_name(to.as_bytes())?);
        }
    }
    for one in &mut names {
        one.stands_for = symbolic.remove(one.name.as_str());
    }
    Ok(Advertisement::Names {
        capabilities,
        names,
        haves,
        shallow,
    })
}

/// An id of this format.
pub(crate) fn id(format: Format, hex: &[u8]) -> Result<Id, SyncError> {
    match Id::from_hex(hex) {
        Ok(id) if id.as_bytes().len() == format.id_len() => Ok(id),
        _ => protocol(format!("{:?} is no id of its format", quote(hex))),
    }
}

/// A name that is safe to keep.
pub(crate) fn ref_name(name: &[u8]) -> Result<RefName, SyncError> {
    let text = std::str::from_utf8(name).ok();
    match text.map(RefName::new) {
        Some(Ok(name)) => Ok(name),
        _ => protocol(format!(
            "{:?} is no name that a store can keep",
            quote(name)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const B: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn parse(lines: &[&str]) -> Result<Advertisement, SyncError> {
        let mut writer = Writer::new(Vec::new());
        for line in lines {
            match *line {
                "0000" => writer.flush_packet().unwrap(),
                line => writer.line(format_args!("{line}")).unwrap(),
            }
        }
        let bytes = writer.into_inner();
        Advertisement::read(&mut Reader::new(&bytes[..]))
    }

    #[test]
    fn names_tags_and_symbolic_names_are_read_and_written_back() {
        let lines = [
            format!("{A} HEAD\0ofs-delta symref=HEAD:refs/heads/main"),
            format!("{A} refs/heads/main"),
            format!("{B} refs/tags/v1"),
            format!("{A} refs/tags/v1^{{}}"),
            format!("{B} .have"),
            format!("shallow {A}"),
            "0000".into(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let read = parse(&lines).unwrap();
        let Advertisement::Names {
            names,
            haves,
            shallow,
            ..
        } = &read
        else {
            panic!("version 0");
        };
        assert_eq!(
            names[0].stands_for.as_ref().unwrap().as_str(),
            "refs/heads/main"
        );
        assert_eq!(names[2].peeled, Some(A.parse().unwrap()));
        assert_eq!((haves.len(), shallow.len(), names.len()), (1, 1, 3));
        let mut writer = Writer::new(Vec::new());
        read.write(&mut writer, 1, Format::GitSha1).unwrap();
        let bytes = writer.into_inner();
        assert!(bytes.starts_with(b"000eversion 1\n"));
        assert_eq!(
            Advertisement::read(&mut Reader::new(&bytes[..])).unwrap(),
            read
        );
    }

    #[test]
    fn servers_without_names_and_of_version_2_are_understood() {
        let empty = parse(&["# service=git-upload-pack", "0000", "0000"]).unwrap();
        assert!(matches!(&empty, Advertisement::Names { names, .. } if names.is_empty()));
        let none = format!(
            "{} capabilities^{{}}\0report-status object-format=irmin",
            "0".repeat(64)
        );
        let none = parse(&[&none, "0000"]).unwrap();
        assert_eq!(none.format().unwrap(), Format::Native);
        let two = parse(&["version 2", "ls-refs=unborn", "fetch=shallow", "0000"]).unwrap();
        assert!(two.capabilities().offers("ls-refs", "unborn"));
        let mut writer = Writer::new(Vec::new());
        two.write(&mut writer, 2, Format::GitSha1).unwrap();
        let bytes = writer.into_inner();
        assert_eq!(
            Advertisement::read(&mut Reader::new(&bytes[..])).unwrap(),
            two
        );
    }

    #[test]
    fn hostile_greetings_are_refused() {
        let line = |name: &str| format!("{A} {name}");
        for bad in [
            line("refs/heads/../../x"),
            line("refs/heads/x.lock"),
            line("objects/pack"),
            line("refs/heads/a\0object-format=sha256"),
            line("refs/heads/a\0object-format=md5"),
            line("refs/heads/a^{}"),
            "nonsense".into(),
            A.into(),
            "version 3".into(),
            format!("{A}refs/heads/a"),
        ] {
            assert!(
                matches!(parse(&[&bad, "0000"]), Err(SyncError::Protocol { .. })),
                "{bad}"
            );
        }
        let twice = line("refs/heads/a");
        assert!(parse(&[&twice, &twice, "0000"]).is_err());
        assert!(matches!(
            parse(&["ERR no such thing"]),
            Err(SyncError::Remote { .. })
        ));
        assert!(
            matches!(parse(&[&twice]), Err(SyncError::Packet(_))),
            "it is cut off"
        );
    }
}

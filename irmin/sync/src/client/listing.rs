//! The names of the other side.

use std::io::Read;

use hashbrown::HashMap;
use irmin::{Format, Id, RefName};

use crate::advertisement::{Advertisement, MOST_NAMES, RemoteRef, id, ref_name};
use crate::capabilities::{Capabilities, agent, format_name};
use crate::error::{SyncError, protocol};
use crate::pktline::{Packet, PacketError, Reader, Writer};
use crate::text::quote;
use crate::transport::{Connection, Service, Transport};

/// The names of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The format of its objects.
    pub format: Format,
    /// Its names, ordered as they came; `HEAD` among them.
    pub names: Vec<RemoteRef>,
}

impl Listing {
    /// The branch that its `HEAD` stands for, whether it exists yet or not. Where the server does not
    /// say it, a branch that points to the same commit, `main` and `master` first, as Git guesses.
    pub fn head(&self) -> Option<RefName> {
        let head = self.find("HEAD")?;
        if let Some(name) = &head.stands_for {
            return Some(name.clone());
        }
        let same =
            |one: &&RemoteRef| one.id == head.id && one.name.as_str().starts_with("refs/heads/");
        let usual = ["refs/heads/main", "refs/heads/master"];
        usual
            .iter()
            .filter_map(|name| self.find(name))
            .find(same)
            .or_else(|| self.names.iter().find(same))
            .map(|one| one.name.clone())
    }

    /// The name as it is written here.
    pub fn find(&self, name: &str) -> Option<&RemoteRef> {
        self.names.iter().find(|one| one.name.as_str() == name)
    }

    /// The same names, to look up many of them.
    pub(super) fn by_name(&self) -> ByName<'_> {
        ByName(
            (self.names.iter())
                .map(|one| (one.name.as_str(), one))
                .collect(),
        )
    }
}

/// Names of the other side by what they are called.
pub(super) struct ByName<'a>(HashMap<&'a str, &'a RemoteRef>);

impl<'a> ByName<'a> {
    /// The name as it is written here.
    pub fn find(&self, name: &str) -> Option<&'a RemoteRef> {
        self.0.get(name).copied()
    }

    /// What a name, possibly a short one, means on the other side.
    pub fn resolve(&self, name: &str) -> Option<&'a RemoteRef> {
        RefName::meanings(name).find_map(|full| self.find(full.as_str()))
    }
}

/// A conversation with upload-pack, after its greeting.
pub(super) struct Conversation<'a> {
    pub connection: Box<dyn Connection + 'a>,
    pub capabilities: Capabilities,
    pub format: Format,
    /// All names, in versions 0 and 1.
    names: Option<Vec<RemoteRef>>,
    /// Whether a server of version 0 still waits for what we want.
    pub waits: bool,
}

impl<'a> Conversation<'a> {
    pub fn begin(
        transport: &'a mut dyn Transport,
        version: u8,
    ) -> Result<Conversation<'a>, SyncError> {
        let mut connection = transport.connect(Service::UploadPack, version)?;
        let greeting = Advertisement::read(&mut Reader::new(connection.greeting()?))?;
        let format = greeting.format()?;
        let (capabilities, names) = match greeting {
            Advertisement::Commands { capabilities } => (capabilities, None),
            Advertisement::Names {
                capabilities,
                names,
                ..
            } => (capabilities, Some(names)),
        };
        Ok(Conversation {
            waits: names.is_some() && !connection.is_stateless(),
            connection,
            capabilities,
            format,
            names,
        })
    }

    /// Whether it is in version 2.
    pub fn is_v2(&self) -> bool {
        self.names.is_none()
    }

    /// The names that begin with one of these, at least.
    pub fn list(&mut self, prefixes: &[&str]) -> Result<Listing, SyncError> {
        let names = match &self.names {
            Some(names) => names.clone(),
            None => self.ls_refs(prefixes)?,
        };
        Ok(Listing {
            format: self.format,
            names,
        })
    }

    fn ls_refs(&mut self, prefixes: &[&str]) -> Result<Vec<RemoteRef>, SyncError> {
        if !self.capabilities.has("ls-refs") {
            return protocol("it does not tell its names (ls-refs)");
        }
        let unborn = self.capabilities.offers("ls-refs", "unborn");
        let (capabilities, format) = (&self.capabilities, self.format);
        let answer = self.connection.request(&mut |out| {
            let mut out = Writer::new(out);
            command(&mut out, "ls-refs", capabilities, format)?;
            out.line(format_args!("peel"))?;
            out.line(format_args!("symrefs"))?;
            if unborn {
                out.line(format_args!("unborn"))?;
            }
            for prefix in prefixes {
                out.line(format_args!("ref-prefix {prefix}"))?;
            }
            out.flush_packet()?;
            Ok(())
        })?;
        let mut reader = Reader::new(answer);
        reader.set_budget(MOST_NAMES);
        let mut names: Vec<RemoteRef> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let packet = reader.read_said()?;
            if packet == Packet::Flush {
                break;
            }
            let Some(line) = packet.text() else {
                return protocol("a delimiter stands among its names");
            };
            let one = name_line(format, line)?;
            if !seen.insert(one.name.clone()) {
                return protocol(format!("it says {} twice", one.name));
            }
            names.push(one);
        }
        Ok(names)
    }

    /// Says goodbye.
    pub fn end(self) -> Result<(), SyncError> {
        goodbye(self.connection, self.waits)
    }
}

/// Ends a conversation; a server that still waits for what we want is told that it is nothing.
pub(super) fn goodbye(
    mut connection: Box<dyn Connection + '_>,
    waits: bool,
) -> Result<(), SyncError> {
    if waits {
        // The server may be gone already, which is fine too.
        drop(connection.request(&mut |out| Ok(Writer::new(out).flush_packet()?)));
    }
    connection.finish()
}

/// The beginning of a request of version 2, up to the delimiter.
pub(super) fn command<W: std::io::Write>(
    out: &mut Writer<W>,
    command: &str,
    capabilities: &Capabilities,
    format: Format,
) -> Result<(), SyncError> {
    out.line(format_args!("command={command}"))?;
    for word in introduction(capabilities, format) {
        out.line(format_args!("{word}"))?;
    }
    out.delimiter()?;
    Ok(())
}

/// Who we are and how our ids are made, for a server that can be told.
pub(super) fn introduction(
    offered: &Capabilities,
    format: Format,
) -> impl Iterator<Item = String> + use<> {
    let all = [("object-format", format_name(format)), ("agent", agent())];
    let told = all.map(|(word, value)| offered.has(word).then(|| format!("{word}={value}")));
    told.into_iter().flatten()
}

/// `ID NAME symref-target:NAME peeled:ID`.
fn name_line(format: Format, line: &[u8]) -> Result<RemoteRef, SyncError> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(hex), Some(name)) = (words.next(), words.next()) else {
        return protocol(format!("{:?} is no id and name", quote(line)));
    };
    let mut one = RemoteRef {
        name: ref_name(name)?,
        id: if hex == b"unborn" {
            None
        } else {
            Some(id(format, hex)?)
        },
        peeled: None,
        stands_for: None,
    };
    for word in words {
        if let Some(target) = word.strip_prefix(b"symref-target:") {
            one.stands_for = Some(ref_name(target)?);
        } else if let Some(hex) = word.strip_prefix(b"peeled:") {
            one.peeled = Some(id(format, hex)?);
        }
    }
    Ok(one)
}

/// Reads lines up to a special packet, which is given too.
pub(super) fn lines<R: Read>(
    reader: &mut Reader<R>,
    mut line: impl FnMut(&[u8]) -> Result<(), SyncError>,
) -> Result<End, SyncError> {
    loop {
        match reader.read_said()? {
            Packet::Flush => return Ok(End::Flush),
            Packet::Delimiter => return Ok(End::Delimiter),
            Packet::ResponseEnd => return Err(SyncError::Packet(PacketError::Ended)),
            packet => line(packet.text().unwrap_or_default())?,
        }
    }
}

/// How a list of lines ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Flush,
    Delimiter,
}

/// The ids in `names`, without those that are not there yet.
pub(super) fn ids(names: &[RemoteRef]) -> Vec<Id> {
    names.iter().filter_map(|one| one.id).collect()
}

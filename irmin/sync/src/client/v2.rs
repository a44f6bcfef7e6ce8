//! Fetching in version 2 (gitprotocol-v2(5), "fetch").

use std::io::Read;

use irmin_packfile::PackStore;

use super::fetch::{Asked, Came};
use super::listing::{Conversation, End, command, lines};
use super::negotiate::{Haves, Told};
use super::shallow::{self, Boundary};
use super::{Reporter, pack};
use crate::advertisement::id;
use crate::error::{SyncError, protocol};
use crate::pktline::{Packet, Reader, Writer};
use crate::text::quote;

/// Haves in the first round; each next round has twice as many.
const FIRST_ROUND: usize = 16;
const LARGEST_ROUND: usize = 16384;
/// So many bytes of lines are read before a pack.
pub(super) const MOST_LINES: u64 = 64 << 20;

pub(super) fn fetch(
    conversation: &mut Conversation<'_>,
    store: &dyn PackStore,
    asked: &Asked<'_>,
    haves: &mut Haves<'_>,
    reporter: &Reporter<'_>,
) -> Result<Came, SyncError> {
    if !conversation.capabilities.has("fetch") {
        return protocol("it gives no objects (fetch)");
    }
    if asked.is_shallow() && !conversation.capabilities.offers("fetch", "shallow") {
        return Err(SyncError::Invalid(
            "the server cannot give histories that are cut off (shallow)".into(),
        ));
    }
    let (mut told, mut round) = (Told::default(), FIRST_ROUND);
    loop {
        let new = told.round(haves, round)?;
        let done = new.is_empty() || told.is_in_vain();
        round = (2 * round).min(LARGEST_ROUND);
        let (capabilities, format) = (&conversation.capabilities, conversation.format);
        let answer = conversation.connection.request(&mut |out| {
            let mut out = Writer::new(out);
            command(&mut out, "fetch", capabilities, format)?;
            out.line(format_args!("thin-pack"))?;
            out.line(format_args!("ofs-delta"))?;
            if asked.include_tag {
                out.line(format_args!("include-tag"))?;
            }
            for id in &asked.shallow {
                out.line(format_args!("shallow {id}"))?;
            }
            for line in shallow::arguments(asked.depth) {
                out.line(format_args!("{line}"))?;
            }
            for want in &asked.wants {
                out.line(format_args!("want {want}"))?;
            }
            for have in told.common.iter().chain(&new) {
                out.line(format_args!("have {have}"))?;
            }
            if done {
                out.line(format_args!("done"))?;
            }
            out.flush_packet()?;
            Ok(())
        })?;
        let mut reader = Reader::new(answer);
        if done || acknowledgments(&mut reader, format, &mut told, haves)? {
            return sections(&mut reader, store, asked, format, reporter);
        }
    }
}

/// What the server says to what it was told. Whether it is ready, and the pack follows.
fn acknowledgments<R: Read>(
    reader: &mut Reader<R>,
    format: irmin::Format,
    told: &mut Told,
    haves: &mut Haves<'_>,
) -> Result<bool, SyncError> {
    reader.set_budget(MOST_LINES);
    match reader.read_said()?.text() {
        Some(b"acknowledgments") => {}
        Some(line) => {
            return protocol(format!(
                "{:?} comes instead of acknowledgments",
                quote(line)
            ));
        }
        None => return protocol("it does not answer to what we have"),
    }
    let mut ready = false;
    let end = lines(reader, |line| {
        match line {
            b"NAK" => {}
            b"ready" => ready = true,
            _ => match line.strip_prefix(b"ACK ") {
                Some(hex) => told.acknowledged(haves, id(format, hex)?)?,
                None => return protocol(format!("{:?} acknowledges nothing", quote(line))),
            },
        }
        Ok(())
    })?;
    match (ready, end) {
        (true, End::Delimiter) => Ok(true),
        (false, End::Flush) => Ok(false),
        _ => protocol("it is neither ready nor not ready"),
    }
}

/// What comes after the acknowledgments: where the history ends, and the pack.
fn sections<R: Read>(
    reader: &mut Reader<R>,
    store: &dyn PackStore,
    asked: &Asked<'_>,
    format: irmin::Format,
    reporter: &Reporter<'_>,
) -> Result<Came, SyncError> {
    let mut boundary = Boundary::default();
    loop {
        reader.set_budget(MOST_LINES);
        let header = match reader.read_said()? {
            Packet::Data(line) => line.strip_suffix(b"\n").unwrap_or(line).to_vec(),
            _ => return protocol("it sends no pack"),
        };
        let end = match header.as_slice() {
            b"packfile" => {
                reader.set_budget(u64::MAX);
                let taken = pack::take(store, reader, true, asked.limits, reporter)?;
                return Ok(Came { taken, boundary });
            }
            b"shallow-info" => lines(reader, |line| boundary.line(format, line))?,
            // Not asked for.
            _ => return protocol(format!("it sends a section {:?}", quote(&header))),
        };
        if end == End::Flush {
            return protocol("it sends no pack");
        }
    }
}

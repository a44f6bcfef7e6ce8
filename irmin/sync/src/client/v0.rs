//! Fetching in versions 0 and 1 (gitprotocol-pack(5)).

use std::io::Read;

use irmin::{Format, Id};
use irmin_packfile::PackStore;

use super::fetch::{Asked, Came, Depth};
use super::listing::{Conversation, introduction, lines};
use super::negotiate::{Haves, IN_VAIN, Told};
use super::shallow::{self, Boundary};
use super::v2::MOST_LINES;
use super::{Reporter, pack};
use crate::advertisement::id;
use crate::error::{SyncError, protocol};
use crate::pktline::{Reader, Writer};
use crate::text::quote;

const ROUND: usize = 32;

pub(super) fn fetch(
    conversation: &mut Conversation<'_>,
    store: &dyn PackStore,
    asked: &Asked<'_>,
    haves: &mut Haves<'_>,
    reporter: &Reporter<'_>,
) -> Result<Came, SyncError> {
    let words = words(conversation, asked)?;
    let format = conversation.format;
    let stateless = conversation.connection.is_stateless();
    // Without it a server answers to the first common commit only.
    let detailed = conversation.capabilities.has("multi_ack_detailed");
    let no_done = detailed && stateless && conversation.capabilities.has("no-done");
    let bands = conversation.capabilities.has("side-band-64k")
        || conversation.capabilities.has("side-band");
    conversation.waits = false;

    let mut boundary = Boundary::default();
    if !stateless {
        // What is wanted is said once.
        let answer = conversation
            .connection
            .request(&mut |out| wants(&mut Writer::new(out), asked, &words))?;
        if asked.deepens() {
            let mut reader = Reader::new(answer);
            reader.set_budget(MOST_LINES);
            lines(&mut reader, |line| boundary.line(format, line))?;
        }
    }
    let mut round = if detailed { ROUND / 2 } else { IN_VAIN };
    let (mut told, mut ready) = (Told::default(), false);
    loop {
        let new = told.round(haves, if ready { 0 } else { round })?;
        let done = !detailed || new.is_empty() || told.is_in_vain();
        round = if stateless {
            (2 * round).min(16384)
        } else {
            ROUND
        };
        let answer = conversation.connection.request(&mut |out| {
            let mut out = Writer::new(out);
            if stateless {
                wants(&mut out, asked, &words)?;
                for have in &told.common {
                    out.line(format_args!("have {have}"))?;
                }
            }
            for have in &new {
                out.line(format_args!("have {have}"))?;
            }
            if done {
                out.line(format_args!("done"))?;
            } else {
                out.flush_packet()?;
            }
            Ok(())
        })?;
        let mut reader = Reader::new(answer);
        reader.set_budget(MOST_LINES);
        if asked.deepens() && stateless {
            boundary = Boundary::default();
            lines(&mut reader, |line| boundary.line(format, line))?;
        }
        // To `done` one line answers; before that lines come up to NAK.
        loop {
            match acknowledgment(&mut reader, format)? {
                Acknowledgment::Nak if done => {}
                Acknowledgment::Nak => {
                    if !(no_done && ready) {
                        break;
                    }
                    // The final ACK follows, and the pack.
                    continue;
                }
                Acknowledgment::Last if done || no_done && ready => {}
                Acknowledgment::Last => return protocol("it is done before we are"),
                Acknowledgment::Common(id, is_ready) => {
                    ready |= is_ready;
                    told.acknowledged(haves, id)?;
                    continue;
                }
            }
            reader.set_budget(u64::MAX);
            let taken = pack::take(store, &mut reader, bands, asked.limits, reporter)?;
            return Ok(Came { taken, boundary });
        }
    }
}

/// The capabilities that we use.
fn words(conversation: &Conversation<'_>, asked: &Asked<'_>) -> Result<String, SyncError> {
    let offered = &conversation.capabilities;
    let mut words = Vec::new();
    let shallow = [
        ("shallow", asked.is_shallow()),
        ("deepen-relative", matches!(asked.depth, Depth::More(_))),
    ];
    for (word, needed) in shallow {
        if needed && !offered.has(word) {
            return Err(SyncError::Invalid(format!(
                "the server cannot give histories that are cut off so ({word})"
            )));
        }
    }
    if matches!(asked.depth, Depth::More(_)) {
        words.push("deepen-relative".to_string());
    }
    let bands = if offered.has("side-band-64k") {
        "side-band-64k"
    } else {
        "side-band"
    };
    let mut usual = vec!["multi_ack_detailed", bands, "thin-pack", "ofs-delta"];
    if conversation.connection.is_stateless() && offered.has("multi_ack_detailed") {
        usual.push("no-done");
    }
    if asked.include_tag {
        usual.push("include-tag");
    }
    words.extend(
        usual
            .into_iter()
            .filter(|word| offered.has(word))
            .map(String::from),
    );
    words.extend(introduction(offered, conversation.format));
    Ok(words.join(" "))
}

fn wants<W: std::io::Write>(
    out: &mut Writer<W>,
    asked: &Asked<'_>,
    words: &str,
) -> Result<(), SyncError> {
    for (at, want) in asked.wants.iter().enumerate() {
        match at {
            0 => out.line(format_args!("want {want} {words}"))?,
            _ => out.line(format_args!("want {want}"))?,
        }
    }
    for id in &asked.shallow {
        out.line(format_args!("shallow {id}"))?;
    }
    // Relative depth is a capability here.
    if let Some(line) = shallow::arguments(asked.depth).first() {
        out.line(format_args!("{line}"))?;
    }
    out.flush_packet()?;
    Ok(())
}

enum Acknowledgment {
    Nak,
    /// The last common commit: the pack follows.
    Last,
    /// Common; and whether the server is ready.
    Common(Id, bool),
}

fn acknowledgment<R: Read>(
    reader: &mut Reader<R>,
    format: Format,
) -> Result<Acknowledgment, SyncError> {
    let packet = reader.read_said()?;
    let line = packet.text().unwrap_or_default();
    if line == b"NAK" {
        return Ok(Acknowledgment::Nak);
    }
    let Some(rest) = line.strip_prefix(b"ACK ") else {
        return protocol(format!("{:?} acknowledges nothing", quote(line)));
    };
    let (hex, status) = rest
        .split_at_checked(2 * format.id_len())
        .unwrap_or((rest, b""));
    let id = id(format, hex)?;
    match status {
        b"" => Ok(Acknowledgment::Last),
        b" common" | b" continue" => Ok(Acknowledgment::Common(id, false)),
        b" ready" => Ok(Acknowledgment::Common(id, true)),
        _ => protocol(format!("{:?} acknowledges nothing", quote(line))),
    }
}

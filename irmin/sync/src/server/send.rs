//! The pack that answers a fetch.

use std::io::Write;

use hashbrown::HashSet;
use irmin::{Id, RefName};
use irmin_packfile::GiveOptions;

use super::advertise::tag_chain;
use super::negotiate::Request;
use super::shallow::Cut;
use super::{Bands, Host, Out, ServerError};
use crate::pktline::BandWriter;
use crate::walk;

/// Sends what is wanted and not had. What goes wrong is told on the third band, where there are bands.
pub(super) fn send(
    host: &Host<'_>,
    request: &Request,
    cut: &Cut,
    bands: Bands,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    match pack(host, request, cut, bands, out) {
        Ok(()) => Ok(out.flush()?),
        Err(error) => {
            if bands != Bands::None && !matches!(error, ServerError::Io(_)) {
                // It is the first error that counts.
                let text = format!("{error}\n");
                let _ = out.band(3, text.as_bytes()).and_then(|()| out.flush());
            }
            // No line may follow what is in the middle of a pack.
            Err(ServerError::Told(Box::new(error)))
        }
    }
}

fn pack(
    host: &Host<'_>,
    request: &Request,
    cut: &Cut,
    bands: Bands,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let wants: Vec<Id> = request
        .wants
        .iter()
        .chain(&cut.also_wanted)
        .copied()
        .collect();
    let mut options = walk::Options {
        cut: Some(&cut.ends),
        have_cut: Some(&request.depth.client),
        ..walk::Options::default()
    };
    let is_told = bands != Bands::None && !request.has("no-progress");
    let mut tell = |text: String| out.band(2, text.as_bytes()).and_then(|()| out.flush());
    // At once: the client sees that it is heard, and a client that is gone costs no walk.
    let mut report = |listed: usize| {
        !is_told
            || !listed.is_multiple_of(1 << 16)
            || tell(format!("Enumerating objects: {listed}\r")).is_ok()
    };
    options.progress = Some(&mut report);
    let backend = host.repo.backend();
    let mut objects = walk::missing(backend, &wants, &request.commons, &mut options)?;
    if request.has("include-tag") {
        add_tags(host, &request.names, &mut objects)?;
    }
    let options = GiveOptions {
        bases: if request.has("thin-pack") {
            &request.commons
        } else {
            &[]
        },
        offset_deltas: request.has("ofs-delta"),
        progress: None,
    };
    if bands == Bands::None {
        host.store.give_pack(&objects, out.get_mut(), options)?;
        return Ok(());
    }
    let mut band = BandWriter::new(out, 1, bands == Bands::Large);
    if is_told {
        let text = format!("Enumerating objects: {}, done.\n", objects.len());
        band.aside(2, text.as_bytes())?;
    }
    host.store.give_pack(&objects, &mut band, options)?;
    band.flush()?;
    out.flush_packet()?;
    Ok(())
}

/// Adds the annotated tags of what is sent, with those in between of a tag of a tag.
fn add_tags(
    host: &Host<'_>,
    names: &[(RefName, Id)],
    objects: &mut Vec<Id>,
) -> Result<(), ServerError> {
    let mut sent: HashSet<Id> = objects.iter().copied().collect();
    for (name, id) in names {
        if !name.as_str().starts_with("refs/tags/") {
            continue;
        }
        let (tags, target) = tag_chain(host, *id)?;
        if sent.contains(&target) {
            objects.extend(tags.into_iter().filter(|tag| sent.insert(*tag)));
        }
    }
    Ok(())
}

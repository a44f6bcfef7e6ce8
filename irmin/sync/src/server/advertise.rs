//! What a client is told first: the names, and what this server can do.

use std::io::Write;

use irmin::raw::TagData;
use irmin::{Format, Id, Kind, RefName};

use super::{Host, Out, ServerError, Service, Version, refused, tell};
use crate::advertisement::{Advertisement, RemoteRef};
use crate::capabilities::{Capabilities, agent, format_name};
use crate::pktline::Writer;

/// Writes what a client is told before it asks: names and capabilities, or in version 2 the
/// capabilities alone.
///
/// # Errors
/// [`ServerError`]. The client was told, if it is still there.
pub fn advertise(
    host: &Host<'_>,
    service: Service,
    version: Version,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let mut out = Writer::new(out);
    let result = say(host, service, version, &mut out);
    tell(result, &mut out)
}

fn say(
    host: &Host<'_>,
    service: Service,
    version: Version,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let (advertisement, number) = match (service, version) {
        (Service::UploadPack, Version::V2) => {
            let capabilities = capabilities(host);
            (Advertisement::Commands { capabilities }, 2)
        }
        // Version 2 names the format before any id; in the others Git would stumble over one.
        (Service::UploadPack, _) if host.format() == Format::Native => {
            return refused(
                "this store is in irmin's own format, which Git does not know; \
                 convert it, or fetch with irmin in version 2 of the protocol",
            );
        }
        // Pushes know no version 2: who asks for it is answered in the first.
        (_, Version::V0 | Version::V2) => (names(host, service)?, 0),
        (_, Version::V1) => (names(host, service)?, 1),
    };
    advertisement.write(out, number, host.format())?;
    out.flush()?;
    Ok(())
}

fn capabilities(host: &Host<'_>) -> Capabilities {
    let mut all = Capabilities::new();
    all.push("agent", Some(agent()));
    all.push("ls-refs", Some("unborn"));
    all.push("fetch", Some("shallow wait-for-done"));
    all.push("object-format", Some(format_name(host.format())));
    all
}

fn names(host: &Host<'_>, service: Service) -> Result<Advertisement, ServerError> {
    let is_upload = service == Service::UploadPack;
    let head = host.head()?;
    let mut capabilities = Capabilities::from_words(match service {
        Service::UploadPack => UPLOAD,
        Service::ReceivePack => RECEIVE,
    });
    if let (true, Some(branch), Some(_)) = (is_upload, &head.branch, head.id) {
        capabilities.push("symref", Some(&format!("HEAD:{branch}")));
    }
    capabilities.push("object-format", Some(format_name(host.format())));
    capabilities.push("agent", Some(agent()));
    let mut names = Vec::new();
    let mut add = |name: RefName, id, peeled| {
        let id = Some(id);
        names.push(RemoteRef {
            name,
            id,
            peeled,
            stands_for: None,
        });
    };
    if let (true, Some(id), Ok(name)) = (is_upload, head.id, RefName::new("HEAD")) {
        add(name, id, None);
    }
    for (name, id) in host.names()? {
        let peeled = if is_upload {
            peeled(host, &name, id)?
        } else {
            None
        };
        add(name, id, peeled);
    }
    let shallow = host.repo.backend().shallow()?;
    Ok(Advertisement::Names {
        capabilities,
        names,
        haves: Vec::new(),
        shallow,
    })
}

/// What `upload-pack` can do.
const UPLOAD: &[u8] =
    b"multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since \
    deepen-not deepen-relative no-progress include-tag multi_ack_detailed allow-tip-sha1-in-want \
    allow-reachable-sha1-in-want no-done";

/// What `receive-pack` can do.
const RECEIVE: &[u8] =
    b"report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta";

/// What the tag of a name means in the end; `None` for what is no tag.
pub(super) fn peeled(host: &Host<'_>, name: &RefName, id: Id) -> Result<Option<Id>, ServerError> {
    // Branches point to commits, and a commit need not be read to know that.
    if name.as_str().starts_with("refs/heads/") {
        return Ok(None);
    }
    let (tags, target) = tag_chain(host, id)?;
    Ok((!tags.is_empty()).then_some(target))
}

/// The tags from this one on, each of the next, and what the last is of.
pub(super) fn tag_chain(host: &Host<'_>, id: Id) -> Result<(Vec<Id>, Id), ServerError> {
    let (mut tags, mut at) = (Vec::new(), id);
    loop {
        match host.repo.backend().read(&at)? {
            Some(object) if object.kind == Kind::Tag => {
                let Ok(tag) = TagData::decode(host.format(), &object.data) else {
                    return Ok((tags, at));
                };
                tags.push(at);
                at = tag.target;
            }
            _ => return Ok((tags, at)),
        }
    }
}

/// So many prefixes of names are looked at.
const PREFIXES_MAX: usize = 1000;

/// Answers `ls-refs` of version 2.
pub(super) fn ls_refs(
    host: &Host<'_>,
    arguments: &[String],
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let (peel, symrefs, unborn) = (has("peel"), has("symrefs"), has("unborn"));
    let prefixes: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix("ref-prefix "))
        .collect();
    // So many would cost more than to send all, which is always right.
    let is_wanted = |name: &str| {
        prefixes.is_empty()
            || prefixes.len() > PREFIXES_MAX
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let head = host.head()?;
    if is_wanted("HEAD") {
        let target = head.branch.as_ref().filter(|_| symrefs);
        let target = target
            .map(|branch| format!(" symref-target:{branch}"))
            .unwrap_or_default();
        match head.id {
            Some(id) => out.line(format_args!("{id} HEAD{target}"))?,
            None if unborn && !target.is_empty() => {
                out.line(format_args!("unborn HEAD{target}"))?
            }
            None => {}
        }
    }
    for (name, id) in host.names()? {
        if !is_wanted(name.as_str()) {
            continue;
        }
        let mut line = format!("{id} {name}");
        if peel && let Some(peeled) = peeled(host, &name, id)? {
            line += &format!(" peeled:{peeled}");
        }
        out.line(format_args!("{line}"))?;
    }
    out.flush_packet()?;
    Ok(())
}

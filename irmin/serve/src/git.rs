//! Git's smart HTTP (gitprotocol-http(5)), on the engines of `irmin-sync`.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use irmin::RefName;
use irmin_sync::pktline::Writer;
use irmin_sync::server::{self, Gate, Host, Policy, ServerError, Service, Session, Veil, Version};
use tokio::sync::mpsc;

use crate::answer::{self, Problem};
use crate::intake::Intake;
use crate::shared::{Answered, Shared};
use crate::tokens::Access;

impl Gate for Access {
    fn reads_all(&self) -> bool {
        Access::reads_all(self)
    }

    fn may_read(&self, name: &RefName) -> bool {
        Access::may_read(self, name)
    }

    fn may_write(&self, name: &RefName) -> bool {
        Access::may_write(self, name)
    }
}

/// What follows `/NAME` or `/NAME.git`, if the path begins so.
pub(crate) fn place<'a>(shared: &Shared, path: &'a str) -> Option<&'a str> {
    let rest = path
        .strip_prefix('/')?
        .strip_prefix(shared.options.name.as_str())?;
    rest.strip_prefix(".git").unwrap_or(rest).strip_prefix('/')
}

/// Answers a request for what is at this place of the repository.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    access: Access,
    place: &str,
    parts: &Parts,
    body: Intake,
) -> Answered {
    let version = parts
        .headers
        .get("git-protocol")
        .and_then(|text| text.to_str().ok());
    let version = Version::from_text(version.unwrap_or_default());
    let service = match (place, Service::from_name(place)) {
        ("info/refs", _) => {
            let query = parts.uri.query().unwrap_or_default();
            let service = query
                .split('&')
                .find_map(|part| Service::from_name(part.strip_prefix("service=")?));
            service.ok_or_else(|| {
                Problem::forbidden(
                    "only smart HTTP is spoken here",
                    "use a Git of this millennium's second decade",
                )
            })?
        }
        (_, Some(service)) => service,
        _ => {
            return Err(Problem::absent(
                "nothing is at this address",
                "git clone URL/NAME.git",
            ));
        }
    };
    if service == Service::ReceivePack && !access.writes_some() {
        return Err(Problem::forbidden(
            "this token may not write",
            "use a token that writes",
        ));
    }
    match (&parts.method, place) {
        (&Method::GET, "info/refs") => names(shared, access, service, version),
        (&Method::POST, place) if place != "info/refs" => {
            request(shared, access, service, version, &parts.headers, body)
        }
        _ => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{} is not possible here", parts.method),
            "use git",
        )),
    }
}

fn names(shared: &Arc<Shared>, access: Access, service: Service, version: Version) -> Answered {
    let body = shared.stream(move |shared, out| {
        if service == Service::ReceivePack || version != Version::V2 {
            let mut first = Writer::new(&mut *out);
            first.line(format_args!("# service={}", service.name()))?;
            first.flush_packet()?;
        }
        // What goes wrong the client is told.
        let veil = veil(shared, &access, service);
        let _ = server::advertise(&host(shared, &veil), service, version, out);
        Ok(())
    })?;
    let media = match service {
        Service::UploadPack => "application/x-git-upload-pack-advertisement",
        Service::ReceivePack => "application/x-git-receive-pack-advertisement",
    };
    Ok(answer::with_type(StatusCode::OK, media, body))
}

/// What the client may see and move.
fn veil<'a>(shared: &'a Shared, access: &'a Access, service: Service) -> Veil<'a> {
    let hidden = &shared.options.hidden;
    Veil {
        gate: access,
        rules: match service {
            Service::UploadPack => &hidden.from_fetches,
            Service::ReceivePack => &hidden.from_pushes,
        },
    }
}

/// Takes a push, or has it taken.
fn receive(
    shared: &Shared,
    host: &Host<'_>,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let receiver = shared.options.receiver.as_ref();
    match receiver.map_or(Ok(None), |receiver| (receiver.0)()) {
        Ok(None) => server::receive_pack(host, input, out),
        Ok(Some(program)) => server::pass_on(host, program, input, out),
        Err(why) => server::decline(host, why, input, out),
    }
}

fn host<'a>(shared: &'a Shared, gate: &'a Veil<'a>) -> Host<'a> {
    Host {
        repo: &shared.repo,
        store: &*shared.store,
        gate,
        policy: Policy {
            has_work_tree: shared.options.has_work_tree,
            only_forwards: shared.options.only_forwards,
        },
    }
}

fn request(
    shared: &Arc<Shared>,
    access: Access,
    service: Service,
    version: Version,
    headers: &HeaderMap,
    body: Intake,
) -> Answered {
    let (wanted, media, limit) = match service {
        Service::UploadPack => (
            "application/x-git-upload-pack-request",
            "application/x-git-upload-pack-result",
            shared.options.limits.body as u64,
        ),
        Service::ReceivePack => (
            "application/x-git-receive-pack-request",
            "application/x-git-receive-pack-result",
            shared.options.limits.pack,
        ),
    };
    let header = |name| headers.get(name).map(|value| value.as_bytes());
    // No web page can send this type without asking first.
    if header(CONTENT_TYPE) != Some(wanted.as_bytes()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is of another type",
            format!("send {wanted}"),
        ));
    }
    let is_packed = match header(CONTENT_ENCODING) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body's encoding is not known",
                "send gzip or none",
            ));
        }
    };
    let (to, from) = mpsc::channel(2);
    let answer = shared.stream(move |shared, out| {
        let mut arrival = Arrival {
            from,
            now: Bytes::new(),
        };
        let mut unpacked;
        let from: &mut dyn Read = match is_packed {
            false => &mut arrival,
            true => {
                unpacked = MultiGzDecoder::new(&mut arrival);
                &mut unpacked
            }
        };
        let mut input = Bounded { from, left: limit };
        let veil = veil(shared, &access, service);
        let host = host(shared, &veil);
        // What goes wrong the client is told.
        let _ = match service {
            Service::UploadPack => {
                server::upload_pack(&host, version, Session::Stateless, &mut input, out)
            }
            Service::ReceivePack => receive(shared, &host, &mut input, out),
        };
        Ok(())
    })?;
    tokio::spawn(pump(body, to));
    Ok(answer::with_type(StatusCode::OK, media, answer))
}

/// So much of a body is still read when nobody wants it any more, so that the client hears why.
const DRAINED: usize = 1 << 20;

/// Hands a body on to the thread that reads it.
async fn pump(mut body: Intake, to: mpsc::Sender<io::Result<Bytes>>) {
    let mut drained = 0;
    loop {
        let bytes = match body.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(problem) => {
                let _ = to.send(Err(io::Error::other(problem.text()))).await;
                return;
            }
        };
        if to.is_closed() {
            drained += bytes.len();
            if drained > DRAINED {
                return;
            }
        } else if to.send(Ok(bytes)).await.is_err() {
            drained += 1;
        }
    }
}

/// A body as a thread reads it. Waits for the client.
struct Arrival {
    from: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
}

impl Read for Arrival {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() {
            match self.from.blocking_recv() {
                Some(bytes) => self.now = bytes?,
                None => return Ok(0),
            }
        }
        let taken = self.now.len().min(into.len());
        into[..taken].copy_from_slice(&self.now[..taken]);
        self.now.advance(taken);
        Ok(taken)
    }
}

/// A stream that fails when it is longer than it may be: small bodies unpack to large ones.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.from.read(into)?;
        let left = self.left.checked_sub(taken as u64);
        self.left =
            left.ok_or_else(|| io::Error::other("the request is larger than this server takes"))?;
        Ok(taken)
    }
}

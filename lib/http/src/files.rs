//! A folder of files as a website.

use alloc::format;

use memchr::memchr;
use mirage_device::{Asset, Assets, Flow, Sleep};

use crate::condition::{self, Validators, Verdict};
use crate::exchange::{Answer, Done, Exchange, Handler};
use crate::range::{self, Wanted};
use crate::{Error, Request, Status, negotiate};

/// The longest decoded path that is looked for, with its `index.html`.
const LONGEST: usize = 1024;

/// Methods that files answer.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Serves `assets` as a website.
///
/// `/` and `/folder/` are their `index.html`; `/folder` is redirected to `/folder/` (308). What
/// does not exist gets `404.html` where there is one. Compressed variants are sent to clients
/// that prefer them; entity tags, dates where they are known, and single ranges are honoured.
/// Paths are percent-decoded; encoded separators and control bytes, and dot segments, are
/// refused (400). Nothing is allocated for a request that finds its file.
pub const fn files<A: Assets>(assets: A) -> Files<A> {
    Files { assets }
}

/// The handler that [`files`] makes.
#[derive(Debug, Clone)]
pub struct Files<A> {
    assets: A,
}

/// What a path leads to.
enum Found<'a> {
    File(Asset<'a>),
    /// A folder, asked for without its slash.
    Folder,
    Nothing,
    /// Not a path that any file could have.
    Refused,
}

impl<A: Assets> Handler for Files<A> {
    const AT_ONCE: bool = true;

    async fn handle(
        &self,
        request: &Request<'_>,
        exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        let (answer, content) = self.reply(request, exchange);
        answer.send(content).await
    }
}

/// An answer's head, and its content.
type Reply<'c, 'a, F, S> = (Answer<'c, F, S>, &'a [u8]);

impl<A: Assets> Files<A> {
    fn reply<'c, F: Flow, S: Sleep>(
        &self,
        request: &Request<'_>,
        exchange: Exchange<'c, F, S>,
    ) -> Reply<'c, '_, F, S> {
        match request.method() {
            "GET" | "HEAD" => {}
            "OPTIONS" => {
                let answer = exchange.answer(Status::NO_CONTENT);
                return (answer.field("Allow", ALLOW), b"");
            }
            _ => {
                let answer = exchange.answer(Status::METHOD_NOT_ALLOWED);
                return text(answer.field("Allow", ALLOW), "Files can only be read.\n");
            }
        }
        let status = match find(&self.assets, request.path()) {
            Found::File(asset) => return file(asset, request, exchange),
            Found::Folder => Status::PERMANENT_REDIRECT,
            Found::Nothing => Status::NOT_FOUND,
            Found::Refused => Status::BAD_REQUEST,
        };
        let mut answer = exchange.answer(status);
        if status == Status::PERMANENT_REDIRECT {
            // The path begins with one slash and names a folder that exists: it cannot lead to
            // another host.
            let path = [request.path(), "/"].concat();
            let query = request.query().map(|query| ["?", query].concat());
            answer = answer.field("Location", path + query.as_deref().unwrap_or(""));
            return text(answer, "The folder's address ends in a slash.\n");
        }
        if status == Status::BAD_REQUEST {
            return text(answer, "This is not a path of a page.\n");
        }
        match self.assets.get("404.html") {
            Some(page) => {
                let media_type = page.media_type.as_bytes();
                (answer.trusted("Content-Type: ", media_type), page.bytes)
            }
            None => text(answer, "There is no such page.\n"),
        }
    }
}

fn text<'c, 'a, F: Flow, S: Sleep>(answer: Answer<'c, F, S>, text: &'a str) -> Reply<'c, 'a, F, S> {
    let answer = answer.trusted("Content-Type: ", b"text/plain; charset=utf-8");
    (answer, text.as_bytes())
}

fn file<'c, 'a, F: Flow, S: Sleep>(
    asset: Asset<'a>,
    request: &Request<'_>,
    exchange: Exchange<'c, F, S>,
) -> Reply<'c, 'a, F, S> {
    let fields = request.fields();
    // Ranges are of the file as it is; they mean nothing for HEAD (RFC 9110 §14.2).
    let ranged = request.asks.range && request.method() == "GET";
    let encoded = asset
        .encoded
        .filter(|(coding, _)| !ranged && negotiate::prefers(fields, coding.name()));
    // Another coding is another content: a strong tag must tell them apart (RFC 9110 §8.8.3.3).
    let suffix = if encoded.is_some() { "-z" } else { "" };
    let own = Validators {
        etag: [asset.etag, suffix],
        modified: asset.modified,
    };
    let now = || {
        if asset.modified.is_some() {
            exchange.wall()
        } else {
            None
        }
    };

    let verdict = match request.asks.conditions {
        true => condition::evaluate(fields, own, now()),
        false => Verdict::Go,
    };
    let (status, wanted) = match verdict {
        Verdict::NotModified => (Status::NOT_MODIFIED, Wanted::Whole),
        Verdict::Failed => (Status::PRECONDITION_FAILED, Wanted::Whole),
        Verdict::Go if ranged && condition::range_applies(fields, own, now()) => {
            match range::wanted(fields.get("range"), asset.bytes.len()) {
                Wanted::Whole => (Status::OK, Wanted::Whole),
                Wanted::Part(part) => (Status::PARTIAL_CONTENT, Wanted::Part(part)),
                Wanted::Unsatisfiable => (Status::RANGE_NOT_SATISFIABLE, Wanted::Unsatisfiable),
            }
        }
        Verdict::Go => (Status::OK, Wanted::Whole),
    };

    let mut answer = exchange.answer(status);
    if status == Status::PRECONDITION_FAILED {
        return text(answer, "The page is another one by now.\n");
    }
    answer = answer.quoted("ETag: \"", own.etag);
    if let Some(modified) = asset.modified {
        answer = answer.trusted("Last-Modified: ", &crate::date::format(modified));
    }
    if asset.encoded.is_some() {
        answer = answer.trusted("Vary: ", b"Accept-Encoding");
    }
    if status == Status::NOT_MODIFIED {
        return (answer, b"");
    }
    let content = match wanted {
        Wanted::Unsatisfiable => {
            answer = content_range(answer, None, asset.bytes.len());
            return text(answer, "The page has no such part.\n");
        }
        Wanted::Part(part) => {
            answer = content_range(answer, Some((part.start, part.end)), asset.bytes.len());
            asset.bytes.get(part).unwrap_or_default()
        }
        Wanted::Whole => encoded.map_or(asset.bytes, |(_, bytes)| bytes),
    };
    if let Some((coding, _)) = encoded {
        answer = answer.trusted("Content-Encoding: ", coding.name().as_bytes());
    }
    answer = answer.trusted("Content-Type: ", asset.media_type.as_bytes());
    (answer.trusted("Accept-Ranges: ", b"bytes"), content)
}

/// Adds `Content-Range: bytes FIRST-LAST/LENGTH`, or `bytes */LENGTH`.
fn content_range<'c, F: Flow, S: Sleep>(
    answer: Answer<'c, F, S>,
    part: Option<(usize, usize)>,
    length: usize,
) -> Answer<'c, F, S> {
    let text = match part {
        Some((start, end)) => format!("bytes {start}-{}/{length}", end.saturating_sub(1)),
        None => format!("bytes */{length}"),
    };
    answer.trusted("Content-Range: ", text.as_bytes())
}

/// Finds what the path of a request leads to.
fn find<'a>(assets: &'a impl Assets, path: &str) -> Found<'a> {
    let Some(path) = path.strip_prefix('/') else {
        return Found::Refused;
    };
    if path.is_empty() {
        return assets.get("index.html").map_or(Found::Nothing, Found::File);
    }
    let encoded = memchr(b'%', path.as_bytes()).is_some();
    if !encoded && let Some(asset) = assets.get(path) {
        return Found::File(asset);
    }
    let mut space = [0; LONGEST];
    let mut decoded = Decoded {
        space: &mut space,
        length: 0,
    };
    for segment in path.split_inclusive('/') {
        match decoded.push(segment) {
            Ok(()) => {}
            Err(found) => return found,
        }
    }
    if encoded && let Some(asset) = decoded.as_str().and_then(|path| assets.get(path)) {
        return Found::File(asset);
    }
    let is_folder = path.ends_with('/');
    let index = if is_folder {
        "index.html"
    } else {
        "/index.html"
    };
    if !decoded.append(index.as_bytes()) {
        return Found::Nothing;
    }
    match decoded.as_str().map(|path| assets.get(path)) {
        None => Found::Refused,
        Some(Some(asset)) if is_folder => Found::File(asset),
        Some(Some(_)) => Found::Folder,
        Some(None) => Found::Nothing,
    }
}

/// A path without its percent-encoding.
struct Decoded<'s> {
    space: &'s mut [u8; LONGEST],
    length: usize,
}

impl Decoded<'_> {
    fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.space.get(..self.length)?).ok()
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let place = self
            .space
            .get_mut(self.length..)
            .and_then(|space| space.get_mut(..bytes.len()));
        if let Some(place) = place {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
            return true;
        }
        false
    }

    /// Adds one segment, with its slash where it has one.
    fn push(&mut self, segment: &str) -> Result<(), Found<'static>> {
        let start = self.length;
        let mut bytes = segment.bytes();
        while let Some(mut byte) = bytes.next() {
            if byte == b'%' {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                byte = match (digit(), digit()) {
                    (Some(high), Some(low)) => (high << 4 | low) as u8,
                    _ => return Err(Found::Refused),
                };
                // A separator that hides is one that somebody before us did not see.
                if matches!(byte, b'/' | b'\\') || byte.is_ascii_control() {
                    return Err(Found::Refused);
                }
            }
            if !self.append(&[byte]) {
                return Err(Found::Nothing);
            }
        }
        match self.space.get(start..self.length) {
            Some(b"." | b".." | b"./" | b"../") => Err(Found::Refused),
            _ => Ok(()),
        }
    }
}

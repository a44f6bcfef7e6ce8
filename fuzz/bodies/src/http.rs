//! An HTTP server fed with any bytes cut anywhere, and a client answered with any.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::io::Read;
use mirage_device::{Flow, FlowError, FlowWrite, Sleep, Spawn, Task};
use mirage_http::{Client, Done, Error, Exchange, Handler, Limits, Request, Server, Status};
use mirage_sim::World;
use mirage_sim::memory::pair;

use crate::input::Input;

/// What a handler saw of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    content: Vec<u8>,
}

/// Takes the whole content, notes the request and answers with its length.
#[derive(Clone, Default)]
struct Witness(Rc<RefCell<Vec<Seen>>>);

impl Handler for Witness {
    async fn handle(
        &self,
        request: &Request<'_>,
        mut exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        let content = exchange.content().await?;
        let query = request.query().map(|query| format!("?{query}"));
        let text = format!("{} bytes", content.len());
        self.0.borrow_mut().push(Seen {
            method: request.method().to_owned(),
            target: request.path().to_owned() + &query.unwrap_or_default(),
            content,
        });
        exchange.answer(Status::OK).send(text).await
    }
}

/// Bytes in pieces: how they arrive.
struct Pieces<'a> {
    bytes: &'a [u8],
    cuts: Vec<usize>,
}

impl<'a> Pieces<'a> {
    fn read(input: &mut Input<'a>) -> Self {
        let count = input.below(8);
        let cuts: Vec<u16> = (0..count).map(|_| input.half()).collect();
        let bytes = input.rest();
        let mut cuts: Vec<usize> = cuts
            .into_iter()
            .map(|cut| usize::from(cut) % (bytes.len() + 1))
            .collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        Self { bytes, cuts }
    }

    fn whole(&self) -> Vec<Vec<u8>> {
        vec![self.bytes.to_vec()]
    }

    fn cut(&self) -> Vec<Vec<u8>> {
        let piece = |pair: &[usize]| self.bytes[pair[0]..pair[1]].to_vec();
        self.cuts.windows(2).map(piece).collect()
    }
}

/// Writes the pieces, a moment apart, and then shuts down or waits.
async fn write(clock: World, mut writer: impl FlowWrite, pieces: Vec<Vec<u8>>, ends: bool) {
    for piece in pieces {
        if writer.write_all(&piece).await.is_err() {
            break;
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    if ends {
        writer.shutdown();
    }
    std::future::pending::<()>().await;
}

/// Requests of any kind: however they are cut they get the same answers, each of them
/// well-formed, and what the handler is given is what a plain reading of the bytes finds too. A
/// request that the two read differently would be smuggled past one of them.
pub fn http_server(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.byte();
    let mut limits = Limits::default();
    if flags & 1 != 0 {
        (limits.request_line, limits.head, limits.fields, limits.body) = (64, 200, 4, 100);
    }
    let pieces = Pieces::read(&mut input);
    let serve = |pieces: Vec<Vec<u8>>| {
        let (simulation, witness) = (World::new(0), Witness::default());
        let (flow, theirs) = pair(if flags & 2 == 0 { 4096 } else { 37 });
        let clock = simulation.clone();
        let server =
            Server::with_limits(clock.clone(), clock.clone(), clock.clone(), limits.clone());
        let handler = witness.clone();
        let serving = simulation.spawn(async move { server.serve_flow(theirs, &handler).await });
        let (mut reader, writer) = flow.split();
        let ends = flags & 4 == 0;
        let writing = simulation.spawn(write(simulation.clone(), writer, pieces, ends));
        let mut received = Vec::new();
        let end = simulation.block_on(async {
            let mut buffer = [0; 600];
            loop {
                match reader.read(&mut buffer).await {
                    Ok(0) => break Ok(()),
                    Ok(count) => received.extend(&buffer[..count]),
                    Err(error) => break Err(error),
                }
            }
        });
        drop((reader, writing));
        // Whatever it was sent, the server comes to an end.
        simulation.block_on(serving);
        simulation.runtime().clear();
        (received, end, witness.0.take())
    };
    let (whole, whole_end, whole_seen) = serve(pieces.whole());
    let (cut, cut_end, cut_seen) = serve(pieces.cut());
    let (whole, cut) = (answers(&whole, whole_end), answers(&cut, cut_end));
    let shared = whole.len().min(cut.len());
    assert_eq!(
        whole[..shared],
        cut[..shared],
        "the answers depend on the cuts"
    );
    // A reset destroys what was on its way; otherwise both have all answers. Only a last refusal
    // may be missing: what never came to its end may have been seen to be wrong before, or not.
    if whole_end.is_ok() && cut_end.is_ok() {
        let good = |answers: Vec<(u16, Vec<u8>)>| {
            answers
                .into_iter()
                .filter(|answer| answer.0 < 400)
                .collect::<Vec<_>>()
        };
        assert_eq!(good(whole), good(cut));
        assert_eq!(whole_seen, cut_seen);
    }
    plain_reading(pieces.bytes, &whole_seen);
    plain_reading(pieces.bytes, &cut_seen);
}

/// The final answers in what a server sent, status and content; all refusals are alike.
fn answers(bytes: &[u8], end: Result<(), FlowError>) -> Vec<(u16, Vec<u8>)> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let Some(head) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
            assert!(end.is_err(), "the last answer is cut off");
            break;
        };
        let (head, after) = rest.split_at(head + 4);
        let head = str::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .strip_prefix("HTTP/1.1 ")
            .expect("a status line");
        let status: u16 = status[..3].parse().unwrap();
        let mut length = None;
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a field");
            assert!(!line.contains(['\r', '\n']));
            assert!(!name.eq_ignore_ascii_case("transfer-encoding"));
            if name.eq_ignore_ascii_case("content-length") {
                assert!(length.replace(value.parse::<usize>().unwrap()).is_none());
            }
        }
        rest = after;
        if status == 100 {
            continue;
        }
        let length = length.expect("an answer says how long it is");
        // To HEAD there is no content: then the next answer follows, or nothing.
        let none = rest.starts_with(b"HTTP/1.1 ") || rest.is_empty();
        let length = if none { 0 } else { length };
        if length > rest.len() {
            assert!(end.is_err(), "the last content is cut off");
            break;
        }
        let (content, after) = rest.split_at(length);
        rest = after;
        // What is wrong in more ways than one is refused for the one that is seen first.
        found.push(match status {
            400.. => (400, Vec::new()),
            _ => (status, content.to_vec()),
        });
    }
    found
}

/// Every request that was passed on stands in the bytes, one after the other from their start.
fn plain_reading(bytes: &[u8], seen: &[Seen]) {
    let mut rest = bytes;
    for seen in seen {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        let end = rest
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let (head, after) = rest.split_at(end + 4);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap().split(' ');
        assert_eq!(words.next(), Some(seen.method.as_str()));
        let target = words.next().unwrap();
        assert!(
            target.ends_with(&seen.target) || seen.target.starts_with('/'),
            "{target}"
        );
        let (mut length, mut chunked) = (0, false);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or_default();
            let value = value.trim_ascii();
            match name.trim_ascii().to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().expect("a length"),
                "transfer-encoding" => chunked |= value.to_ascii_lowercase().contains("chunked"),
                _ => {}
            }
        }
        let (content, after) = match chunked {
            true => dechunked(after).expect("a chunked content"),
            false => (after[..length].to_vec(), &after[length..]),
        };
        assert_eq!(content, seen.content);
        rest = after;
    }
}

/// A chunked content taken apart with no regard for what is allowed, and what follows it.
fn dechunked(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    let line = |rest: &mut &'_ [u8]| -> Option<Vec<u8>> {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = rest[..end].to_vec();
        *rest = &rest[end + 2..];
        Some(line)
    };
    loop {
        let text = line(&mut rest)?;
        let digits = text
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let size = usize::from_str_radix(str::from_utf8(&text[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            while !line(&mut rest)?.is_empty() {}
            return Some((content, rest));
        }
        content.extend(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// An answer of any kind to one request: what the client hands out is what a plain reading of
/// the bytes finds, however they are cut; or it is an error, and the connection is not used again.
pub fn http_client(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.byte();
    let pieces = Pieces::read(&mut input);
    let ends = flags & 1 == 0;
    let ask = |pieces: Vec<Vec<u8>>| {
        let simulation = World::new(0);
        let (flow, theirs) = pair(if flags & 2 == 0 { 4096 } else { 37 });
        let (mut reader, writer) = theirs.split();
        let clock = simulation.clone();
        simulation
            .spawn(async move {
                let _ = reader.read(&mut [0; 500]).await;
                write(clock, writer, pieces, ends).await;
            })
            .detach();
        let mut limits = Limits::default();
        if flags & 4 != 0 {
            (limits.head, limits.fields, limits.body) = (200, 4, 100);
        }
        let mut client = Client::with_limits(flow, simulation.clone(), "a", limits).unwrap();
        let answer = simulation.block_on(client.get("/"));
        if answer.is_err() {
            assert!(!client.is_reusable(), "an error leaves nothing to be used");
        }
        simulation.runtime().clear();
        answer.map(|answer| (answer.status(), answer.content().to_vec()))
    };
    let (whole, cut) = (ask(pieces.whole()), ask(pieces.cut()));
    assert_eq!(
        whole.as_ref().ok(),
        cut.as_ref().ok(),
        "the answer depends on the cuts"
    );
    if let Ok((status, content)) = whole {
        let (expected, all) = plain_answer(pieces.bytes).expect("an answer");
        assert_eq!(status, expected);
        assert_eq!(content, all);
    }
}

fn plain_answer(mut rest: &[u8]) -> Option<(u16, Vec<u8>)> {
    loop {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, after) = rest.split_at(end + 4);
        rest = after;
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next()?.get(9..12)?.parse().ok()?;
        if (100..200).contains(&status) {
            continue;
        }
        if matches!(status, 204 | 304) {
            return Some((status, Vec::new()));
        }
        let fields: Vec<(String, &str)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_ascii()))
            .collect();
        let field = |wanted: &str| {
            fields
                .iter()
                .find(|field| field.0 == wanted)
                .map(|field| field.1)
        };
        if let Some(coding) = field("transfer-encoding") {
            assert!(coding.to_ascii_lowercase().contains("chunked"));
            return Some((status, dechunked(rest)?.0));
        }
        let length = match field("content-length") {
            Some(length) => length.parse().ok()?,
            None => rest.len(),
        };
        return Some((status, rest.get(..length)?.to_vec()));
    }
}

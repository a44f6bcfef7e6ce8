use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{Asset, Assets, Encoding, FlowWrite, Spawn};
use mirage_http::Server;
use mirage_sim::World;
use mirage_sim::memory::pair;

use crate::input::Input;

const CONTENT: &[u8] = b"What is served as it is, forty bytes of.";
const GZIP: &[u8] = b"as if it were gzip";

/// A folder of one file.
#[derive(Clone)]
struct Folder;

impl Assets for Folder {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        let mut asset = Asset::new(CONTENT, "text/plain", "tag");
        // RFC 9110 §5.6.7: Sun, 06 Nov 1994 08:49:37 GMT.
        asset.modified = Some(Duration::from_secs(784_111_777));
        (path == "a.txt").then(|| asset.with_encoded(Encoding::Gzip, GZIP))
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        ["a.txt"].into_iter()
    }
}

const FIELDS: [&str; 7] = [
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Accept-Encoding",
];

/// A file asked for with any conditions, ranges and preferences: what is sent is the file, or
/// exactly the part that the answer names, and nothing is refused or held back without a field
/// that asks for it.
pub fn files(input: &[u8]) {
    let mut input = Input::new(input);
    let method = ["GET", "HEAD"][input.below(2)];
    let mut request = format!("{method} /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let mut asked = Vec::new();
    while !input.is_empty() && asked.len() < 6 {
        let name = FIELDS[input.below(FIELDS.len())];
        let visible = |byte: &u8| char::from(if byte.is_ascii_graphic() { *byte } else { b' ' });
        let value: String = input.counted().iter().map(visible).collect();
        request += &format!("{name}: {value}\r\n");
        asked.push((name, value.to_ascii_lowercase()));
    }
    let answer = ask(request + "\r\n");
    let has = |wanted: &[&str]| asked.iter().any(|(name, _)| wanted.contains(name));

    let head = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let (head, content) = answer.split_at(head + 4);
    let head = str::from_utf8(head).expect("a head is ASCII");
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|field| field.0.eq_ignore_ascii_case(wanted))
            .map(|field| field.1)
    };
    let variant = match field("Content-Encoding") {
        None => CONTENT,
        Some(coding) => {
            let wanted = |(name, value): &(&str, String)| {
                *name == "Accept-Encoding" && (value.contains("gzip") || value.contains('*'))
            };
            assert!(
                coding == "gzip" && asked.iter().any(wanted),
                "gzip for who has not asked"
            );
            GZIP
        }
    };
    let expected = match head.get(9..12) {
        Some("200") => variant,
        Some("206") => {
            assert!(has(&["Range"]));
            let range = field("Content-Range").expect("which part it is");
            let (part, length) = range
                .strip_prefix("bytes ")
                .unwrap()
                .split_once('/')
                .unwrap();
            let (first, last) = part.split_once('-').unwrap();
            let [first, last, length] = [first, last, length].map(|n| n.parse::<usize>().unwrap());
            assert_eq!(length, variant.len());
            &variant[first..=last]
        }
        Some("304") => {
            assert!(has(&["If-None-Match", "If-Modified-Since"]));
            return assert!(content.is_empty());
        }
        Some("412") => return assert!(has(&["If-Match", "If-Unmodified-Since"])),
        Some("416") => {
            let range = field("Content-Range").expect("how long it is");
            assert!(has(&["Range"]) && range.starts_with("bytes */"), "{range}");
            return;
        }
        other => panic!("status {other:?}"),
    };
    assert_eq!(
        field("Content-Length"),
        Some(expected.len().to_string().as_str())
    );
    assert_eq!(content, if method == "HEAD" { b"" } else { expected });
    assert!(field("ETag").is_some_and(|tag| tag.starts_with("\"tag")));
}

/// What the server sends to one request until it closes.
fn ask(request: String) -> Vec<u8> {
    let world = World::new(0);
    let (mut flow, theirs) = pair(4096);
    let server = Server::new(world.clone(), world.clone(), world.clone());
    let handler = mirage_http::files(Folder);
    let serving = world.spawn(async move { server.serve_flow(theirs, &handler).await });
    let answer = world.block_on(async {
        flow.write_all(request.as_bytes())
            .await
            .expect("a server that reads");
        flow.shutdown();
        let (mut answer, mut buffer) = (Vec::new(), [0; 1000]);
        while let Ok(count @ 1..) = flow.read(&mut buffer).await {
            answer.extend(&buffer[..count]);
        }
        drop(flow);
        serving.await;
        answer
    });
    world.runtime().clear();
    answer
}

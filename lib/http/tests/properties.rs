//! What holds for any input. A failing case prints the seed that repeats it.

mod common;

use common::{Lab, connect, converse};
use mirage_http::{Client, Limits, Outgoing};
use proptest::prelude::*;
use proptest::sample::Index;

/// Sends `bytes` in the pieces that `cuts` make, each a second after the other.
fn in_pieces(bytes: &[u8], cuts: &[Index]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pieces: Vec<&[u8]> = cuts
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect();
    let simulation = common::world();
    let flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
    converse(&simulation, flow, &pieces, true).received
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let content = prop::collection::vec(any::<u8>(), 0..200);
    let path = prop::sample::select(vec![
        "/hello",
        "/echo",
        "/stream",
        "/target?x",
        "/none",
        "/known",
    ]);
    let method = prop::sample::select(vec!["GET", "HEAD", "POST"]);
    let fields = "(X-[a-z]{1,5}: [ -~]{0,20}\r\n){0,3}";
    (method, path, fields, content, 0..3_usize, 1..50_usize).prop_map(
        |(method, path, fields, content, framing, size)| {
            let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}").into_bytes();
            match framing {
                0 => bytes.extend(b"\r\n"),
                1 => {
                    bytes.extend(format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
                    bytes.extend(content);
                }
                _ => {
                    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in content.chunks(size) {
                        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                        bytes.extend(chunk);
                        bytes.extend(b"\r\n");
                    }
                    bytes.extend(b"0\r\n\r\n");
                }
            }
            bytes
        },
    )
}

/// An answer's content may be chunked wherever its request was cut: take that off.
fn whole(answers: &[u8]) -> Vec<u8> {
    let mut rest = answers;
    let mut out = Vec::new();
    while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
        let (head, after) = rest.split_at(end + 4);
        out.extend(head);
        rest = after;
        if !String::from_utf8_lossy(head).contains("Transfer-Encoding") {
            continue;
        }
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).unwrap();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                break;
            };
            out.extend(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 4 + size..];
            if size == 0 {
                break;
            }
        }
    }
    out.extend(rest);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_same_requests_cut_anywhere_get_the_same_answers(
        requests in prop::collection::vec(request(), 1..6),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        // Contents that look like chunked answers would confuse `whole`: `/stream` alone is
        // chunked, and only by its HEAD is it not.
        let requests: Vec<Vec<u8>> = requests
            .into_iter()
            .filter(|request| !request.starts_with(b"HEAD /stream"))
            .map(|mut request| {
                let body = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
                let chunked = request.windows(7).any(|w| w == b"chunked");
                if !chunked {
                    request[body..].iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
                }
                request
            })
            .collect();
        let bytes = requests.concat();
        let at_once = in_pieces(&bytes, &[]);
        prop_assert_eq!(whole(&in_pieces(&bytes, &cuts)), whole(&at_once));
    }

    #[test]
    fn garbage_never_panics_and_never_keeps_the_connection_open(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        in_pieces(&bytes, &cuts);
    }

    #[test]
    fn a_damaged_request_never_panics(
        requests in prop::collection::vec(request(), 1..4),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        in_pieces(&bytes, &cuts);
    }

    #[test]
    fn any_content_comes_back_through_client_and_server(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6),
        chunked in any::<bool>(),
        stream in any::<bool>(),
    ) {
        let simulation = common::world();
        let flow = connect(&simulation, Lab(simulation.clone()), Limits::default());
        let mut client = Client::new(flow, simulation.clone(), "a").unwrap();
        let content = parts.concat();
        let target = if stream && content.len() < 4096 { "/stream" } else { "/echo" };
        let length = (!chunked).then_some(content.len() as u64);
        let received = simulation.block_on(async {
            let request = Outgoing { method: "POST", target, fields: &[] };
            let mut upload = client.upload(request, length).unwrap();
            for part in &parts {
                upload.write(part).await.unwrap();
            }
            upload.finish().await.unwrap().content().await.unwrap()
        });
        prop_assert_eq!(received, content);
        prop_assert!(client.is_reusable());
    }

    #[test]
    fn a_damaged_answer_never_panics(
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
    ) {
        use mirage_device::{Flow, FlowWrite, Spawn, Task};
        use mirage_device::io::{Read, Write};
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let simulation = common::world();
        let (flow, server) = mirage_sim::memory::pair(4096);
        let (mut reader, mut writer) = server.split();
        simulation.spawn(async move {
            let _ = reader.read(&mut [0; 100]).await;
            let _ = writer.write_all(&bytes).await;
            writer.shutdown();
        }).detach();
        let mut client = Client::new(flow, simulation.clone(), "a").unwrap();
        let _ = simulation.block_on(client.get("/"));
    }
}

//! What a connection costs in memory.

use mirage_device::io::{Read, Write};
use mirage_device::{Asset, Assets, Encoding, Spawn, Task};
use mirage_http::{Server, files};
use mirage_sim::World;
use mirage_sim::memory::pair;
use std::time::Duration;

#[derive(Clone, Copy)]
struct Site;

impl Assets for Site {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        let page = Asset::new(&[b'x'; 612], "text/html; charset=utf-8", "ba7816bf8f01cfea");
        let page = page.with_encoded(Encoding::Gzip, &[b'z'; 400]);
        matches!(path, "index.html" | "docs/a page.html").then_some(page)
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

/// Allocations in a conversation of so many requests.
fn allocations(requests: usize) -> u64 {
    allocation_counter::measure(|| {
        let simulation = World::new(0);
        simulation.set_wall(Some(Duration::from_secs(784_111_777)));
        let server = Server::new(simulation.clone(), simulation.clone(), simulation.clone());
        let (mut client, flow) = pair(4096);
        simulation
            .spawn(async move { server.serve_flow(flow, &files(Site)).await })
            .detach();
        let mut buffer = [0; 4096];
        let paths = ["/", "/docs/a%20page.html"];
        simulation.block_on(async {
            for request in 0..requests {
                client.write_all(b"GET ").await.unwrap();
                client
                    .write_all(paths[request % 2].as_bytes())
                    .await
                    .unwrap();
                let rest = b" HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\
                    If-None-Match: \"x\"\r\n\r\n";
                client.write_all(rest).await.unwrap();
                let count = client.read(&mut buffer).await.unwrap();
                assert!(buffer[..count].ends_with(&[b'z'; 400]));
            }
        });
    })
    .count_total
}

#[test]
fn a_request_for_a_file_allocates_nothing() {
    assert_eq!(allocations(1000), allocations(20));
}

#[test]
fn the_future_of_a_connection_is_small() {
    let simulation = World::new(0);
    let server = Server::new(simulation.clone(), simulation.clone(), simulation.clone());
    let (_client, flow) = pair(4096);
    let handler = files(Site);
    let size = size_of_val(&server.serve_flow(flow, &handler));
    assert!(size <= 2048, "{size} bytes");
}

//! Says hello over HTTP, and shows its counters to Prometheus.

#![no_std]
#![forbid(unsafe_code)]

use core::net::{Ipv6Addr, SocketAddr};

use mirage_http::{Done, Error, Exchange, Handler, Request, Server, Status};
use mirage_kit::device::{Counter, Counters, Flow, Sleep, Spawn, Stack, StackError, Wall};
use mirage_kit::log;
use mirage_metrics::Metrics;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// TCP port to serve on.
    pub port: u16,
}

/// Says hello until the network goes away.
pub async fn main(
    stack: impl Stack,
    spawn: impl Spawn,
    sleep: impl Sleep,
    wall: impl Wall,
    counters: impl Counters,
    keys: Keys,
) -> Result<(), StackError> {
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), keys.port);
    let listener = stack.listen(here, 128)?;
    log::info!("listening on TCP port {}", keys.port);
    let hello = Hello {
        greeted: counters.counter("metrics", "greetings_total"),
    };
    let server = Server::new(spawn, sleep, wall).counting(&counters, "http");
    match server
        .serve(listener, Metrics::new(counters, hello))
        .await? {}
}

struct Hello {
    greeted: Counter,
}

impl Handler for Hello {
    async fn handle(
        &self,
        _: &Request<'_>,
        exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        self.greeted.add(1);
        let answer = exchange.answer(Status::OK);
        answer
            .field("Content-Type", "text/plain")
            .send("Hello\n")
            .await
    }
}

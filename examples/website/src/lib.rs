//! Serves a folder of files over HTTP.

#![no_std]
#![forbid(unsafe_code)]

use core::net::{Ipv6Addr, SocketAddr};

use mirage_http::{Server, files};
use mirage_kit::device::{Assets, Counters, Sleep, Spawn, Stack, StackError, Wall};
use mirage_kit::log;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// TCP port to serve on.
    pub port: u16,
}

/// Serves `assets` until the network goes away.
pub async fn main(
    stack: impl Stack,
    spawn: impl Spawn,
    sleep: impl Sleep,
    wall: impl Wall,
    assets: impl Assets,
    counters: impl Counters,
    keys: Keys,
) -> Result<(), StackError> {
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), keys.port);
    let listener = stack.listen(here, 1024)?;
    log::info!(
        "listening on TCP port {}, {} files",
        keys.port,
        assets.paths().count()
    );
    match Server::new(spawn, sleep, wall)
        .counting(&counters, "http")
        .serve(listener, files(assets))
        .await? {}
}

//! A key-value store over HTTP that keeps its history on a block device.
//!
//! The store is Irmin's: each change is a commit, so that one can ask what a key held before and who
//! watches is told of every change. It is a file on the host, given as the device `disk`:
//!
//! ```text
//! truncate --size 16M kv.disk
//! mirage run examples/kv --block disk=kv.disk --publish 8080:80
//! curl -T notes.txt http://localhost:8080/keys/notes/today
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `GET /keys/PATH` | the value, with its `ETag`; `?at=main~3` or `?at=ID` as it was after that change |
//! | `GET /keys/PATH/` | the names below, one a line; those with more below end in `/` |
//! | `PUT /keys/PATH` | 201 or 204 once the change is **durable**; with `?async` 202 at once. `If-Match` and `If-None-Match` are kept |
//! | `DELETE /keys/PATH` | the same, for a key or all below it; 404 if there is none |
//! | `GET /log` | the changes, newest first, one a line: id, seconds since 1970, what; `?path=PATH` of this key (the first is the last modification), `?limit=100` |
//! | `GET /watch` | server-sent events: one for each key that changes from now on; `?path=PATH` below this path |
//! | `GET /check` | reads the whole store: 200 if it is sound |
//! | `GET /` | figures of the store |
//!
//! A change that was acknowledged survives a loss of power at any moment; one that was not is there
//! whole or not at all. A value that was put may be read before it is durable. Changes that come at
//! once share one flush of the disk.
//!
//! When the disk is full, changes older than the key `history` says are forgotten; when that is not
//! enough all but the current state is. What still finds no room is answered with 507, and deleting
//! goes on. The whole store is in memory: give the unikernel three times the disk (`--memory 64M`).

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod api;
mod request;
mod room;
mod store;

use alloc::rc::Rc;
use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use irmin_behind::{Behind, OpenError, Options};
use mirage_http::Server;
use mirage_kit::device::{Block, Counters, Sleep, Spawn, Stack, StackError, Wall};
use mirage_kit::log;

use api::Api;
use store::Store;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// TCP port to serve on.
    pub port: u16,
    /// Changes to remember when the disk is full.
    pub history: u32,
    /// Whether to save what is whole from a damaged disk.
    pub repair: bool,
}

/// Why the store does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk.
    #[error("disk: {0}")]
    Disk(#[from] OpenError),
    /// The network.
    #[error("stack: {0}")]
    Stack(#[from] StackError),
}

/// How long a disk that failed is left alone before it is written to again.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves the store on `disk` until the network goes away.
pub async fn main(
    disk: impl Block,
    stack: impl Stack,
    spawn: impl Spawn,
    sleep: impl Sleep,
    wall: impl Wall,
    counters: impl Counters,
    keys: Keys,
) -> Result<(), Error> {
    let options = Options {
        repair: keys.repair,
        ..Options::default()
    };
    let (behind, mut driver, repaired) = Behind::open_reporting(disk, &options).await?;
    for damage in &repaired.damage {
        log::warn!("lost by damage: {damage:?}");
    }
    let pause = sleep.clone();
    // It lives as long as this function.
    let _driver = spawn.spawn(async move {
        loop {
            let error = driver.run().await;
            log::error!("the disk failed, trying again: {error}");
            pause.sleep(PAUSE).await;
        }
    });
    let store = Rc::new(Store::new(behind, keys.history.max(1)));
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), keys.port);
    let listener = stack.listen(here, 1024)?;
    log::info!("listening on TCP port {}, {}", keys.port, store.figures());
    let api = Api::new(store, sleep.clone());
    match Server::new(spawn, sleep, wall)
        .counting(&counters, "http")
        .serve(listener, api)
        .await? {}
}

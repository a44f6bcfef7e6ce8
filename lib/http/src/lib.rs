//! HTTP/1.1 (RFC 9110, RFC 9112) over any [`Flow`](mirage_device::Flow): a server, a small
//! client, and a handler that serves a folder of files.
//!
//! ```
//! use mirage_device::{Assets, Sleep, Spawn, Stack, StackError, Wall};
//!
//! async fn serve(
//!     stack: impl Stack, spawn: impl Spawn, sleep: impl Sleep, wall: impl Wall, assets: impl Assets,
//! ) -> Result<(), StackError> {
//!     let listener = stack.listen("[::]:80".parse().unwrap(), 1024)?;
//!     let server = mirage_http::Server::new(spawn, sleep, wall);
//!     match server.serve(listener, mirage_http::files(assets)).await? {}
//! }
//! ```
//!
//! A peer is believed nothing: every length, count and time has its limit ([`Limits`]), and a
//! request that two implementations could read differently is refused (400) and its connection
//! closed. What a slow or hostile peer uses up is its own connection.
//!
//! Not here, by choice: HTTP/2, TLS, proxying, trailers, multipart ranges, compression at run
//! time.

#![no_std]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

extern crate alloc;

mod body;
mod chunked;
mod client;
mod condition;
mod connection;
mod date;
mod error;
mod exchange;
mod fields;
mod files;
mod head;
mod incoming;
mod limits;
mod link;
mod negotiate;
mod range;
mod server;
mod status;
mod target;
mod wire;

pub use client::{Client, ClientError, Outgoing, Upload, get};
pub use error::Error;
pub use exchange::{Answer, Done, Exchange, Handler, Stream};
pub use fields::Fields;
pub use files::{Files, files};
pub use head::Request;
pub use incoming::{Incoming, Response};
pub use limits::{Limits, Pace};
pub use server::Server;
pub use status::Status;

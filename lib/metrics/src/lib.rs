//! A unikernel's counters at `/metrics`, for Prometheus to read.
//!
//! ```
//! use mirage_device::{Assets, Counters, Listener, Sleep, Spawn, StackError, Wall};
//! use mirage_http::{Server, files};
//! use mirage_metrics::Metrics;
//!
//! async fn serve(
//!     listener: impl Listener, spawn: impl Spawn, sleep: impl Sleep, wall: impl Wall,
//!     assets: impl Assets, counters: impl Counters,
//! ) -> Result<(), StackError> {
//!     let server = Server::new(spawn, sleep, wall).counting(&counters, "http");
//!     match server.serve(listener, Metrics::new(counters, files(assets))).await? {}
//! }
//! ```
//!
//! Whoever can reach the port can read the counters: serve them on a port of their own where
//! that is not for everybody.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};

use mirage_counters::Prometheus;
use mirage_device::{Counters, Flow, Sleep};
use mirage_http::{Done, Error, Exchange, Handler, Request, Status};

/// What the counters show, as Prometheus reads it: exposition format 0.0.4. Returns at once.
pub fn text(counters: &impl Counters) -> String {
    let mut text = Prometheus::new();
    counters.each(|sample| text.add(&[], sample));
    text.to_string()
}

/// Answers `GET /metrics` with the counters and leaves every other request to another handler.
#[derive(Debug, Clone)]
pub struct Metrics<C, H> {
    counters: C,
    otherwise: H,
}

impl<C: Counters, H: Handler> Metrics<C, H> {
    /// The counters, and who answers what is not about them.
    pub const fn new(counters: C, otherwise: H) -> Self {
        Self {
            counters,
            otherwise,
        }
    }
}

impl<C: Counters, H: Handler> Handler for Metrics<C, H> {
    const AT_ONCE: bool = H::AT_ONCE;

    async fn handle(
        &self,
        request: &Request<'_>,
        exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error> {
        if request.path() == "/metrics" && matches!(request.method(), "GET" | "HEAD") {
            let answer = exchange.answer(Status::OK);
            let answer = answer.field("Content-Type", Prometheus::MEDIA_TYPE);
            return answer.send(text(&self.counters)).await;
        }
        self.otherwise.handle(request, exchange).await
    }
}

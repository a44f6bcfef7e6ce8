//! Bodies of requests: gathered whole, within limits of size and pace.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::answer::Problem;
use crate::paced::LEAST;

/// A body that arrives.
pub(crate) struct Intake {
    from: Incoming,
    patience: Duration,
}

impl Intake {
    pub(crate) fn new(from: Incoming, patience: Duration) -> Intake {
        Intake { from, patience }
    }

    /// The next bytes, at least [`LEAST`] unless the body ends.
    ///
    /// # Errors
    /// Status 408 if the client takes longer than its time for them.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let deadline = Instant::now() + self.patience;
        let mut gathered = BytesMut::new();
        while gathered.len() < LEAST {
            let frame = poll_fn(|context| Pin::new(&mut self.from).poll_frame(context));
            let frame = timeout_at(deadline, frame).await;
            let late = |_| {
                Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "the body came too slowly",
                    "send it again",
                )
            };
            let broken = |error: hyper::Error| {
                Problem::wrong(format!("the body broke off: {error}"), "send it again")
            };
            match frame.map_err(late)?.transpose().map_err(broken)? {
                None => break,
                Some(frame) => match frame.into_data() {
                    Ok(bytes) if gathered.is_empty() && bytes.len() >= LEAST => {
                        return Ok(Some(bytes));
                    }
                    Ok(bytes) => gathered.extend_from_slice(&bytes),
                    // Trailers say nothing here.
                    Err(_) => {}
                },
            }
        }
        Ok((!gathered.is_empty()).then(|| gathered.freeze()))
    }

    /// All of it.
    ///
    /// # Errors
    /// Status 413 if it is longer than `limit`.
    pub(crate) async fn whole(mut self, limit: usize) -> Result<Bytes, Problem> {
        let too_large = || {
            let hint = format!("at most {limit} bytes are taken");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", hint)
        };
        if self.from.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut gathered = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if bytes.remaining() > limit - gathered.len() {
                return Err(too_large());
            }
            gathered.extend_from_slice(&bytes);
        }
        Ok(gathered.freeze())
    }
}

//! A flow with a clock: no wait on a peer is without its end.

use alloc::boxed::Box;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use mirage_device::{FlowError, FlowRead, FlowWrite, Instant, Sleep};

use crate::Error;
use crate::limits::Patience;
use crate::server::Slot;

pub(crate) struct Wire<F, S> {
    pub flow: F,
    pub alarm: Alarm<S>,
}

/// One timer for all the waits of a connection. It is armed when a wait really begins, stays
/// armed when the wait is over, and is armed anew only when it goes off too early or would go
/// off too late: a connection that is busy never touches the timer wheel.
pub(crate) struct Alarm<S> {
    sleep: S,
    armed: Option<Armed>,
}

struct Armed {
    at: Instant,
    timer: Pin<Box<dyn Future<Output = ()>>>,
}

impl<S: Sleep> Alarm<S> {
    fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            if let Some(armed) = self.armed.as_mut().filter(|armed| armed.at <= deadline) {
                if armed.timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.armed = None;
                if self.sleep.now() >= deadline {
                    return Poll::Ready(());
                }
            }
            let timer = Box::pin(self.sleep.sleep_until(deadline));
            self.armed = Some(Armed {
                at: deadline,
                timer,
            });
        }
    }

    /// Runs `operation` as long as `wait` allows, and tells when its first wait began.
    async fn guard<T>(
        &mut self,
        operation: impl Future<Output = Result<T, FlowError>>,
        wait: Wait<'_>,
    ) -> (Result<T, Error>, Option<Instant>) {
        let mut operation = pin!(operation);
        let mut began = None;
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = operation.as_mut().poll(context) {
                return Poll::Ready(result.map_err(Error::Flow));
            }
            let now = *began.get_or_insert_with(|| self.sleep.now());
            let end = match wait {
                Wait::Until(end) => end,
                Wait::For(time) => now + time,
                Wait::Idle(time, slot) if slot.idle(context, now) => now + time,
                Wait::Idle(..) => return Poll::Ready(Err(Error::Ended)),
            };
            self.poll(context, end).map(|()| Err(Error::TimedOut))
        })
        .await;
        (result, began)
    }
}

/// How long to wait for a peer.
#[derive(Clone, Copy)]
pub(crate) enum Wait<'w> {
    Until(Instant),
    /// From the moment that the wait really begins.
    For(Duration),
    /// As [`Wait::For`], and only until the connection must make room: then [`Error::Ended`].
    Idle(Duration, &'w Slot),
}

impl<F: FlowRead + FlowWrite, S: Sleep> Wire<F, S> {
    pub const fn new(flow: F, sleep: S) -> Self {
        Self {
            flow,
            alarm: Alarm { sleep, armed: None },
        }
    }

    pub fn now(&self) -> Instant {
        self.alarm.sleep.now()
    }

    /// Reads; 0 at the end of the stream. The one place where reading waits: it is compiled
    /// once for all its callers.
    async fn read_timed(
        &mut self,
        buffer: &mut [u8],
        wait: Wait<'_>,
    ) -> (Result<usize, Error>, Option<Instant>) {
        self.alarm.guard(self.flow.read(buffer), wait).await
    }

    /// Reads as long as `wait` allows; 0 at the end of the stream.
    pub async fn read(&mut self, buffer: &mut [u8], wait: Wait<'_>) -> Result<usize, Error> {
        self.read_timed(buffer, wait).await.0
    }

    /// Reads as long as `patience` lasts; 0 at the end of the stream.
    pub async fn receive(
        &mut self,
        buffer: &mut [u8],
        patience: &mut Patience,
    ) -> Result<usize, Error> {
        let (read, began) = self.read_timed(buffer, Wait::For(patience.left)).await;
        self.spend(patience, began, read?)
    }

    /// Writes some of `buffers` as if they were one, as long as `patience` lasts: how much.
    pub async fn send(
        &mut self,
        buffers: &[&[u8]],
        patience: &mut Patience,
    ) -> Result<usize, Error> {
        let write = self.flow.write_vectored(buffers);
        let (write, began) = self.alarm.guard(write, Wait::For(patience.left)).await;
        match write? {
            0 => Err(Error::Flow(FlowError::Closed)),
            count => self.spend(patience, began, count),
        }
    }

    /// Accounts for a wait, where there was one, that brought `count` bytes.
    fn spend(
        &self,
        patience: &mut Patience,
        began: Option<Instant>,
        count: usize,
    ) -> Result<usize, Error> {
        if let Some(began) = began {
            patience.spend(self.now() - began, count);
        }
        Ok(count)
    }

    /// Writes all of `buffers`. Not cancel-safe.
    pub async fn send_all(
        &mut self,
        mut buffers: [&[u8]; 3],
        patience: &mut Patience,
    ) -> Result<(), Error> {
        while buffers.iter().any(|buffer| !buffer.is_empty()) {
            let mut count = self.send(&buffers, patience).await?;
            for buffer in &mut buffers {
                let done = count.min(buffer.len());
                *buffer = buffer.get(done..).unwrap_or_default();
                count -= done;
            }
        }
        Ok(())
    }
}

//! A flow with a clock: no wait on a peer is without its end.

use alloc::boxed::Box;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use mirage_device::{FlowError, FlowRead, FlowWrite, Instant, Sleep};

use crate::Error;
use crate::limits::Patience;

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

    /// Runs `operation` until `deadline`, which is asked for when the first wait begins; while
    /// it waits, `interrupt` may end it.
    async fn guard<T>(
        &mut self,
        operation: impl Future<Output = Result<T, FlowError>>,
        mut deadline: impl FnMut(Instant) -> Instant,
        mut interrupt: impl FnMut(&mut Context<'_>, Instant) -> Poll<()>,
    ) -> Option<Result<T, Error>> {
        let mut operation = pin!(operation);
        let mut began = None;
        poll_fn(|context| {
            if let Poll::Ready(result) = operation.as_mut().poll(context) {
                return Poll::Ready(Some(result.map_err(Error::Flow)));
            }
            let (now, end) = *began.get_or_insert_with(|| {
                let now = self.sleep.now();
                (now, deadline(now))
            });
            if interrupt(context, now).is_ready() {
                return Poll::Ready(None);
            }
            self.poll(context, end).map(|()| Some(Err(Error::TimedOut)))
        })
        .await
    }
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

    /// Reads before `deadline`; 0 at the end of the stream.
    pub async fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        let never = |_: &mut Context<'_>, _| Poll::Pending;
        let read = self
            .alarm
            .guard(self.flow.read(buffer), |_| deadline, never)
            .await;
        read.unwrap_or(Err(Error::TimedOut))
    }

    /// Reads within `limit`, or until `interrupt` says stop: then `None`.
    pub async fn read_idle(
        &mut self,
        buffer: &mut [u8],
        limit: Duration,
        interrupt: impl FnMut(&mut Context<'_>, Instant) -> Poll<()>,
    ) -> Option<Result<usize, Error>> {
        self.alarm
            .guard(self.flow.read(buffer), |now| now + limit, interrupt)
            .await
    }

    /// Reads as long as `patience` lasts; 0 at the end of the stream.
    pub async fn receive(
        &mut self,
        buffer: &mut [u8],
        patience: &mut Patience,
    ) -> Result<usize, Error> {
        let mut began = None;
        let deadline = |now: Instant| *began.insert(now) + patience.left;
        let never = |_: &mut Context<'_>, _| Poll::Pending;
        let read = self
            .alarm
            .guard(self.flow.read(buffer), deadline, never)
            .await;
        let count = read.unwrap_or(Err(Error::TimedOut))?;
        patience.spend(
            began.map_or(Duration::ZERO, |began| self.now() - began),
            count,
        );
        Ok(count)
    }

    /// Writes some of `buffers` as if they were one, as long as `patience` lasts: how much.
    pub async fn send(
        &mut self,
        buffers: &[&[u8]],
        patience: &mut Patience,
    ) -> Result<usize, Error> {
        let mut began = None;
        let deadline = |now: Instant| *began.insert(now) + patience.left;
        let never = |_: &mut Context<'_>, _| Poll::Pending;
        let write = self.flow.write_vectored(buffers);
        let write = self.alarm.guard(write, deadline, never).await;
        let count = write.unwrap_or(Err(Error::TimedOut))?;
        if count == 0 {
            return Err(Error::Flow(FlowError::Closed));
        }
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

//! Wrong flows.

use std::net::SocketAddr;
use std::task::{Context, Waker};

use mirage_conformance::flow;
use mirage_device::io::{ErrorType, Read, Write};
use mirage_device::{Flow, FlowError, FlowRead, FlowWrite};
use mirage_sim::memory::{MemoryFlow, MemoryReader, MemoryWriter, pair};

use crate::rigs::{caught, run, turn};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// A read that is dropped has taken bytes.
    ReadLoses,
    /// A read leaves no waker behind.
    LostWakeUp,
    /// A write that is dropped has taken bytes.
    WriteTakes,
    /// Says that it took all, and takes half.
    Miscounts,
    /// Holds short writes back until a flush.
    HoldsBack,
    /// Forgets the end once it has told it.
    EndsOnce,
    /// Throws away what was not read when it is dropped, by a reset.
    ResetsOnDrop,
    /// Closes where it should abort.
    ClosesOnAbort,
    /// An error is told once.
    ErrsOnce,
    /// Says that bytes have arrived that it still has.
    FlushLies,
    /// Takes the buffers in the wrong order.
    Backwards,
}

struct Wrong {
    flow: Option<MemoryFlow>,
    fault: Fault,
    held: Vec<u8>,
    told: bool,
}

impl Wrong {
    fn flow(&mut self) -> &mut MemoryFlow {
        self.flow.as_mut().unwrap()
    }
}

impl ErrorType for Wrong {
    type Error = FlowError;
}

impl Read for Wrong {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        let fault = self.fault;
        match fault {
            Fault::ReadLoses if !buffer.is_empty() => {
                let read = self.flow().read(buffer).await;
                turn().await;
                read
            }
            Fault::LostWakeUp => {
                let mut read = std::pin::pin!(self.flow().read(buffer));
                std::future::poll_fn(|_| {
                    read.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                })
                .await
            }
            Fault::EndsOnce | Fault::ErrsOnce => {
                let (told, empty) = (self.told, buffer.is_empty());
                let read = self.flow().read(buffer).await;
                let now = match fault {
                    Fault::EndsOnce => read == Ok(0) && !empty,
                    _ => read.is_err(),
                };
                self.told |= now;
                match (now && told, fault) {
                    (true, Fault::EndsOnce) => Err(FlowError::Gone),
                    (true, _) => Ok(0),
                    _ => read,
                }
            }
            _ => self.flow().read(buffer).await,
        }
    }
}

impl Write for Wrong {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, FlowError> {
        match self.fault {
            Fault::WriteTakes => {
                let written = self.flow().write(bytes).await;
                if bytes.len() == 100 || bytes.len() > 1024 {
                    turn().await;
                }
                written
            }
            Fault::Miscounts if bytes.len() > 4 => {
                self.flow().write(&bytes[..bytes.len() / 2]).await?;
                Ok(bytes.len())
            }
            Fault::HoldsBack if bytes.len() < 64 => {
                self.held.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Fault::FlushLies if bytes == b"unread" => {
                self.held.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => self.flow().write(bytes).await,
        }
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        if self.fault == Fault::FlushLies {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.flow().write_all(&held).await?;
        self.flow().flush().await
    }
}

impl FlowRead for Wrong {}

impl FlowWrite for Wrong {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        if self.fault == Fault::Backwards {
            let backwards: Vec<&[u8]> = buffers.iter().rev().copied().collect();
            return self.flow().write_vectored(&backwards).await;
        }
        self.flow().write_vectored(buffers).await
    }

    fn shutdown(&mut self) {
        self.flow().shutdown();
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if self.fault == Fault::ResetsOnDrop
            && let Some(flow) = self.flow.take()
        {
            flow.abort();
        }
    }
}

impl Flow for Wrong {
    type Reader = MemoryReader;
    type Writer = MemoryWriter;

    fn split(mut self) -> (MemoryReader, MemoryWriter) {
        self.flow.take().unwrap().split()
    }

    fn abort(mut self) {
        let flow = self.flow.take().unwrap();
        if self.fault != Fault::ClosesOnAbort {
            flow.abort();
        }
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn local(&self) -> Option<SocketAddr> {
        None
    }
}

#[test]
fn a_flow_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::ReadLoses, flow::READ_DROPPED),
        (Fault::LostWakeUp, flow::READ_WAITS),
        (Fault::WriteTakes, flow::WRITE_DROPPED),
        (Fault::Miscounts, flow::UNFLUSHED),
        (Fault::HoldsBack, flow::UNFLUSHED),
        (Fault::EndsOnce, flow::END),
        (Fault::ResetsOnDrop, flow::DROPPED),
        (Fault::ClosesOnAbort, flow::ABORT),
        (Fault::ErrsOnce, flow::READ_FINAL),
        (Fault::FlushLies, flow::FLUSH_WAITS),
        (Fault::Backwards, flow::VECTORED),
    ] {
        let report = run(async |s| {
            let connect = async || {
                let (flow, peer) = pair(4096);
                Some((
                    Wrong {
                        flow: Some(flow),
                        fault,
                        held: Vec::new(),
                        told: false,
                    },
                    peer,
                ))
            };
            flow::check(connect, &s).await
        });
        caught(&report, sentence);
    }
}

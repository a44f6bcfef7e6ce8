//! The contract of [`Flow`], with that of [`FlowRead`](mirage_device::FlowRead) and
//! [`FlowWrite`].

#[cfg(doc)]
use mirage_device::FlowWrite;
use mirage_device::{Flow, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::patiently;

mod rig;

use rig::Rig;

contract! { "flow"
    "FlowRead" {
        _: Does "The reading half of a flow, or a whole one.", because::IT_DESCRIBES;
    }
    ("FlowRead" as "read") {
        READ_WAITS: Waits "[`Read::read`] waits until at least one byte is there and copies what is there, at most the buffer.";
        END: Does "`Ok(0)` for a buffer that is not empty means that the peer has closed its sending side and everything it sent has been read; every later read says the same.";
        READ_EMPTY: Waits "For an empty buffer it is `Ok(0)` at once.";
        READ_DROPPED: Cancel "Cancel-safe: a dropped read has taken no byte.";
        _: Owns "The caller owns the buffer.", because::TYPES_SAY_IT;
        READ_FINAL: Errors "An error is final for reading: what had not been read is lost.";
    }
    "FlowWrite" {
        _: Does "The writing half of a flow, or a whole one.", because::IT_DESCRIBES;
    }
    ("FlowWrite" as "write") {
        WRITE_WAITS: Waits "[`Write::write`] waits until at least one byte fits into the send buffer, copies what fits and returns how much.";
        WRITE_EMPTY: Waits "For an empty buffer it is `Ok(0)` at once.";
        WRITE_DROPPED: Cancel "Cancel-safe: a dropped write has taken no byte.";
        _: Owns "The caller keeps the buffer.", because::TYPES_SAY_IT;
        _: Does "`Ok` means taken, not sent and not received.", because::IT_ALLOWS;
        WRITE_FINAL: Errors "An error is final for writing.";
    }
    ("FlowWrite" as "flush") {
        FLUSH_WAITS: Waits "[`Write::flush`] waits until every byte taken so far has been acknowledged by the peer's stack.";
        _: Does "It does not mean that the peer's application has read them.", because::IT_ALLOWS;
        FLUSH_DROPPED: Cancel "Cancel-safe: a dropped flush has lost no byte.";
        UNFLUSHED: Does "Bytes are sent without a flush too: nothing is held back for later.";
    }
    "FlowWrite::write_vectored" {
        VECTORED: Does "As [`Write::write`] for several buffers, one after the other, as if they were one: a header and a body may leave in the same segment.";
        VECTORED_COUNT: Does "Returns how many bytes in all were taken, always the first of them.";
        VECTORED_DROPPED: Cancel "Cancel-safe: a dropped call has taken no byte.";
    }
    "FlowWrite::shutdown" {
        SHUTDOWN: Does "Closes this side: the peer reads everything written so far and then the end.";
        READING_GOES_ON: Does "Reading goes on.";
        SHUTDOWN_AT_ONCE: Waits "Returns at once; sending goes on behind.";
        CLOSED: Errors "Later writes fail with [`FlowError::Closed`].";
        SHUTDOWN_TWICE: Does "A second call does nothing.";
    }
    "Flow" {
        IN_ORDER: Does "A connected byte stream, reliable and in order, with half-close: TCP, a pipe, TLS, vchan.";
        DROPPED: Does "Dropping a flow closes both sides in order: what was written is still delivered.";
        _: Does "To throw the connection away use [`Flow::abort`].", because::IT_BINDS_CALLERS;
    }
    "Flow::Reader" {
        _: Does "The reading half.", because::IT_DESCRIBES;
    }
    "Flow::Writer" {
        _: Does "The writing half.", because::IT_DESCRIBES;
        WRITER_DROPPED: Does "Dropping it does what [`FlowWrite::shutdown`] does.";
    }
    "Flow::split" {
        HALVES: Does "Two halves that different tasks may own and wait on at the same time.";
        SPLIT_AT_ONCE: Waits "Returns at once.";
        BOTH_DROPPED: Does "The connection ends when both halves are dropped.";
    }
    "Flow::abort" {
        ABORT: Does "Throws the connection away: the peer sees a reset, unsent bytes are lost.";
        ABORT_AT_ONCE: Waits "Returns at once.";
    }
    "Flow::peer" {
        PEER: Does "The other end's address, where flows of this kind have one.";
        PEER_AT_ONCE: Waits "Returns at once.";
    }
    "Flow::local" {
        LOCAL: Does "This end's address, where flows of this kind have one.";
        LOCAL_AT_ONCE: Waits "Returns at once.";
    }
}

/// Checks the first flow of each pair that `connect` makes: the two ends of a new connection,
/// `None` when there is none to be had. The second one plays the peer and is taken to be right.
/// Each direction must hold 16 bytes that nobody has read.
pub async fn check<F: Flow, P: Flow>(
    mut connect: impl AsyncFnMut() -> Option<(F, P)>,
    sleep: &impl Sleep,
) -> Report {
    let mut report = Report::new();
    let checks = 10;
    for number in 0..checks {
        let Some((flow, peer)) = patiently(sleep, connect()).await.flatten() else {
            report.check(
                IN_ORDER,
                false,
                "a new connection",
                ("none at check number", number),
            );
            break;
        };
        let rig = Rig { flow, peer, sleep };
        match number {
            0 => rig.small(&mut report).await,
            1 => rig.long(&mut report).await,
            2 => rig.reads(&mut report).await,
            3 => rig.writes(&mut report).await,
            4 => rig.half_close(&mut report).await,
            5 => rig.dropped(&mut report).await,
            6 => rig.halves(&mut report).await,
            7 => rig.halves_dropped(&mut report).await,
            8 => rig.reset(&mut report).await,
            _ => rig.aborts(&mut report).await,
        }
    }
    report.complete(&CONTRACT)
}

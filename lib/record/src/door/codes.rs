//! Answers that are not plain success, as a recording has them.

use mirage_device::{BlockError, NetError};

/// The code of an answer that is none: no frame, no wall clock, still pending.
pub(super) const NOTHING: u8 = 2;

pub(super) fn net_code(error: NetError) -> u8 {
    match error {
        NetError::Full => 3,
        NetError::TooLong => 4,
        _ => 5,
    }
}

pub(super) fn net_error(code: u8) -> NetError {
    match code {
        3 => NetError::Full,
        4 => NetError::TooLong,
        _ => NetError::Gone,
    }
}

pub(super) fn block_code(error: BlockError) -> u8 {
    match error {
        BlockError::Misaligned => 3,
        BlockError::OutOfRange => 4,
        BlockError::ReadOnly => 5,
        BlockError::Unsupported => 6,
        BlockError::NoSpace => 7,
        _ => 8,
    }
}

pub(super) fn block_error(code: u8) -> BlockError {
    match code {
        3 => BlockError::Misaligned,
        4 => BlockError::OutOfRange,
        5 => BlockError::ReadOnly,
        6 => BlockError::Unsupported,
        7 => BlockError::NoSpace,
        _ => BlockError::Io,
    }
}

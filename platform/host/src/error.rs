//! The kernel's errors in the words of the interfaces.

use mirage_device::{FlowError, StackError};
use rustix::io::Errno;

pub(crate) fn flow(error: Errno) -> FlowError {
    match error {
        // A write after the peer has gone: its reset came before.
        Errno::CONNRESET | Errno::PIPE | Errno::CONNREFUSED | Errno::CONNABORTED => {
            FlowError::Reset
        }
        Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH => FlowError::TimedOut,
        _ => FlowError::Gone,
    }
}

pub(crate) fn stack(error: Errno) -> StackError {
    match error {
        Errno::ADDRINUSE => StackError::AddressInUse,
        Errno::ADDRNOTAVAIL | Errno::INVAL | Errno::AFNOSUPPORT | Errno::ACCESS | Errno::PERM => {
            StackError::InvalidAddress
        }
        Errno::CONNREFUSED | Errno::CONNRESET => StackError::Refused,
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NODEV => StackError::Unreachable,
        Errno::TIMEDOUT => StackError::TimedOut,
        Errno::MSGSIZE => StackError::TooLong,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => StackError::NoResources,
        _ => StackError::Gone,
    }
}

//! A TCP/IP stack that lives in memory, without frames: hosts reach each other, lose nothing and
//! take no time. For tests of what stands above a stack.

mod flow;
mod stack;

pub use flow::{MemoryFlow, MemoryReader, MemoryWriter, pair};
pub use stack::{MemoryListener, MemoryStack, MemoryUdp, Network};

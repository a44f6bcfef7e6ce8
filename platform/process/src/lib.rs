//! The platform of a sandboxed Linux process: a dozen system calls, without libc.
//!
//! A tender opens the host's resources, gives up every other right and executes the image. What
//! it hands over is the **boot protocol**:
//!
//! | where | what |
//! |---|---|
//! | arguments | the image's name, then its keys: `port=8080` |
//! | `MIRAGE_MEMORY` | bytes of heap; the image may map them and its stack at [`ARENA`] |
//! | `MIRAGE_DEVICE_n` | device n of the manifest: `net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1` or `block,size=1048576,sector=512,writable=1,discard=1` |
//! | descriptor 1 | the console |
//! | descriptor 3 | an epoll instance that watches the network devices, edge-triggered |
//! | descriptor 4 + n | device n |
//! | `MIRAGE_COUNTERS` | where somebody wants counters: `6,4096`, the descriptor and length of a file to map at [`COUNTERS`] |
//! | `MIRAGE_RECORD` | the same of a recording, being made or to be repeated, at [`RECORD`]; it says itself which |
//!
//! A network descriptor is a tap or one end of a `SOCK_SEQPACKET` pair, does not block, and
//! carries a `virtio_net_hdr` of ten bytes before each frame. A block descriptor is a file.
//!
//! [`Start`] reads the stack that the kernel laid out, [`Process`] is the
//! [`Platform`](mirage_device::Platform). What an image needs before there is a platform, or
//! after it (memory, the console of a panic), are plain functions here.
//!
//! It opens nothing, starts no thread, handles no signal, and knows no protocol.

#![no_std]

extern crate alloc;

mod attached;
mod block;
mod clock;
mod memory;
mod net;
mod process;
mod ready;
mod shared;
mod start;
mod syscall;
mod vdso;

pub use clock::now;
pub use memory::{ARENA, STACK, map, release};
pub use process::{Process, console, exit};
pub use shared::{COUNTERS, RECORD};
pub use start::{Start, StartError, Usage};

//! Sends zeros on one port, and discards what it reads on the next.

#![no_std]
#![forbid(unsafe_code)]

use core::net::{Ipv6Addr, SocketAddr};

use mirage_kit::device::{Flow, Listener, Spawn, Stack, StackError, Task};

/// Where zeros come from; they go to the next one.
pub const SOURCE: u16 = 5001;

/// Serves both ports, any number of connections.
pub async fn main(stack: impl Stack, spawn: impl Spawn) -> Result<(), StackError> {
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let mut source = stack.listen(any(SOURCE), 16)?;
    let mut sink = stack.listen(any(SOURCE + 1), 16)?;
    let sinks = spawn.clone();
    let sinking = async move {
        while let Ok(flow) = sink.accept().await {
            sinks.spawn(discard(flow)).detach();
        }
    };
    spawn.spawn(sinking).detach();
    loop {
        spawn.spawn(send(source.accept().await?)).detach();
    }
}

async fn send(mut flow: impl Flow) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while flow.write(&ZEROS).await.is_ok() {}
}

async fn discard(mut flow: impl Flow) {
    let mut buffer = [0; 16 * 1024];
    while flow.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
}

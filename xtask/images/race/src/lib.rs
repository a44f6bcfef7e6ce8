//! A shop that sells what it has, and sometimes what it has not.
//!
//! Who connects says `buy`. While there is stock the shop asks `sure?`, and `yes` makes the sale.
//! The mistake is a real one: between the look at the stock and the sale lies a wait, and what
//! was true before it need not be true after it. It shows only when the frames of two customers
//! come at the wrong times. The tests of simulation and of recordings are to find it: it stays.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::{Ipv6Addr, SocketAddr};

use mirage_kit::device::{Flow, FlowError, Listener, Spawn, Stack, StackError, Task};
use mirage_kit::log;

/// The keys that Cargo.toml declares.
pub struct Keys {
    /// TCP port to sell on.
    pub port: u16,
    /// How many items there are.
    pub stock: u32,
}

/// Sells until the network goes away.
pub async fn main(stack: impl Stack, spawn: impl Spawn, keys: Keys) -> Result<(), StackError> {
    let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), keys.port);
    let mut listener = stack.listen(here, 128)?;
    let stock = Rc::new(Cell::new(keys.stock));
    log::info!("{} for sale on TCP port {}", keys.stock, keys.port);
    loop {
        let flow = listener.accept().await?;
        let stock = stock.clone();
        spawn
            .spawn(async move { sell(flow, &stock).await.unwrap_or_else(ended) })
            .detach();
    }
}

async fn sell(mut flow: impl Flow, stock: &Cell<u32>) -> Result<(), FlowError> {
    if line(&mut flow).await? != b"buy" {
        return flow.write_all(b"what?\n").await;
    }
    if stock.get() == 0 {
        return flow.write_all(b"sold out\n").await;
    }
    flow.write_all(b"sure?\n").await?;
    if line(&mut flow).await? != b"yes" {
        return flow.write_all(b"then not\n").await;
    }
    let left = stock.get().checked_sub(1);
    let left = left.expect("an item was sold that is not there");
    stock.set(left);
    log::info!("sold, {left} left");
    flow.write_all(format!("sold, {left} left\n").as_bytes())
        .await
}

/// What comes before the next end of a line, or before the end.
async fn line(flow: &mut impl Flow) -> Result<Vec<u8>, FlowError> {
    const LONGEST: usize = 80;
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST && flow.read(&mut byte).await? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    Ok(line)
}

fn ended(error: FlowError) {
    log::debug!("a customer is gone: {error}");
}

//! Checks the devices that it is given, and says what it found: a line for each sentence of
//! their contracts, and a last line with the count.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use core::net::IpAddr;
use core::time::Duration;

use mirage_conformance::stack::Network;
use mirage_conformance::{
    Report, assets, block, clock, console, counters, entropy, sleep, spawn, stack, wall,
};
use mirage_kit::device::{
    Assets, Block, Clock, Console, Counters, Entropy, Sleep, Spawn, Stack, Wall,
};

/// What the folder `site` holds.
const SITE: [(&str, &[u8]); 3] = [
    ("css/site.css", include_bytes!("../site/css/site.css")),
    ("index.html", include_bytes!("../site/index.html")),
    ("notes.txt", include_bytes!("../site/notes.txt")),
];

/// The keys of the command line.
pub struct Keys {
    /// Seconds since 1970, as the host has them at the start.
    pub now: Option<u64>,
    /// A name that the stack can look up.
    pub name: Option<String>,
    /// The address of that name.
    pub address: Option<IpAddr>,
    /// Whether the network between the stacks carries multicast.
    pub multicast: bool,
}

/// Runs every suite. An error counts the broken sentences.
#[allow(clippy::too_many_arguments, reason = "it takes every device there is")]
pub async fn main(
    screen: impl Console,
    clock_: impl Clock,
    sleep_: impl Sleep,
    wall_: impl Wall,
    entropy_: impl Entropy,
    spawn_: impl Spawn,
    counters_: impl Counters,
    stack_: impl Stack,
    peer: impl Stack,
    disk: impl Block,
    files: impl Assets,
    keys: Keys,
) -> Result<(), String> {
    let mut report = Report::new();
    report.append(console::check(&screen, &sleep_, None).await);
    report.append(clock::check(&clock_, &sleep_).await);
    report.append(sleep::check(&sleep_, &sleep_).await);
    report.append(wall::check(&wall_, &sleep_, keys.now.map(Duration::from_secs)).await);
    report.append(entropy::check(&entropy_, &sleep_).await);
    report.append(spawn::check(&spawn_, &sleep_).await);
    report.append(counters::check(&counters_, &sleep_).await);
    report.append(assets::check(&files, &sleep_, Some(&SITE)).await);
    report.append(block::check(&disk, &sleep_).await);
    let network = Network {
        name: keys.name.as_deref().zip(keys.address),
        multicast: keys.multicast,
    };
    report.append(stack::check(&stack_, &peer, &sleep_, network).await);
    // A pipe takes a few kilobytes at once, and a console drops the rest: line by line.
    for line in report.to_string().lines() {
        screen.write(format!("{line}\n").as_bytes());
    }
    match report.counts() {
        [_, 0, _] => Ok(()),
        [_, broken, _] => Err(format!("{broken} sentences of the contracts are broken")),
    }
}

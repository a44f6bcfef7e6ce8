//! The devices of every platform keep their contracts, sentence by sentence.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::system::{PATIENCE, start};
use super::{Context, Test};
use crate::net::Namespace;

pub const TESTS: &[Test] = &[
    Test {
        name: "every device of a process keeps its contract",
        needs: &[Need::Tap],
        run: process,
    },
    Test {
        name: "every device of a program on the host keeps its contract",
        needs: &[],
        run: host,
    },
    Test {
        name: "network devices of a process keep their contract",
        needs: &[Need::Tap],
        run: wire,
    },
];

const DEVICES: &str = "xtask/images/conformance";

fn process(context: &Context) -> Result<()> {
    context.product.image(DEVICES, &[])?;
    let bridge = bridge()?;
    let disk = disk(context)?;
    let words = [
        "run",
        DEVICES,
        "--tap",
        "stack.net=near",
        "--tap",
        "peer.net=far",
        "--block",
        &disk,
    ];
    let stacks = [
        "stack.ipv4=10.9.0.1/24",
        "stack.ipv6=fd09::1/64",
        "peer.ipv4=10.9.0.2/24",
        "peer.ipv6=fd09::2/64",
    ];
    let keys: Vec<String> = stacks.into_iter().map(Into::into).chain([now()?]).collect();
    bridge.enter(|| kept(context, &words, &keys, true))
}

fn host(context: &Context) -> Result<()> {
    let build = ["build", DEVICES, "--on", "host", "--json"];
    crate::product::built(context.product.mirage(&build))?;
    let disk = disk(context)?;
    let words = ["run", DEVICES, "--on", "host", "--block", &disk];
    let keys = ["name=localhost".into(), "address=127.0.0.1".into(), now()?];
    kept(context, &words, &keys, true)
}

fn wire(context: &Context) -> Result<()> {
    const WIRE: &str = "xtask/images/wire";
    context.product.image(WIRE, &[])?;
    let bridge = bridge()?;
    let words = ["run", WIRE, "--tap", "near=near", "--tap", "far=far"];
    bridge.enter(|| kept(context, &words, &[], false))
}

/// Two taps, `near` and `far`, with nobody else between them.
fn bridge() -> Result<Namespace> {
    let namespace = Namespace::new()?;
    namespace.ip("link add bridge type bridge mcast_snooping 0")?;
    namespace.without_ipv6("bridge")?;
    for tap in ["near", "far"] {
        namespace.ip(&format!("tuntap add dev {tap} mode tap"))?;
        namespace.without_ipv6(tap)?;
        namespace.ip(&format!("link set {tap} master bridge up"))?;
    }
    namespace.ip("link set bridge up")?;
    Ok(namespace)
}

/// A disk of a megabyte, as the tool takes it.
fn disk(context: &Context) -> Result<String> {
    let file: PathBuf = context.scratch.path().join("conformance.img");
    std::fs::File::create(&file)?.set_len(1 << 20)?;
    Ok(format!("disk={}", file.display()))
}

/// The key that tells the application the time.
fn now() -> Result<String> {
    Ok(format!("now={}", UNIX_EPOCH.elapsed()?.as_secs()))
}

/// Runs an application that checks its devices to its end. What it found broken is the error.
fn kept(context: &Context, words: &[&str], keys: &[String], console: bool) -> Result<()> {
    let mut command = context.product.mirage(words);
    command.arg("--").args(keys);
    let mut process = start(command)?;
    let status = process.exit(PATIENCE * 6)?;
    let output = process.output();
    // A broken sentence, with what was expected and what was seen below it.
    let broken: Vec<&str> = output
        .lines()
        .skip_while(|line| !line.starts_with("FAILED"))
        .take_while(|line| !line.contains(" passed, "))
        .filter(|line| !line.starts_with("passed") && !line.starts_with("n/a"))
        .collect();
    ensure!(
        broken.is_empty(),
        "the contract is broken:\n{}",
        broken.join("\n")
    );
    ensure!(status.success(), "it ended with {status}:\n{output}");
    let count = output
        .lines()
        .find(|line| line.contains(" passed, 0 failed, "));
    count.with_context(|| format!("it does not say what it found:\n{output}"))?;
    if console {
        // What the application wrote came through two pipes.
        let report = mirage_conformance::console::seen(output.as_bytes());
        ensure!(report.failures().next().is_none(), "{report}");
    }
    Ok(())
}

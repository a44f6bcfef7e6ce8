//! HTTP: requests a second, and a thousand connections opened at once.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mirage_record::{Description, Recording};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::TempDir;

use super::lab::{image_at, peer_at};
use super::{Bench, peers};
use crate::http;
use crate::process::Process;
use crate::report::{Bar, Row, Sample};

/// The website example with the page that the peer serves too. The folder must live as long as
/// the image is built.
pub fn website(bench: &Bench) -> Result<PathBuf> {
    let folder: TempDir = tempfile::tempdir()?;
    std::fs::write(folder.path().join("index.html"), peers::page())?;
    bench.product.image(
        "examples/website",
        &[format!("assets={}", folder.path().display())],
    )
}

/// Requests a second of both servers, one wrk after the other.
pub fn requests(bench: &Bench) -> Result<Vec<Row>> {
    let nginx = peers::Nginx::start(&bench.lab.peer, peer_at(80))?;
    let image = bench
        .lab
        .serve(&bench.product.tender()?, &website(bench)?)?;
    let (mut ours, mut peer) = (Sample::default(), Sample::default());
    bench.lab.client.enter(|| {
        peers::ready(peer_at(80))?;
        for _ in 0..bench.runs {
            ours.push(peers::wrk(image_at(80), bench.seconds)?);
            peer.push(peers::wrk(peer_at(80), bench.seconds)?);
        }
        Ok(())
    })?;
    drop((image, nginx));
    Ok(vec![Row {
        name: "HTTP, 612-byte page".into(),
        unit: "requests/s",
        ours,
        peer: Some(("nginx, one worker".into(), peer)),
        bar: Some(Bar::RatioAtLeast(1.2)),
    }])
}

/// Requests a second of the image while it is recorded, and while it is not.
pub fn recorded(bench: &Bench) -> Result<Vec<Row>> {
    /// As long as the tool makes it.
    const LEN: usize = 64 << 20;
    let (tender, image) = (bench.product.tender()?, website(bench)?);
    let head = Description::default().file_head(LEN);
    let head = head.context("the head of a recording does not fit")?;
    let (mut ours, mut without) = (Sample::default(), Sample::default());
    let measure = |process: Process, sample: &mut Sample| {
        let measured = || peers::wrk(image_at(80), bench.seconds);
        sample.push(bench.lab.client.enter(measured)?);
        drop(process);
        anyhow::Ok(())
    };
    for _ in 0..bench.runs {
        let file = tempfile::tempfile()?;
        fallocate(&file, FallocateFlags::empty(), 0, LEN as u64)?;
        file.write_all_at(&head, 0)?;
        fcntl_setfd(&file, FdFlags::empty())?;
        measure(bench.lab.serve_recorded(&tender, &image, &file)?, &mut ours)?;
        measure(bench.lab.serve(&tender, &image)?, &mut without)?;
        let mut bytes = vec![0; LEN];
        file.read_exact_at(&mut bytes, 0)?;
        let events = Recording::read(&bytes)?.len();
        ensure!(events > 100_000, "only {events} events were recorded");
    }
    Ok(vec![Row {
        name: "HTTP while recording".into(),
        unit: "requests/s",
        ours,
        peer: Some(("not recording".into(), without)),
        bar: Some(Bar::RatioAtLeast(0.9)),
    }])
}

const CONNECTIONS: usize = 1000;

/// A burst of connections to both servers in turn.
pub fn burst(bench: &Bench) -> Result<Vec<Row>> {
    let nginx = peers::Nginx::start(&bench.lab.peer, peer_at(80))?;
    let image = bench
        .lab
        .serve(&bench.product.tender()?, &website(bench)?)?;
    let (mut served, mut reset, mut time) = Default::default();
    let (mut peer_served, mut peer_reset, mut peer_time) = Default::default();
    bench.lab.client.enter(|| {
        peers::ready(peer_at(80))?;
        for _ in 0..bench.runs {
            one(image_at(80), [&mut served, &mut reset, &mut time])?;
            one(
                peer_at(80),
                [&mut peer_served, &mut peer_reset, &mut peer_time],
            )?;
        }
        Ok(())
    })?;
    drop((image, nginx));
    let row = |name: &str, unit, ours, peer, bar| Row {
        name: format!("1,000 connections at once, {name}"),
        unit,
        ours,
        peer: Some(("nginx".into(), peer)),
        bar,
    };
    let all = Some(Bar::AtLeast(CONNECTIONS as f64));
    Ok(vec![
        row("served", "connections", served, peer_served, all),
        row(
            "reset",
            "connections",
            reset,
            peer_reset,
            Some(Bar::AtMost(0.0)),
        ),
        row("until the last answer", "ms", time, peer_time, None),
    ])
}

fn one(server: std::net::SocketAddr, [served, reset, time]: [&mut Sample; 3]) -> Result<()> {
    let burst = http::burst(server, CONNECTIONS, Duration::from_secs(20))?;
    if burst.wrong > 0 {
        bail!(
            "{server} answered {} connections wrongly: {burst:?}",
            burst.wrong
        );
    }
    served.push(burst.served as f64);
    reset.push(burst.reset as f64);
    time.push(burst.elapsed.as_secs_f64() * 1e3);
    Ok(())
}

//! Memory at rest and after load, and the peace of an idle image.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::http::website;
use super::lab::{image_at, image_of, peer_at};
use super::{Bench, peers};
use crate::http;
use crate::process::{number, status_field, until};
use crate::report::{Bar, Row, Sample};

/// Resident memory before load, after requests over 32 connections, and after a thousand
/// connections at once.
pub fn resident(bench: &Bench) -> Result<Vec<Row>> {
    let (tender, website) = (bench.product.tender()?, website(bench)?);
    let mut samples: [[Sample; 2]; 3] = Default::default();
    for _ in 0..bench.runs.div_ceil(3) {
        let nginx = peers::Nginx::start(&bench.lab.peer, peer_at(80))?;
        let image = bench.lab.serve(&tender, &website)?;
        bench.lab.client.enter(|| peers::ready(peer_at(80)))?;
        let servers = [
            (image_at(80), image_of(&image)?),
            (peer_at(80), nginx.worker()?),
        ];
        for (side, (server, pid)) in servers.into_iter().enumerate() {
            samples[0][side].push(kib(pid)?);
            let requests = || peers::wrk(server, bench.seconds);
            bench.lab.client.enter(requests)?;
            samples[1][side].push(kib(pid)?);
            let burst = || http::burst(server, 1000, Duration::from_secs(20));
            bench.lab.client.enter(burst)?;
            samples[2][side].push(settled(pid)?);
        }
    }
    let names = ["at rest", "after load", "after 1,000 connections"];
    let mut rows = Vec::new();
    for ((name, most), [ours, peer]) in names.into_iter().zip([1.5, 4.0, 4.0]).zip(samples) {
        rows.push(Row {
            name: format!("resident memory {name}"),
            unit: "KiB",
            ours,
            peer: Some(("nginx's worker".into(), peer)),
            bar: Some(Bar::AtMost(most * 1024.0)),
        });
    }
    Ok(rows)
}

/// The resident memory once it has not changed for a second, or after ten: connections end some
/// time after their client has closed them.
fn settled(pid: u32) -> Result<f64> {
    let (mut last, mut since) = (kib(pid)?, Instant::now());
    let _ = until(Duration::from_secs(10), "a second without a change", || {
        let now = kib(pid).ok()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() >= Duration::from_secs(1)).then_some(())
    });
    Ok(last)
}

fn kib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(number(&text, "Rss:").with_context(|| format!("{path} has no Rss"))? as f64)
}

const WINDOW: Duration = Duration::from_secs(3);

/// Context switches in three seconds without traffic.
pub fn idle(bench: &Bench) -> Result<Vec<Row>> {
    let nginx = peers::Nginx::start(&bench.lab.peer, peer_at(80))?;
    let image = bench
        .lab
        .serve(&bench.product.tender()?, &website(bench)?)?;
    bench.lab.client.enter(|| peers::ready(peer_at(80)))?;
    let (pid, worker) = (image_of(&image)?, nginx.worker()?);
    // The connection that found it ready has timers that still run, and a new host asks for routers
    // three times, four seconds apart (RFC 4861 §6.3.7); an image that never comes to rest is
    // measured as it is.
    let (mut count, mut since) = (switches(pid)?, Instant::now());
    let _ = until(Duration::from_secs(30), "peace", || {
        let now = switches(pid).ok()?;
        if now != count {
            (count, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(5)).then_some(())
    });
    let (mut ours, mut peer) = (Sample::default(), Sample::default());
    for _ in 0..bench.runs.min(3) {
        let before = (switches(pid)?, switches(worker)?);
        std::thread::sleep(WINDOW);
        ours.push((switches(pid)? - before.0) as f64);
        peer.push((switches(worker)? - before.1) as f64);
    }
    Ok(vec![Row {
        name: "idle, in 3 s".into(),
        unit: "context switches",
        ours,
        peer: Some(("nginx's worker".into(), peer)),
        bar: Some(Bar::AtMost(0.0)),
    }])
}

fn switches(pid: u32) -> Result<u64> {
    let field =
        |name| status_field(pid, name).with_context(|| format!("the process {pid} has no {name}"));
    Ok(field("voluntary_ctxt_switches:")? + field("nonvoluntary_ctxt_switches:")?)
}

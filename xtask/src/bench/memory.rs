//! Memory at rest and after load, and the peace of an idle image.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::http::website;
use super::lab::{image_at, image_of, peer_at};
use super::{Bench, peers};
use crate::http;
use crate::process::{number, status_field, until};
use crate::report::{Bar, Row, Sample};

/// Resident memory before and after load.
pub fn resident(bench: &Bench) -> Result<Vec<Row>> {
    let (tender, website) = (bench.product.tender()?, website(bench)?);
    let mut samples: [Sample; 4] = Default::default();
    for _ in 0..bench.runs.min(3) {
        let nginx = peers::Nginx::start(&bench.lab.peer, peer_at(80))?;
        let image = bench.lab.serve(&tender, &website)?;
        let (pid, worker) = (image_of(&image)?, nginx.worker()?);
        bench.lab.client.enter(|| peers::ready(peer_at(80)))?;
        let [rest, peer_rest, loaded, peer_loaded] = &mut samples;
        rest.push(kib(pid)?);
        peer_rest.push(kib(worker)?);
        bench.lab.client.enter(|| {
            for server in [image_at(80), peer_at(80)] {
                peers::wrk(server, bench.seconds)?;
                http::burst(server, 1000, Duration::from_secs(20))?;
            }
            Ok(())
        })?;
        loaded.push(kib(pid)?);
        peer_loaded.push(kib(worker)?);
    }
    let [rest, peer_rest, loaded, peer_loaded] = samples;
    let row = |name: &str, ours, peer, most: f64| Row {
        name: format!("resident memory {name}"),
        unit: "KiB",
        ours,
        peer: Some(("nginx's worker".into(), peer)),
        bar: Some(Bar::AtMost(most * 1024.0)),
    };
    Ok(vec![
        row("at rest", rest, peer_rest, 1.5),
        row("after load", loaded, peer_loaded, 4.0),
    ])
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
    // The connection that found it ready has timers that still run; an image that never comes to
    // rest is measured as it is.
    let (mut count, mut since) = (switches(pid)?, Instant::now());
    let _ = until(Duration::from_secs(20), "peace", || {
        let now = switches(pid).ok()?;
        if now != count {
            (count, since) = (now, Instant::now());
        }
        (since.elapsed() >= WINDOW).then_some(())
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

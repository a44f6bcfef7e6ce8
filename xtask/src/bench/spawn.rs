//! From the start of the tender to the image's first packet on the tap.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::lab::{TAP, on_tap};
use super::{Bench, peers};
use crate::raw::Link;
use crate::report::{Bar, Row, Sample};

/// Measures the row. The image asks for an address by DHCP, its first act.
pub fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let program = peers::static_c(folder.path())?;
    let tender = bench.product.tender()?;
    let image = bench.product.image("examples/echo", &[])?;
    let (mut ours, mut peer) = (Sample::default(), Sample::default());
    bench.lab.client.enter(|| {
        for _ in 0..bench.runs * 10 {
            ours.push(first_packet(&tender, &image)?);
            peer.push(first_byte(&program)?);
        }
        Ok(())
    })?;
    Ok(vec![Row {
        name: "spawn to first packet".into(),
        unit: "ms",
        ours,
        peer: Some(("static C, to first byte".into(), peer)),
        bar: Some(Bar::RatioAtMost(1.2)),
    }])
}

/// Milliseconds from spawn to the first frame that the image sent.
fn first_packet(tender: &Path, image: &Path) -> Result<f64> {
    // A socket of its own for each run holds no frame of the run before.
    let mut link = Link::open(TAP, Duration::from_secs(5))?;
    let mut command = Command::new(tender);
    on_tap(&mut command, image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start the tender")?;
    let frame = link.next();
    let elapsed = start.elapsed();
    child.kill()?;
    child.wait()?;
    frame?.context("the image sent no packet")?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// Milliseconds from spawn to the first byte on the standard output.
fn first_byte(program: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().context("cannot start the C program")?;
    let read = child
        .stdout
        .as_mut()
        .map(|stdout| stdout.read_exact(&mut [0]));
    let elapsed = start.elapsed();
    child.wait()?;
    read.context("it has no output")?
        .context("it wrote nothing")?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

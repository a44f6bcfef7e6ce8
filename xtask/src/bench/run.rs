//! From the command `mirage run` to the first answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::Bench;
use crate::http;
use crate::net::Namespace;
use crate::process::{Process, until};
use crate::report::{Bar, Row, Sample};

const PORT: u16 = 8080;

/// Measures the row with an example that is built already, published on the loopback device.
pub fn measure(bench: &Bench) -> Result<Vec<Row>> {
    bench.product.image("examples/website", &[])?;
    let namespace = Namespace::new()?;
    let mut ours = Sample::default();
    for _ in 0..bench.runs * 2 {
        ours.push(namespace.enter(|| once(bench))?);
    }
    Ok(vec![Row {
        name: "`mirage run` to first answer".into(),
        unit: "ms",
        ours,
        peer: None,
        bar: Some(Bar::AtMost(60.0)),
    }])
}

fn once(bench: &Bench) -> Result<f64> {
    let publish = format!("{PORT}:80");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let start = Instant::now();
    let mut command = bench
        .product
        .mirage(&["run", "examples/website", "--publish", &publish]);
    let mut process = Process::start(&mut command)?.ending_with(Signal::INT);
    let answer = until(Duration::from_secs(10), "the first answer", || {
        http::get(server, "/", Duration::from_secs(1))
            .ok()
            .filter(|response| response.status == 200)
    });
    let elapsed = start.elapsed();
    answer.with_context(|| format!("`mirage run` said:\n{}", process.output()))?;
    process.signal(Signal::INT)?;
    process.exit(Duration::from_secs(5))?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

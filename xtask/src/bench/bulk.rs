//! Bulk TCP in both directions: the image over its tap, the kernel over a veth.

use std::time::Duration;

use anyhow::Result;

use super::lab::{image_at, peer_at};
use super::{Bench, peers};
use crate::process::until;
use crate::report::{Bar, Row, Sample};

const SOURCE: u16 = 5001;
const SINK: u16 = SOURCE + 1;

/// Measures both rows.
pub fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let image = bench.product.image("xtask/images/bulk", &[])?;
    let image = bench.lab.start(&bench.product.tender()?, &image, &[])?;
    peers::bulk_server(&bench.lab.peer, peer_at(SOURCE))?;
    let time = Duration::from_secs(bench.seconds);
    let mut samples: [Sample; 4] = Default::default();
    bench.lab.client.enter(|| {
        let limit = Duration::from_secs(10);
        until(limit, "the bulk image", || {
            std::net::TcpStream::connect(image_at(SOURCE)).ok()
        })?;
        let [to_host, peer_to_host, to_guest, peer_to_guest] = &mut samples;
        for _ in 0..bench.runs {
            to_host.push(peers::pull(image_at(SOURCE), time)?);
            peer_to_host.push(peers::pull(peer_at(SOURCE), time)?);
            to_guest.push(peers::push(image_at(SINK), time)?);
            peer_to_guest.push(peers::push(peer_at(SINK), time)?);
        }
        Ok(())
    })?;
    drop(image);
    let [to_host, peer_to_host, to_guest, peer_to_guest] = samples;
    let row = |name: &str, ours, peer, bar| Row {
        name: format!("bulk TCP, {name}"),
        unit: "MB/s",
        ours,
        peer: Some(("kernel TCP over veth".into(), peer)),
        bar: Some(bar),
    };
    Ok(vec![
        row(
            "guest to host",
            to_host,
            peer_to_host,
            Bar::RatioAtLeast(2.0),
        ),
        row(
            "host to guest",
            to_guest,
            peer_to_guest,
            Bar::RatioAtLeast(0.8),
        ),
    ])
}

//! What a simulation leaves behind: captures and recordings.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::debug::frames;
use super::need::Need;
use super::{Context, Test};
use crate::product::cargo;

pub const TESTS: &[Test] = &[
    Test {
        name: "a race that a simulation found is repeated by the sealed image from its recording",
        needs: &[],
        run: replayed,
    },
    Test {
        name: "tshark reads the frames of a simulated network",
        needs: &[Need::Program("tshark", "tshark")],
        run: captured,
    },
];

/// Runs the search for the race: the folder where the last run, the smallest, has left its files.
fn search(context: &Context) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(context.scratch.path())?.keep();
    let output = cargo()
        .args([
            "test", "--quiet", "--locked", "-p", "race", "--test", "race",
        ])
        .env("RACE_FILES", &folder)
        .output()
        .context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the search failed:\n{text}");
    Ok(folder)
}

fn replayed(context: &Context) -> Result<()> {
    let recording = search(context)?.join("shop.recording");
    let recording = recording.to_str().context("a path that is no text")?;
    let image = context.product.image("xtask/images/race", &[])?;
    let image = image.to_str().context("a path that is no text")?;
    let mut replay = context
        .product
        .mirage(&["replay", recording, "--image", image]);
    let output = replay.output().context("cannot start the tool")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // The second sale's log line is the recording's last; the image itself panics then.
    for line in [
        "INFO  race: sold, 0 left",
        "an item was sold that is not there",
        "here the recording ends",
    ] {
        ensure!(said.contains(line), "no {line:?} in:\n{said}");
    }
    Ok(())
}

fn captured(context: &Context) -> Result<()> {
    let capture = search(context)?.join("lan.pcap");
    let asked = frames(&capture, "tcp.dstport == 80 && tcp.len == 4")?;
    ensure!(
        asked >= 2,
        "{asked} segments of 4 bytes to port 80: two customers say `buy` and `yes`"
    );
    let wrong = frames(&capture, "tcp.checksum.status == \"Bad\" || _ws.malformed")?;
    ensure!(wrong == 0, "{wrong} frames are malformed");
    Ok(())
}

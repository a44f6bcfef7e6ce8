//! `cargo xtask bench sim`: how many frames a second the simulated world delivers on one core.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{conditions, save};
use crate::product::cargo;
use crate::report::{self, Bar, Row, Sample};

/// What `cargo xtask bench sim` takes.
#[derive(Args)]
#[command(
    after_help = "The peer is the wire of the stack's own tests: the same exchanges on a queue \
                  in memory, with no virtual time, no faults and no trace."
)]
pub struct Arguments {
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs of each side
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What the world must deliver.
const FRAMES: f64 = 200_000.0;

/// Runs the benchmark; a bar that is missed is shown, and is no error.
pub fn run(arguments: &Arguments) -> Result<bool> {
    println!("{}\n", conditions());
    eprintln!("measuring frames");
    // The first call builds it.
    frames("stacks")?;
    let mut samples: [Sample; 3] = Default::default();
    for _ in 0..arguments.runs {
        for (sample, what) in samples.iter_mut().zip(["stacks", "wire", "raw"]) {
            sample.push(frames(what)?);
        }
    }
    let [stacks, wire, raw] = samples;
    let row = |name: &str, ours, peer| Row {
        name: name.into(),
        unit: "frames/s",
        ours,
        peer,
        bar: Some(Bar::AtLeast(FRAMES)),
    };
    let peer = Some(("the stack's own wire".into(), wire));
    let rows = [
        row("simulated, between two stacks", stacks, peer),
        row("simulated, between two devices", raw, None),
    ];
    println!("{}", report::table(&rows));
    save(arguments.json.as_deref(), &rows)?;
    Ok(true)
}

/// One run of the example `frames`.
fn frames(what: &str) -> Result<f64> {
    let output = cargo()
        .args([
            "run",
            "--quiet",
            "--release",
            "--locked",
            "-p",
            "mirage-sim",
        ])
        .args(["--example", "frames", "--", what])
        .output()
        .context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the example fails:\n{errors}");
    let number = text
        .split_whitespace()
        .next_back()
        .and_then(|word| word.parse().ok());
    number.with_context(|| format!("the example said {text:?}"))
}

//! `cargo xtask bench process`: an image as a sandboxed process against its peers, interleaved.

mod bulk;
mod http;
pub mod irmin;
mod lab;
mod memory;
pub mod peers;
mod run;
pub mod sim;
mod size;
mod spawn;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::plot;
use crate::product::Product;
use crate::report::{self, Row};
use lab::Lab;

/// What `cargo xtask bench process` takes.
#[derive(Args)]
#[command(
    after_help = "Names for --only: spawn http record bulk burst memory idle size run
A bar that is missed is shown, and is no error; what cannot be measured is one."
)]
pub struct Arguments {
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the plot there [default: process.svg in the target folder's bench/]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Runs of each side; spawns and starts are repeated ten times as often
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only the benchmarks whose name holds this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Three short runs: about two minutes in all
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
}

/// What a benchmark works with.
struct Bench {
    product: Product,
    lab: Lab,
    /// Runs of each side.
    runs: u32,
    /// Seconds of a run under load.
    seconds: u64,
}

type Measure = fn(&Bench) -> Result<Vec<Row>>;

const BENCHMARKS: [(&str, Measure); 9] = [
    ("spawn", spawn::measure),
    ("http", http::requests),
    ("record", http::recorded),
    ("bulk", bulk::measure),
    ("burst", http::burst),
    ("memory", memory::resident),
    ("idle", memory::idle),
    ("size", size::measure),
    ("run", run::measure),
];

/// Runs the benchmarks; `false` when one could not be measured.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let only = arguments.only.as_deref().unwrap_or_default();
    let chosen: Vec<_> = BENCHMARKS
        .iter()
        .filter(|(name, _)| name.contains(only))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        bail!(
            "no benchmark is called {only:?}; there are {}",
            names.join(", ")
        );
    }
    crate::net::ready().context("the benchmarks need network namespaces and a tap")?;
    let (runs, seconds) = if arguments.quick {
        (3, 2)
    } else {
        (arguments.runs, 5)
    };
    let bench = Bench {
        product: Product::build()?,
        lab: Lab::new()?,
        runs,
        seconds,
    };

    println!("{}", conditions());
    println!(
        "The kernel places servers and clients: pinning them costs both sides, nginx the most.\n"
    );
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (name, measure) in chosen {
        eprintln!("measuring {name}");
        match measure(&bench) {
            Ok(more) => rows.extend(more),
            Err(error) => failures.push(format!("{name} could not be measured: {error:#}")),
        }
    }
    println!("{}", report::table(&rows));
    for failure in &failures {
        println!("{failure}");
    }

    let svg = match &arguments.svg {
        Some(path) => path.clone(),
        None => bench.product.target()?.join("bench/process.svg"),
    };
    if let Some(folder) = svg.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(
        &svg,
        plot::svg(
            "A unikernel as a sandboxed process, against its peers",
            &rows,
        ),
    )
    .with_context(|| format!("cannot write {}", svg.display()))?;
    println!("plot: {}", svg.display());
    save(arguments.json.as_deref(), &rows)?;
    Ok(failures.is_empty())
}

/// Writes the rows as JSON, where that is asked for.
fn save(path: Option<&Path>, rows: &[Row]) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, format!("{:#}\n", report::json(rows)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The machine, and how the measurements were made on it.
fn conditions() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    format!(
        "{model}, {processors} processors, Linux {}, load {}.\n\
         Medians of runs that alternate between ours and the peer; [the middle half of them].",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}

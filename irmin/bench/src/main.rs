//! Measures Irmin beside git, libgit2 and redb, and prints each row as a line of JSON;
//! `cargo xtask bench irmin` builds this, runs it and makes the table.

#![forbid(unsafe_code)]

mod child;
mod clone;
mod commits;
mod durable;
mod input;
mod lca;
mod libgit2;
mod measure;
mod merge;
mod reads;
mod space;
mod table;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use measure::Bench;

/// What is measured, from the command line.
#[derive(Parser)]
#[command(name = "irmin-bench")]
struct Arguments {
    /// Only these rows
    rows: Vec<String>,
    /// Small inputs and few rounds
    #[arg(long)]
    quick: bool,
    /// Rounds of each side
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Where inputs that take long to make are kept
    #[arg(long)]
    cache: PathBuf,
    /// The command `irmin`
    #[arg(long)]
    irmin: PathBuf,
    /// What is cloned
    #[arg(long)]
    repository: Option<PathBuf>,
    /// Runs our side alone for so many seconds
    #[arg(long)]
    ours: Option<u64>,
}

type Measure = fn(&Bench) -> Result<()>;

const ROWS: [(&str, Measure); 9] = [
    ("commits-git", commits::git),
    ("commits-pack", commits::pack),
    ("durable", durable::measure),
    ("reads", reads::measure),
    ("lca", lca::measure),
    ("merge", merge::measure),
    ("clone", clone::measure),
    ("watch", watch::measure),
    ("space", space::measure),
];

fn main() -> ExitCode {
    // The measured child of another run of this program: see `child`.
    let is_child = std::env::args().nth(1).as_deref() == Some(child::WORD);
    let done = match is_child {
        true => child::run(std::env::args_os().skip(2)),
        false => run(Arguments::parse()),
    };
    if let Err(error) = done {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(arguments: Arguments) -> Result<()> {
    let known = |name: &String| ROWS.iter().any(|(row, _)| row == name);
    for name in &arguments.rows {
        let names = ROWS.map(|(row, _)| row).join(" ");
        ensure!(known(name), "no row is called {name:?}; there are {names}");
    }
    std::fs::create_dir_all(&arguments.cache)?;
    let bench = Bench {
        quick: arguments.quick,
        rounds: if arguments.quick { 3 } else { arguments.rounds },
        cache: arguments.cache.canonicalize()?,
        irmin: arguments.irmin.canonicalize().context("no command irmin")?,
        repository: arguments.repository,
        ours: arguments.ours.map(Duration::from_secs),
    };
    let mut failed = false;
    for (name, measure) in ROWS {
        if arguments.rows.is_empty() || arguments.rows.iter().any(|row| row == name) {
            eprintln!("measuring {name}");
            if let Err(error) = measure(&bench) {
                eprintln!("{name} could not be measured: {error:#}");
                failed = true;
            }
        }
    }
    ensure!(!failed, "not everything could be measured");
    Ok(())
}

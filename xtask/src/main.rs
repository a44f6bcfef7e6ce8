//! Tests and benchmarks of the whole system, against its real peers: `cargo xtask --help`.

#![forbid(unsafe_code)]

mod bench;
mod book;
mod http;
mod net;
mod plot;
mod process;
mod product;
mod raw;
mod report;
mod test;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGQUIT};
use signal_hook::flag;

/// Tests and benchmarks of the whole system, against its real peers.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:
  cargo xtask test                      everything that this machine can run
  cargo xtask test Chromium             the tests with this word in their name
  cargo xtask test --require-all        a test that cannot run is a failure
  cargo xtask bench process --quick     the table in about two minutes
  cargo xtask bench process --only http --runs 9 --json http.json
  cargo xtask bench sim                 frames a second in the simulated world
  cargo xtask bench irmin reads lca     two rows of the store, beside redb and git"
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the tests; the last line is `N passed, N failed, N skipped`
    Test(test::Arguments),
    /// Measures against peers in the same run
    #[command(subcommand)]
    Bench(Bench),
    /// Writes the book's page of the contracts from the suites that check them
    Book,
}

#[derive(Subcommand)]
enum Bench {
    /// An image as a sandboxed process
    Process(bench::Arguments),
    /// The simulated world: frames a second on one core
    Sim(bench::sim::Arguments),
    /// The store Irmin, beside git, libgit2 and redb
    Irmin(bench::irmin::Arguments),
}

fn main() -> ExitCode {
    if let Err(error) = heed_signals() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let done = match Arguments::parse().command {
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(Bench::Process(arguments)) => bench::run(&arguments),
        Task::Bench(Bench::Sim(arguments)) => bench::sim::run(&arguments),
        Task::Bench(Bench::Irmin(arguments)) => bench::irmin::run(&arguments),
        Task::Book => book::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends by SIGINT and SIGQUIT also where whoever started this had them ignored, as a shell does with `&`;
/// and so does all that is started here, which the tests end by these: a signal with a handler has its
/// usual effect again after `exec`, where one that is ignored stays so.
fn heed_signals() -> std::io::Result<()> {
    for signal in [SIGINT, SIGQUIT] {
        let always = Arc::new(AtomicBool::new(true));
        flag::register_conditional_shutdown(signal, 128 + signal, always)?;
    }
    Ok(())
}

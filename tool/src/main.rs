//! `mirage`: builds a Rust crate into a sealed unikernel, and runs it.
//!
//! From `cargo metadata` ([`metadata`]) over the packages' own descriptions ([`descriptor`]) to a
//! graph of devices ([`graph`]), a generated crate ([`generate`]), Cargo ([`cargo`]) and a running
//! unikernel ([`launch`]). No device library's name stands in here: whatever provides an
//! interface says so itself.

#![forbid(unsafe_code)]

mod backtrace;
mod build;
mod cargo;
mod cli;
mod describe;
mod descriptor;
#[cfg(test)]
mod fixture;
mod fresh;
mod generate;
mod graph;
mod launch;
mod metadata;
mod report;
mod reserve;
mod running;
mod settings;
mod strip;
mod summary;
mod template;
mod top;
mod ui;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use miette::Report;
use signal_hook::consts::SIGXFSZ;

use cli::{Cli, Command};
use ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A file that may not become so long is an error of what writes it, and not the tool's end.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    color(cli.color);
    let result = match &cli.command {
        Command::Check(check) => {
            build::check(&check.application, &check.settings, &Ui::new(check.json))
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Build(build) => {
            build::build(&build.application, &build.settings, &Ui::new(build.json))
                .map(|_| ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let ui = Ui::new(run.json);
            launch::check(run)
                .and_then(|()| build::build(&run.application, &run.settings, &ui))
                .and_then(|summary| launch::run(&summary, run, &ui))
        }
        Command::Replay(replay) => launch::replay::run(replay, &Ui::new(replay.json)),
        Command::New(new) => template::new(new, &Ui::new(false)).map(|()| ExitCode::SUCCESS),
        Command::Describe(describe) => describe::describe(describe).map(|()| ExitCode::SUCCESS),
        Command::Top(command) => top::top(command).map(|()| ExitCode::SUCCESS),
        Command::Backtrace(command) => backtrace::backtrace(command).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|report| {
        let ui = Ui::new(false);
        report::print(&report, ui.terminal, ui.color);
        status(&report)
    })
}

/// 2 for a mistake in what was typed, as for one that clap finds; 1 for all else.
fn status(report: &Report) -> ExitCode {
    let typed = report.is::<summary::KeyFault>()
        || (report.downcast_ref()).is_some_and(settings::Error::is_usage)
        || (report.downcast_ref()).is_some_and(launch::Unfit::is_usage);
    ExitCode::from(if typed { 2 } else { 1 })
}

/// Lets `--color` decide for everything that is written; `auto` heeds `NO_COLOR`.
fn color(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

//! Starting what was built, and staying with it until it ends.

mod arguments;
mod capture;
mod devices;
mod holder;
mod host;
mod process;
mod record;
pub mod replay;
mod session;
mod tap;
mod tender;
mod trace;

use std::process::ExitCode;

use miette::Report;

use crate::cli::{On, Run};
use crate::summary::Summary;
use crate::ui::Ui;

pub use arguments::{Attach, BlockFile};
pub use devices::Unfit;
pub use trace::{Frame, Symbols, Twin};

/// Refuses what cannot be done with any product, before one is built.
pub fn check(run: &Run) -> Result<(), Report> {
    match run.application.on {
        On::Process => Ok(()),
        On::Host => Ok(host::check(run)?),
    }
}

/// Runs a product; yields the exit status that it ended with.
///
/// Waits until it has ended. Everything that can be wrong with the command line is found before
/// anything is started.
pub fn run(summary: &Summary, run: &Run, ui: &Ui) -> Result<ExitCode, Report> {
    let mut words = run.keys.clone();
    words.extend(run.log.iter().map(|level| format!("log={level}")));
    summary.check(&words)?;
    let status = match run.application.on {
        On::Process => process::run(summary, run, &words, ui)?,
        On::Host => host::run(summary, run, &words, ui)?,
    };
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

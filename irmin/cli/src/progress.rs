//! How far long work has come, on a terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use irmin_packfile::Stage;
use irmin_sync::Progress as Event;

use crate::output::harmless;

/// A line on standard error that counts; nothing where that is no terminal. It goes when it is dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins to count, up to `all` if that is known.
    pub fn new(what: &'static str, all: Option<u64>) -> Progress {
        Progress(bar(what, all))
    }

    /// So many are done.
    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// So many more are done.
    pub fn add(&self, more: u64) {
        self.0.inc(more);
    }
}

/// What goes on while another store is talked to: what it says, and how much has come or gone.
pub struct Transfer {
    bar: ProgressBar,
    is_terminal: bool,
}

impl Transfer {
    /// Begins to show it, on a terminal.
    pub fn new() -> Transfer {
        Transfer {
            bar: bar("connecting", None),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Shows a step.
    pub fn show(&self, progress: Event<'_>) {
        if !self.is_terminal {
            return;
        }
        match progress {
            Event::Remote(line) => self.bar.set_message(format!("remote: {}", harmless(line))),
            Event::Objects(count) => {
                self.bar.set_message("looking at objects");
                self.bar.set_position(count as u64);
            }
            Event::Pack(pack) => {
                let what = match pack.stage {
                    Stage::Entries => "objects",
                    Stage::Deltas => "deltas",
                };
                let all = pack.all;
                let bytes = HumanBytes(pack.bytes);
                self.bar.set_message(format!("{what}, {bytes}, of {all}:"));
                self.bar.set_position(pack.done);
            }
            _ => {}
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(what: &'static str, all: Option<u64>) -> ProgressBar {
    let bar = match io::stderr().is_terminal() {
        true => ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr()),
        false => return ProgressBar::hidden(),
    };
    let template = match all {
        Some(_) => "{msg} {wide_bar:.green} {human_pos}/{human_len}",
        None => "{spinner} {msg} {human_pos}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

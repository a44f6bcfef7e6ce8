//! How far long work has come, on a terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that counts; nothing where that is no terminal. It goes when it is dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins to count, up to `all` if that is known.
    pub fn new(what: &'static str, all: Option<u64>) -> Progress {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let template = match all {
            Some(_) => "{msg} {wide_bar:.green} {human_pos}/{human_len}",
            None => "{msg} {human_pos} {spinner}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    /// So many more are done.
    pub fn add(&self, more: u64) {
        self.0.inc(more);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! What the tool tells while it works: lines for a person on standard error, or one JSON object
//! a line on standard output.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::launch::Frame;

/// The output of one command.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// Standard error shows colours.
    pub color: bool,
    /// Standard error is a terminal.
    pub terminal: bool,
    /// Events go to standard output as JSON.
    pub json: bool,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// The build has begun.
    Building { name: &'a str },
    /// There is a product. `fresh`: it was there already, and nothing has changed.
    Built {
        name: &'a str,
        path: &'a str,
        bytes: u64,
        seconds: f64,
        fresh: bool,
    },
    /// The wiring and the types are right.
    Checked { name: &'a str, seconds: f64 },
    /// A port of this machine leads to the unikernel.
    Published {
        address: &'a str,
        port: u16,
        guest: u16,
        protocol: &'a str,
    },
    /// The product runs.
    Started { name: &'a str, pid: u32 },
    /// The first sign of life, so long after the start.
    Booted { milliseconds: f64, sign: &'a str },
    /// The unikernel wrote this to its console.
    Console { text: &'a str },
    /// There is a recording of so many events.
    Recorded {
        file: &'a str,
        events: u64,
        seconds: f64,
    },
    /// A recording was repeated, and how it ended.
    Replayed {
        events: u64,
        seconds: f64,
        status: u8,
        end: &'a str,
    },
    /// The unikernel broke, and this is where: the innermost frame first.
    Backtrace { cause: &'a str, frames: &'a [Frame] },
    /// The unikernel's core is in this file.
    Dumped { path: &'a str },
    /// The unikernel waits for a debugger here.
    Debugger { address: &'a str },
    /// The unikernel ended.
    Exited { status: i32 },
}

impl Ui {
    /// As `--color`, `--json` and the terminal ask for.
    pub fn new(json: bool) -> Self {
        let stderr = std::io::stderr();
        Self {
            color: anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never,
            terminal: stderr.is_terminal(),
            json,
        }
    }

    /// Tells of an event: `verb` and `text` to a person.
    pub fn tell(&self, event: &Event<'_>, verb: &str, text: &str) {
        if self.json {
            if let Ok(line) = serde_json::to_string(event) {
                // Nobody reads any more: there is nobody to tell that either.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        } else {
            self.line(verb, text);
        }
    }

    /// A line for a person: a verb, and what it is about.
    pub fn line(&self, verb: &str, text: &str) {
        let style = if self.color {
            AnsiColor::Green.on_default().bold()
        } else {
            Style::new()
        };
        say(&format!("{style}{verb:>12}{style:#} {text}\n"));
    }

    /// Begins to show how far a build has got.
    pub fn progress(&self, name: &str, packages: usize) -> Progress {
        if !self.terminal || self.json {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(packages as u64);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let verb = if self.color {
            "{prefix:>12.bold.cyan}"
        } else {
            "{prefix:>12}"
        };
        let style = format!("{verb} {name} [{{bar:24}}] {{pos}}/{{len}} {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix("Building");
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }
}

/// Writes to standard error. That nobody reads it, or that its disk is full, ends no unikernel.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// How far a build has got.
pub struct Progress(ProgressBar);

impl Progress {
    /// So many packages are done, this one the last.
    pub fn advance(&self, done: usize, last: &str) {
        self.0.set_position(done as u64);
        self.0.set_message(last.to_string());
    }

    /// Shows text above the bar.
    pub fn print(&self, text: &str) {
        self.0.suspend(|| say(text));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A number of bytes, for a person.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{} KiB", (bytes + 512) / 1_024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A time, for a person.
pub fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_with_their_unit() {
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(size(200_600), "196 KiB");
        assert_eq!(size(3_300_000), "3.1 MiB");
    }

    #[test]
    fn an_event_is_one_json_object() {
        let event = Event::Exited { status: 130 };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"exited","status":130}"#);
    }
}

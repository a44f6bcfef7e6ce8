//! `mirage top`: what the running unikernels count.

mod screen;
mod view;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use miette::{Diagnostic, IntoDiagnostic as _, Report};
use mirage_counters::Prometheus;
use thiserror::Error;

use crate::cli::Top;
use crate::running::{self, Running};
use screen::{Screen, Why};
use view::View;

/// Why nothing is shown.
#[derive(Debug, Error, Diagnostic, PartialEq)]
pub enum Error {
    /// There is no unikernel.
    #[error("no unikernel runs here")]
    #[diagnostic(help("start one with `mirage run`; those of another user are not shown"))]
    Nothing,
    /// There is none of this name or number.
    #[error("no unikernel `{who}` runs here")]
    #[diagnostic(help("{known} runs"))]
    NotThis {
        /// What was asked for.
        who: String,
        /// What there is.
        known: String,
    },
}

/// What is looked at, and how it was the last time.
struct Watch<'a> {
    top: &'a Top,
    before: BTreeMap<u32, (Instant, Running)>,
}

impl Watch<'_> {
    /// What there is to show now.
    fn look(&mut self) -> Result<Vec<View>, Error> {
        let all = running::all();
        if all.is_empty() {
            return Err(Error::Nothing);
        }
        let known: Vec<String> = all
            .iter()
            .map(|running| format!("`{}` ({})", running.name, running.pid))
            .collect();
        let who = self.top.who.as_deref();
        let wanted = |running: &Running| {
            who.is_none_or(|who| running.name == who || running.pid.to_string() == who)
        };
        let now = Instant::now();
        let found: BTreeMap<u32, (Instant, Running)> = (all.into_iter())
            .filter(wanted)
            .map(|running| (running.pid, (now, running)))
            .collect();
        if let (true, Some(who)) = (found.is_empty(), who) {
            return Err(Error::NotThis {
                who: who.into(),
                known: known.join(", "),
            });
        }
        let before = std::mem::replace(&mut self.before, found);
        let mut views: Vec<View> = (self.before.values())
            .map(|(_, running)| {
                let before = before.get(&running.pid);
                let before = before.map(|(then, running)| (now - *then, running));
                View::new(running, before, self.top.filter.as_deref())
            })
            .collect();
        views.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
        Ok(views)
    }
}

/// Shows what the running unikernels count, once or until the user has seen enough.
pub fn top(top: &Top) -> Result<(), Report> {
    if top.prometheus {
        // Nothing runs: there is nothing to tell of, and whoever collects it is not to fail.
        return write(&prometheus(&running::all(), top));
    }
    let mut watch = Watch {
        top,
        before: BTreeMap::new(),
    };
    let interval = Duration::from_secs_f64(top.interval.0);
    let terminal = io::stdout().is_terminal();
    if terminal && !top.once && !top.json {
        return live(&mut watch, interval);
    }
    let mut last = watch.look()?;
    loop {
        let text = if top.json {
            view::json(&last)
        } else {
            view::table(&last, usize::MAX, usize::MAX, false).join("\n") + "\n"
        };
        write(&text)?;
        if top.once {
            return Ok(());
        }
        std::thread::sleep(interval);
        last = watch.look()?;
        if !top.json {
            write("\n")?;
        }
    }
}

/// Fills the terminal, again and again, until a key or a signal ends it.
fn live(watch: &mut Watch<'_>, interval: Duration) -> Result<(), Report> {
    let color = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    // An error at the first look is better told on the ordinary screen.
    let mut views = watch.look()?;
    let mut screen = Screen::enter().into_diagnostic()?;
    loop {
        let (width, height) = screen.size();
        let lines = view::table(&views, width, height, color);
        screen.show(&lines).into_diagnostic()?;
        match screen.wait(interval) {
            Why::Ended => return Ok(()),
            Why::Resized => {}
            Why::Time => {
                views = match watch.look() {
                    Ok(views) => views,
                    Err(error) => {
                        drop(screen);
                        return Err(error.into());
                    }
                };
            }
        }
    }
}

fn prometheus(all: &[Running], top: &Top) -> String {
    let mut text = Prometheus::new();
    let wanted = |running: &&Running| {
        let who = top.who.as_deref();
        who.is_none_or(|who| running.name == who || running.pid.to_string() == who)
    };
    for running in all.iter().filter(wanted) {
        let pid = running.pid.to_string();
        let labels = [("unikernel", &*running.name), ("process", &*pid)];
        for sample in running.counters.iter().flatten().flat_map(|t| t.samples()) {
            let matches = |word: &str| view::matches(word, sample.device, sample.name);
            if top.filter.as_deref().is_none_or(matches) {
                text.add(&labels, sample);
            }
        }
    }
    text.to_string()
}

/// Writes to standard output. A pipe that closes early (`| head`) ends it quietly.
fn write(text: &str) -> Result<(), Report> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.into_diagnostic(),
    }
}

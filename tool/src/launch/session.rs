//! One unikernel from its start to its end: its console, its first sign of life, and Ctrl-C.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, Report, WrapErr as _};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::trace::{self, Broken, Unwatched, Watch};
use crate::ui::{Event, Ui};

/// What a running unikernel's surroundings report.
pub enum News {
    /// A sign of life, and what it was.
    Sign(Instant, &'static str),
    /// The user, or the system, wants it to end.
    Stop(i32),
    /// It broke, and ends soon.
    Broken(Broken),
    /// It cannot be watched, so nothing will tell where it breaks.
    Unwatched(Unwatched),
    /// It has ended.
    Ended(io::Result<ExitStatus>),
}

/// A running unikernel.
pub struct Session {
    pid: u32,
    began: Instant,
    /// A debugger is awaited: without one there is no point in going on.
    debugged: bool,
    /// A core is wanted if it breaks.
    dumped: bool,
    handle: OwnedFd,
    sender: Sender<News>,
    news: Receiver<News>,
    console: JoinHandle<()>,
}

impl Session {
    /// Starts `command`. From now on a signal ends the unikernel rather than the tool alone.
    ///
    /// One that is to be watched must be a tender's with `--hold`.
    pub fn start(
        name: &str,
        mut command: Command,
        watch: Option<Watch>,
        ui: &Ui,
    ) -> Result<Self, Report> {
        let (sender, news) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .into_diagnostic()
            .wrap_err("signals could not be received")?;
        let stop = sender.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                let _ = stop.send(News::Stop(signal));
            }
        });
        let (reader, writer) = io::pipe().into_diagnostic()?;
        let input = if watch.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command.stdin(input).stdout(writer);
        let began = Instant::now();
        let mut child = command
            .spawn()
            .into_diagnostic()
            .wrap_err_with(|| format!("{name} could not be started"))?;
        // The other end of the console is the unikernel's alone.
        drop(command);
        let pid = child.id();
        let handle = Pid::from_child(&child);
        let handle = pidfd_open(handle, PidfdFlags::empty()).into_diagnostic()?;
        if ui.json {
            ui.tell(&Event::Started { name, pid }, "", "");
        }
        let debugged = watch.as_ref().is_some_and(|w| w.debugger.is_some());
        let dumped = watch.as_ref().is_some_and(|w| w.dump.is_some());
        match watch.zip(child.stdin.take()) {
            Some((watch, held)) => follow(pid, held, watch, sender.clone()),
            None => wait_for(child, sender.clone()),
        }
        let console = console(reader, sender.clone(), *ui);
        Ok(Self {
            pid,
            began,
            debugged,
            dumped,
            handle,
            sender,
            news,
            console,
        })
    }

    /// The unikernel's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where to report news.
    pub fn news(&self) -> Sender<News> {
        self.sender.clone()
    }

    /// Stays until the unikernel has ended; yields its exit status, 128 + n for signal n.
    pub fn wait(self, ui: &Ui) -> Result<i32, Report> {
        let mut booted = false;
        let mut stopped = None;
        let mut broken = None;
        let mut unwatched = None;
        let status = loop {
            match self.news.recv().into_diagnostic()? {
                News::Broken(what) => broken = Some(what),
                News::Unwatched(why) => unwatched = Some(why),
                News::Sign(at, sign) => {
                    if !std::mem::replace(&mut booted, true) {
                        tell_booted(at - self.began, sign, ui);
                    }
                }
                News::Stop(signal) => {
                    stopped = Some(signal);
                    // An image has no signal handlers: there is nothing to ask it. It may have
                    // ended at this very moment.
                    let _ = pidfd_send_signal(&self.handle, Signal::KILL);
                }
                News::Ended(status) => break status.into_diagnostic()?,
            }
        };
        // What it wrote last is in the pipe still.
        let _ = self.console.join();
        // So is a sign of life that came together with the end.
        while let Ok(news) = self.news.try_recv() {
            if let News::Sign(at, sign) = news
                && !std::mem::replace(&mut booted, true)
            {
                tell_booted(at - self.began, sign, ui);
            }
        }
        if let Some(why) = unwatched.filter(|_| self.debugged) {
            return Err(why.into());
        }
        let status = match (stopped, status.code(), status.signal()) {
            (Some(signal), _, _) | (None, None, Some(signal)) => 128 + signal,
            (None, Some(code), _) => code,
            (None, None, None) => 1,
        };
        // Nobody asks why it broke that was being ended anyway.
        if let Some(broken) = broken.filter(|_| stopped.is_none()) {
            broken.tell(ui);
        } else if let Some(why) = unwatched.filter(|_| BROKEN.contains(&status)) {
            let core = if self.dumped { ", nor a core" } else { "" };
            // Only a panic leaves return addresses.
            let addresses = match status {
                101 => "; `mirage backtrace` reads return addresses",
                _ => "",
            };
            let text = format!("cannot be made{core}: {why}{addresses}");
            ui.line("Backtrace", &text);
        }
        tell_exited(status, stopped.is_some(), ui);
        Ok(status)
    }
}

/// The exit status of an image whose recording does not go on (lib/record).
const CANNOT_GO_ON: i32 = 123;

/// The exit statuses that say that it broke: panic, out of memory, and the signals for that.
const BROKEN: [i32; 10] = [101, 102, 131, 132, 133, 134, 135, 136, 139, 159];

fn tell_booted(after: Duration, sign: &str, ui: &Ui) {
    let milliseconds = after.as_secs_f64() * 1e3;
    let event = Event::Booted { milliseconds, sign };
    let text = format!("in {milliseconds:.1} ms, from the start to the {sign}");
    ui.tell(&event, "Booted", &text);
}

/// Tells a person only of an end that nobody asked for.
fn tell_exited(status: i32, stopped: bool, ui: &Ui) {
    let event = Event::Exited { status };
    // Why a replay does not go on is told at its end.
    if !ui.json && (stopped || status == 0 || status == CANNOT_GO_ON) {
        return;
    }
    let meaning = match status {
        1 => "it reports an error",
        2 => "its command line is wrong",
        101 => "it panicked",
        102 => "it ran out of memory; give it more with --memory",
        125 => "it could not be started",
        137 => "it was killed",
        159 => "it made a forbidden system call",
        129.. => "it was ended by a signal",
        _ => "its own status",
    };
    ui.tell(&event, "Ended", &format!("with status {status}: {meaning}"));
}

fn wait_for(mut child: Child, news: Sender<News>) {
    thread::spawn(move || {
        let status = child.wait();
        let _ = news.send(News::Ended(status));
    });
}

fn follow(pid: u32, held: ChildStdin, watch: Watch, news: Sender<News>) {
    thread::spawn(move || {
        trace::follow(pid, held, watch, &mut |step| {
            // Nobody listens when the session is over.
            let _ = news.send(match step {
                trace::Step::Broken(broken) => News::Broken(broken),
                trace::Step::Unwatched(why) => News::Unwatched(why),
                trace::Step::Ended(status) => News::Ended(status),
            });
        });
    });
}

/// Passes on what the unikernel writes.
fn console(mut reader: PipeReader, news: Sender<News>, ui: Ui) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut line = Vec::new();
        let mut first = true;
        while let Ok(len) = reader.read(&mut buffer) {
            if std::mem::take(&mut first) && len > 0 {
                let _ = news.send(News::Sign(Instant::now(), "first console output"));
            }
            let bytes = buffer.get(..len).unwrap_or_default();
            if ui.json {
                let tell = |text: &str| ui.tell(&Event::Console { text }, "", "");
                lines(&mut line, bytes, tell);
            } else {
                let mut stdout = io::stdout();
                // Nobody reads: the unikernel goes on all the same.
                let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
            }
            if len == 0 {
                break;
            }
        }
    })
}

/// A longer line of the console is told in pieces: a unikernel that ends none costs no memory.
const LONGEST: usize = 64 << 10;

/// Tells of each whole line, and of what is left at the end: then there are no bytes.
fn lines(line: &mut Vec<u8>, bytes: &[u8], mut tell: impl FnMut(&str)) {
    line.extend_from_slice(bytes);
    let mut told = 0;
    while let Some(rest) = line.get(told..).filter(|rest| !rest.is_empty()) {
        let most = rest.get(..LONGEST).unwrap_or(rest);
        let end = most.iter().position(|byte| *byte == b'\n');
        let whole = end.is_some() || most.len() == LONGEST || bytes.is_empty();
        if !whole {
            break;
        }
        let len = end.unwrap_or(most.len());
        tell(&String::from_utf8_lossy(
            most.get(..len).unwrap_or_default(),
        ));
        told += len + usize::from(end.is_some());
    }
    line.drain(..told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_once_it_is_whole_and_a_very_long_one_in_pieces() {
        let (mut line, mut told) = (Vec::new(), Vec::new());
        let mut pass = |bytes: &[u8]| {
            lines(&mut line, bytes, |text| told.push(text.to_owned()));
            (line.len(), std::mem::take(&mut told))
        };
        assert_eq!(pass(b"one\n\ntw"), (2, vec!["one".into(), String::new()]));
        assert_eq!(pass(b"o\n"), (0, vec!["two".into()]));
        let (left, pieces) = pass(&vec![b'x'; 3 * LONGEST + 5]);
        assert_eq!((left, pieces.len()), (5, 3));
        assert_eq!(pass(b"y\nend"), (3, vec!["xxxxxy".into()]));
        assert_eq!(pass(b""), (0, vec!["end".into()]));
        assert_eq!(pass(b""), (0, vec![]));
    }
}

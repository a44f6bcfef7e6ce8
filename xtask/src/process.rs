//! Child processes that are awaited with a deadline and never outlive their handle.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// A child process whose output is collected. Dropping it ends it.
pub struct Process {
    child: Child,
    shown: String,
    output: Arc<Output>,
    /// How to ask it to end: a process with children of its own must hear a signal it can catch.
    ending: Signal,
}

/// What a process has written, and who waits for more.
#[derive(Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    /// Streams that have not come to their end.
    open: usize,
}

impl Output {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done`, at most `limit`; whether it is.
    fn wait(&self, limit: Duration, done: impl Fn(&State) -> bool) -> bool {
        let waiting = |state: &mut State| !done(state);
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, limit, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Process {
    /// Starts `command` with standard output and error collected together.
    pub fn start(command: &mut Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let output = Arc::<Output>::default();
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, &output);
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, &output);
        }
        Ok(Self {
            child,
            shown,
            output,
            ending: Signal::KILL,
        })
    }

    /// Lets the drop send `signal` first and SIGKILL only when that did not help.
    pub fn ending_with(mut self, signal: Signal) -> Self {
        self.ending = signal;
        self
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        self.output.state().text.clone()
    }

    /// Waits until it has written `what`; an error once it no longer can.
    pub fn says(&self, limit: Duration, what: &str) -> Result<()> {
        self.output
            .wait(limit, |state| state.text.contains(what) || state.open == 0);
        let output = self.output();
        if !output.contains(what) {
            bail!("{} did not say {what:?}:\n{output}", self.shown);
        }
        Ok(())
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.shown))
    }

    /// Waits for the process and for the end of its output.
    pub fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = self.exited(limit)?;
        if !self.output.wait(limit, |state| state.open == 0) {
            bail!("{} left its output open", self.shown);
        }
        Ok(status)
    }

    fn exited(&mut self, limit: Duration) -> Result<ExitStatus> {
        ended(self.id(), limit)
            .with_context(|| format!("{} still runs:\n{}", self.shown, self.output()))?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let asked = self.ending != Signal::KILL && self.signal(self.ending).is_ok();
        if asked && self.exited(Duration::from_secs(5)).is_ok() {
            return;
        }
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: &Arc<Output>) {
    let into = into.clone();
    into.state().open += 1;
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            into.state().text.push_str(&text);
            into.changed.notify_all();
        }
        into.state().open -= 1;
        into.changed.notify_all();
    });
}

/// Waits until a process, anybody's, has ended.
pub fn ended(pid: u32, limit: Duration) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("a process id is not zero")?;
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        // Whoever started it has taken notice of its end already.
        Err(Errno::SRCH) => return Ok(()),
        handle => handle.context("cannot watch a process")?,
    };
    let mut handles = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(limit)?;
    match retry_on_intr(|| poll(&mut handles, Some(&timeout)))? {
        0 => bail!("waited {limit:?} in vain for the end of process {pid}"),
        _ => Ok(()),
    }
}

/// For benchmarks, of what tells nobody when it is there: asks again and again, a millisecond
/// apart, until there is an answer or `limit` is over.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The process and its descendants, parents first.
pub fn family(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = status_field(id, "PPid:") {
            parents.push((id, parent));
        }
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(
            parents
                .iter()
                .filter(|p| p.1 == u64::from(parent))
                .map(|p| p.0),
        );
        next += 1;
    }
    family
}

/// A number from `/proc/PID/status`, for example of `PPid:`.
pub fn status_field(pid: u32, field: &str) -> Option<u64> {
    number(
        &std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        field,
    )
}

/// The first number behind `field` in `text`.
pub fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_collected_and_the_exit_status_is_told() {
        let mut sh = Process::start(Command::new("sh").args(["-c", "echo ready; exit 7"])).unwrap();
        assert_eq!(sh.exit(Duration::from_secs(5)).unwrap().code(), Some(7));
        assert_eq!(sh.output(), "ready\n");
    }

    #[test]
    fn dropping_a_process_ends_it_and_its_family_is_found() {
        let sh =
            Process::start(Command::new("sh").args(["-c", "sleep 60 & echo up; wait"])).unwrap();
        sh.says(Duration::from_secs(5), "up").unwrap();
        let family = family(sh.id());
        assert_eq!(family.len(), 2, "{family:?}");
        drop(sh);
        ended(family[0], Duration::ZERO).unwrap();
        let sleep = Pid::from_raw(family[1] as i32).unwrap();
        kill_process(sleep, Signal::KILL).unwrap();
        ended(family[1], Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_process_that_ends_says_nothing_more() {
        let sh = Process::start(Command::new("sh").args(["-c", "echo ready"])).unwrap();
        sh.says(Duration::from_secs(5), "ready").unwrap();
        let error = sh.says(Duration::from_secs(5), "listening").unwrap_err();
        assert!(
            error.to_string().contains("did not say \"listening\""),
            "{error}"
        );
    }

    #[test]
    fn a_number_is_found_behind_its_field() {
        assert_eq!(number("Rss:   1234 kB\nPss: 5 kB\n", "Pss:"), Some(5));
        assert_eq!(number("Rss: none\n", "Rss:"), None);
    }
}

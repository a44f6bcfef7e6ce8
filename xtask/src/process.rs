//! Child processes that are awaited with a deadline and never outlive their handle.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A child process whose output is collected. Dropping it ends it.
pub struct Process {
    child: Child,
    shown: String,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// How to ask it to end: a process with children of its own must hear a signal it can catch.
    ending: Signal,
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
        let output = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(stdout, output.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(collect(stderr, output.clone()));
        }
        Ok(Self {
            child,
            shown,
            output,
            readers,
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
        self.output
            .lock()
            .map(|text| text.clone())
            .unwrap_or_default()
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.shown))
    }

    /// Waits for the process and for the end of its output.
    pub fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = self.exited(limit)?;
        until(limit, "the end of its output", || {
            self.drained().then_some(())
        })
        .with_context(|| format!("{} left its output open", self.shown))?;
        Ok(status)
    }

    fn exited(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let status = until(limit, "its end", || child.try_wait().ok().flatten());
        status.with_context(|| format!("{} still runs:\n{}", self.shown, self.output()))
    }

    fn drained(&self) -> bool {
        self.readers.iter().all(|reader| reader.is_finished())
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

fn collect(
    mut from: impl Read + Send + 'static,
    into: Arc<Mutex<String>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    if let Ok(mut text) = into.lock() {
                        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
                    }
                }
            }
        }
    })
}

/// Asks again and again, a millisecond apart, until there is an answer or `limit` is over.
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

/// Whether a process is there and not a zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("State:\tZ") && !status.contains("State:\tX"))
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
        let up = || (sh.output() == "up\n").then_some(());
        until(Duration::from_secs(5), "its child", up).unwrap();
        let family = family(sh.id());
        assert_eq!(family.len(), 2, "{family:?}");
        drop(sh);
        assert!(!alive(family[0]));
        let sleep = Pid::from_raw(family[1] as i32).unwrap();
        kill_process(sleep, Signal::KILL).unwrap();
    }

    #[test]
    fn a_number_is_found_behind_its_field() {
        assert_eq!(number("Rss:   1234 kB\nPss: 5 kB\n", "Pss:"), Some(5));
        assert_eq!(number("Rss: none\n", "Rss:"), None);
    }
}

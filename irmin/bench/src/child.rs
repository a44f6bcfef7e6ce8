//! Programs as peers: how long they run, and how much memory they and their children take.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// The first argument that makes this program run another and tell what it took. It is small, and
/// it has had no other child, so the greatest memory of its children is that of the program.
pub const WORD: &str = "--measured";

/// What a program took.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// From before its start to its end.
    pub milliseconds: f64,
    /// The greatest resident memory of it or one of its children.
    pub megabytes: f64,
}

/// Runs a program with its output thrown away.
pub fn measured(command: &Command) -> Result<Usage> {
    let mut outer = Command::new(std::env::current_exe()?);
    outer
        .arg(WORD)
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    let said = output(&mut outer)?;
    let mut numbers = said.split_whitespace().map(str::parse);
    let mut next = || anyhow::Ok(numbers.next().context("no number")??);
    Ok(Usage {
        milliseconds: next()?,
        megabytes: next()?,
    })
}

/// The measured run itself: the rest of the command line is the program.
pub fn run(mut words: impl Iterator<Item = OsString>) -> Result<()> {
    let mut command = Command::new(words.next().context("no program")?);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let begun = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
    ensure!(status.success(), "{command:?} ends with {status}");
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{milliseconds} {}", kilobytes as f64 / 1e3);
    Ok(())
}

/// `git`, in a folder, without the configuration of whoever runs it.
pub fn git(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("git");
    // As arguments, because what is measured is started by way of another process.
    command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
    command.arg("-C").arg(folder).args(words);
    command
}

/// Runs a program to its end and gives what it wrote.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} ends with {}:\n{errors}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

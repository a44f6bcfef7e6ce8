//! Watching a unikernel by ptrace(2), so that its end can be told of with everything still there.
//!
//! A process that is traced so pays nothing while it runs: it stops only for a signal, and at its
//! end. [`Tracer::follow`] has one thread to itself, as ptrace wants it.

mod backtrace;
mod cause;
mod dump;
mod gdb;
mod maps;
mod tracee;
mod twin;
mod unwind;

use std::fmt;
use std::io;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus};

use miette::{Diagnostic, IntoDiagnostic as _, Report};
use mirage_tender_process::IMAGE;
use nix::errno::Errno;
use thiserror::Error;

pub use backtrace::Broken;
pub use twin::{Frame, Symbols, Twin};

use crate::cli::Debug;
use crate::report::short;
use crate::ui::{Event, Ui};
use cause::Cause;
use dump::Destination;
use tracee::{Stop, Tracee};

/// What is to be done for a unikernel while it runs, and when it breaks.
#[derive(Debug)]
pub struct Watch {
    /// The image's unstripped twin.
    pub twin: PathBuf,
    /// Where its core goes when it breaks.
    pub dump: Option<Destination>,
    /// Where a debugger is awaited before it begins.
    pub debugger: Option<TcpListener>,
}

impl Debug {
    /// Prepares what is asked for, for the image `product`: everything
    /// that can be wrong is found before the start. Tells where a debugger is awaited.
    pub fn watch(&self, product: &Path, ui: &Ui) -> Result<Watch, Report> {
        let watch = Watch {
            twin: product.with_added_extension("debug"),
            dump: self.dump.as_deref().map(Destination::new).transpose()?,
            debugger: (self.gdb.map(|place| gdb::listen(place.map(|p| p.0)))).transpose()?,
        };
        if let Some(listener) = &watch.debugger {
            let address = listener.local_addr().into_diagnostic()?.to_string();
            let twin = short(&watch.twin);
            let text = format!("for a debugger: gdb {twin} -ex 'target remote {address}'");
            ui.tell(&Event::Debugger { address: &address }, "Waiting", &text);
        }
        Ok(watch)
    }
}

/// What a watched unikernel does.
pub enum Step {
    /// It broke: it ends soon.
    Broken(Broken),
    /// It cannot be watched.
    Unwatched(Unwatched),
    /// It has ended.
    Ended(io::Result<ExitStatus>),
}

/// Why a process cannot be watched.
#[derive(Debug, Clone, Copy, Error, Diagnostic)]
#[diagnostic(help("leave --gdb out to run without a debugger"))]
pub struct Unwatched(Errno);

impl fmt::Display for Unwatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Errno::EPERM | Errno::EACCES | Errno::ENOSYS => f.write_str(
                "this machine does not let the tool trace its own child; in a container allow it: \
                 --cap-add SYS_PTRACE",
            ),
            other => write!(f, "the unikernel cannot be traced: {}", other.desc()),
        }
    }
}

/// A watched unikernel.
struct Tracer<'a> {
    tracee: Tracee,
    watch: Watch,
    /// It has been told that it broke: once is enough.
    told: bool,
    tell: &'a mut dyn FnMut(Step),
}

/// Watches the tender `pid`, which waits on `held` until it is watched, and what it executes, up
/// to its end; tells of each step, of the end last. Waits all the while: give it a thread.
pub fn follow(pid: u32, mut held: ChildStdin, watch: Watch, tell: &mut dyn FnMut(Step)) {
    let tracee = match Tracee::seize(pid, watch.debugger.is_some()) {
        Ok(tracee) => tracee,
        Err(errno) => {
            if watch.debugger.is_some() {
                // Whoever waits for the beginning shall not miss it.
                kill(pid as i32);
            }
            drop(watch);
            tell(Step::Unwatched(Unwatched(errno)));
            drop(held);
            return tell(Step::Ended(wait_for(pid)));
        }
    };
    // The image shall know that it need not tell where it panicked.
    let _ = held.write_all(&[1]);
    drop(held);
    let mut tracer = Tracer {
        tracee,
        watch,
        told: false,
        tell,
    };
    let status = tracer.follow();
    let Tracer { watch, tell, .. } = tracer;
    // What was prepared for a core goes before the end is known, and with it the tool.
    drop(watch);
    tell(Step::Ended(status));
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn wait_for(pid: u32) -> io::Result<ExitStatus> {
    use std::os::unix::process::ExitStatusExt as _;
    let pid = rustix::process::Pid::from_raw(pid as i32);
    loop {
        match rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Tracer<'_> {
    fn follow(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.tracee.wait()? {
                Stop::Ended(status) => return Ok(status),
                Stop::Executed if self.is_image() => match self.watch.debugger.take() {
                    Some(listener) => {
                        if let Some(status) = gdb::serve(&listener, self)? {
                            return Ok(status);
                        }
                    }
                    None => self.tracee.resume(0),
                },
                // The tender itself: a child can be seized before its own start is over.
                Stop::Executed => self.tracee.resume(0),
                Stop::Signal(signal) => self.deliver(signal),
                Stop::Exiting(status) => {
                    if let Some(cause) = self.breaks(status) {
                        self.broken(cause);
                    }
                    self.tracee.resume(0);
                }
                Stop::Held => {
                    self.tracee.hold();
                    self.tracee.resume(0);
                }
                Stop::Interrupted => self.tracee.resume(0),
            }
        }
    }

    /// Whether it stands in the image, and not in the tender any more.
    fn is_image(&self) -> bool {
        let registers = self.tracee.registers();
        registers.is_ok_and(|registers| IMAGE.contains(&registers.rip))
    }

    /// Lets a signal come through; tells what broke when it says so.
    fn deliver(&mut self, signal: i32) {
        if let Ok(registers) = self.tracee.registers()
            && let Some(cause) = Cause::of_signal(signal, &self.tracee, &registers)
        {
            self.broken(cause);
        }
        self.tracee.resume(signal);
    }

    /// What broke, when that is why it is about to end with this status.
    fn breaks(&self, status: ExitStatus) -> Option<Cause> {
        let registers = self.tracee.registers().ok()?;
        Cause::of_end(status, &registers)
    }

    /// Tells what broke, with a backtrace, and leaves a core where one is wanted.
    fn broken(&mut self, cause: Cause) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let backtrace = backtrace::make(&self.tracee, &self.watch.twin, &cause);
        let dump = self.watch.dump.take();
        let dump = dump.map(|to| to.fill(|file| dump::write(file, &self.tracee, &cause)));
        (self.tell)(Step::Broken(Broken {
            cause: cause.to_string(),
            backtrace,
            dump,
            twin: self.watch.twin.clone(),
        }));
    }
}

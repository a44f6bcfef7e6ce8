//! A process that this thread traces: ptrace(2).
//!
//! Every request must come from the thread that seized the process. Where it has died meanwhile, a
//! request fails with `ESRCH`, and the next [`Tracee::wait`] says so.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_void, user_fpregs_struct, user_regs_struct};
use nix::sys::ptrace::{self, Options, regset::NT_PRFPREG};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{WaitOptions, waitpid};

use super::maps::{self, Mapping};

/// The general registers, as the kernel gives them.
pub type Registers = user_regs_struct;
/// The registers of the floating-point unit and of SSE, as the kernel gives them.
pub type Vectors = user_fpregs_struct;

/// Why a process stands still, or that it is no more.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// It executes another program from now on.
    Executed,
    /// This signal is about to be delivered.
    Signal(i32),
    /// It is about to end with this status, its memory and registers still there.
    Exiting(ExitStatus),
    /// It was asked to stand still.
    Interrupted,
    /// A signal like SIGTSTP holds it until SIGCONT.
    Held,
    /// It has ended.
    Ended(ExitStatus),
}

/// A process that this thread traces.
pub struct Tracee {
    pid: Pid,
}

impl Tracee {
    /// Begins to trace a child. It goes on running; from now on it dies with this thread.
    pub fn seize(pid: u32, stop_at_exec: bool) -> Result<Self, Errno> {
        let mut options = Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEEXIT;
        if stop_at_exec {
            options |= Options::PTRACE_O_TRACEEXEC;
        }
        let pid = Pid::from_raw(pid as i32);
        ptrace::seize(pid, options)?;
        Ok(Self { pid })
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits until it stands still.
    pub fn wait(&self) -> io::Result<Stop> {
        loop {
            if let Some(stop) = self.next(WaitOptions::empty())? {
                return Ok(stop);
            }
        }
    }

    /// Whether it stands still. Returns at once.
    pub fn poll(&self) -> io::Result<Option<Stop>> {
        self.next(WaitOptions::NOHANG)
    }

    fn next(&self, options: WaitOptions) -> io::Result<Option<Stop>> {
        let pid = rustix::process::Pid::from_raw(self.id());
        let status = match waitpid(pid, options) {
            Err(rustix::io::Errno::INTR) => return Ok(None),
            answer => answer?,
        };
        Ok(status.map(|(_, status)| self.meaning(status.as_raw())))
    }

    /// What a status of wait(2) means: the lowest byte says that it has stopped, the second by
    /// which signal, the third by which event.
    fn meaning(&self, status: i32) -> Stop {
        const STOPPED: i32 = 0x7f;
        const EVENT_EXEC: i32 = 4;
        const EVENT_EXIT: i32 = 6;
        const EVENT_STOP: i32 = 128;
        if status & 0xff != STOPPED {
            return Stop::Ended(ExitStatus::from_raw(status));
        }
        let signal = status >> 8 & 0xff;
        match status >> 16 {
            EVENT_EXEC => Stop::Executed,
            EVENT_EXIT => {
                let status = ptrace::getevent(self.pid).unwrap_or(0);
                Stop::Exiting(ExitStatus::from_raw(status as i32))
            }
            EVENT_STOP if signal == Signal::SIGTRAP as i32 => Stop::Interrupted,
            EVENT_STOP => Stop::Held,
            _ => Stop::Signal(signal),
        }
    }

    /// Lets it go on, with this signal; 0 is none. A signal that has no name, a real-time one,
    /// ends it as it would have: by SIGKILL.
    pub fn resume(&self, signal: i32) {
        let _ = ptrace::cont(self.pid, named(signal));
    }

    /// Lets it execute one instruction, with this signal; 0 is none.
    pub fn step(&self, signal: i32) {
        let _ = ptrace::step(self.pid, named(signal));
    }

    /// Asks it to stand still.
    pub fn interrupt(&self) {
        let _ = ptrace::interrupt(self.pid);
    }

    /// Ends it.
    pub fn kill(&self) {
        super::kill(self.id());
    }

    /// Stays until the signal that lets a held process go on has come, or it has ended.
    ///
    /// PTRACE_LISTEN, which reports that, no safe interface has; a signal that is pending can be
    /// read, and a job that is held hurries nobody.
    pub fn hold(&self) {
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
            let status = status.unwrap_or_default();
            let mut lines = status.lines();
            let pending = lines.find_map(|line| line.strip_prefix("ShdPnd:"));
            let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            let awaited = [Signal::SIGCONT, Signal::SIGKILL];
            let awaited = awaited.map(|signal| 1_u64 << (signal as i32 - 1));
            match pending {
                Some(pending) if pending & (awaited[0] | awaited[1]) == 0 => {
                    thread::sleep(Duration::from_millis(50));
                }
                _ => return,
            }
        }
    }

    /// The code of the signal that is about to be delivered: what caused it.
    pub fn signal_code(&self) -> i32 {
        ptrace::getsiginfo(self.pid).map_or(0, |info| info.si_code)
    }

    /// Its general registers.
    pub fn registers(&self) -> Result<Registers, Errno> {
        ptrace::getregs(self.pid)
    }

    /// Sets them.
    pub fn set_registers(&self, registers: Registers) -> Result<(), Errno> {
        ptrace::setregs(self.pid, registers)
    }

    /// Its vector registers.
    pub fn vectors(&self) -> Result<Vectors, Errno> {
        ptrace::getregset::<NT_PRFPREG>(self.pid)
    }

    /// Sets them.
    pub fn set_vectors(&self, vectors: Vectors) -> Result<(), Errno> {
        ptrace::setregset::<NT_PRFPREG>(self.pid, vectors)
    }

    /// What is mapped, in the order of addresses; nothing where the kernel does not tell.
    pub fn mappings(&self) -> Vec<Mapping> {
        let table = fs::read_to_string(format!("/proc/{}/maps", self.pid));
        maps::parse(&table.unwrap_or_default())
    }

    /// The auxiliary values that the kernel gave it.
    pub fn auxiliary(&self) -> Vec<u8> {
        fs::read(format!("/proc/{}/auxv", self.pid)).unwrap_or_default()
    }

    /// Its memory.
    pub fn memory(&self) -> Memory {
        Memory {
            pid: self.pid,
            file: File::open(format!("/proc/{}/mem", self.pid)).ok(),
        }
    }

    /// Writes to its memory, read-only pages too: word by word.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let memory = self.memory();
        let mut at = 0;
        while at < bytes.len() {
            let place = address.wrapping_add(at as u64);
            let (word, skip) = (place & !7, (place & 7) as usize);
            let part = &bytes[at..bytes.len().min(at + 8 - skip)];
            let mut whole = [0; 8];
            if memory.read(word, &mut whole) != whole.len() {
                return Err(Errno::EFAULT);
            }
            whole[skip..][..part.len()].copy_from_slice(part);
            ptrace::write(self.pid, word as *mut c_void, i64::from_le_bytes(whole))?;
            at += part.len();
        }
        Ok(())
    }
}

/// A signal as nix names it. It knows no real-time signals.
fn named(signal: i32) -> Option<Signal> {
    (signal != 0).then(|| Signal::try_from(signal).unwrap_or(Signal::SIGKILL))
}

/// The memory of a process that stands still.
pub struct Memory {
    pid: Pid,
    /// A process of another user's, as a container's root has it, keeps the file closed but not
    /// ptrace's own way.
    file: Option<File>,
}

impl Memory {
    /// Reads as many bytes from `address` on as can be read.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let place = address.wrapping_add(done as u64);
            match self.some(place, &mut bytes[done..]) {
                0 => break,
                read => done += read,
            }
        }
        done
    }

    /// The word at `address`.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        (self.read(address, &mut word) == word.len()).then(|| u64::from_le_bytes(word))
    }

    fn some(&self, address: u64, bytes: &mut [u8]) -> usize {
        if let Some(file) = &self.file {
            return file.read_at(bytes, address).unwrap_or(0);
        }
        let skip = (address & 7) as usize;
        let Ok(word) = ptrace::read(self.pid, (address & !7) as *mut c_void) else {
            return 0;
        };
        let word = word.to_le_bytes();
        let part = word.get(skip..).unwrap_or_default();
        let len = part.len().min(bytes.len());
        bytes[..len].copy_from_slice(&part[..len]);
        len
    }
}

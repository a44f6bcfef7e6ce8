//! What a debugger asks of the process, done by ptrace.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;

use gdbstub::common::Signal;
use gdbstub::stub::SingleThreadStopReason as Reason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::singlethread::{
    SingleThreadBase, SingleThreadResume, SingleThreadResumeOps, SingleThreadSingleStep,
    SingleThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, SwBreakpoint, SwBreakpointOps,
};
use gdbstub::target::{TargetError, TargetResult};
use gdbstub_arch::x86::X86_64_SSE;
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use nix::errno::Errno;
use nix::libc::SIGTRAP;

use super::{registers, signals};
use crate::launch::trace::Tracer;
use crate::launch::trace::tracee::{Registers, Stop, Vectors};

/// `int3`.
const BREAK: u8 = 0xcc;

/// A process under a debugger.
pub struct Target<'a, 't> {
    pub tracer: &'a mut Tracer<'t>,
    /// How it ended.
    pub ended: Option<ExitStatus>,
    /// Where it shall stop, and what stood there.
    breakpoints: BTreeMap<u64, u8>,
    /// It has not been let go on since its last stop.
    still: bool,
    /// The signal that would have been delivered.
    pending: i32,
    /// It executes one instruction.
    stepping: bool,
    /// It has been asked to stand still.
    interrupting: bool,
    /// It is at its end.
    exiting: bool,
}

impl<'a, 't> Target<'a, 't> {
    /// A process that stands still.
    pub fn new(tracer: &'a mut Tracer<'t>) -> Self {
        Self {
            tracer,
            ended: None,
            breakpoints: BTreeMap::new(),
            still: true,
            pending: 0,
            stepping: false,
            interrupting: false,
            exiting: false,
        }
    }

    /// Asks it to stand still; it soon will have stopped.
    pub fn interrupt(&mut self) {
        self.interrupting = true;
        self.tracer.tracee.interrupt();
    }

    /// It has stopped: what to tell the debugger. `None`: nothing, and it goes on.
    pub fn stopped(&mut self, stop: Stop) -> Option<Reason<u64>> {
        let stepping = std::mem::take(&mut self.stepping);
        self.still = true;
        self.pending = 0;
        let reason = match stop {
            Stop::Ended(status) => {
                use std::os::unix::process::ExitStatusExt as _;
                self.ended = Some(status);
                Some(match (status.code(), status.signal()) {
                    (None, Some(signal)) => Reason::Terminated(signals::to_gdb(signal)),
                    (code, _) => Reason::Exited(code.unwrap_or(0) as u8),
                })
            }
            Stop::Signal(SIGTRAP) if stepping => Some(Reason::DoneStep),
            Stop::Signal(SIGTRAP) if self.at_breakpoint() => Some(Reason::SwBreak(())),
            Stop::Signal(signal) => {
                self.pending = signal;
                Some(Reason::Signal(signals::to_gdb(signal)))
            }
            Stop::Exiting(status) => {
                // A panic is an end like any other to the kernel, and a place to look at here.
                self.exiting = true;
                let cause = self.tracer.breaks(status);
                cause.filter(|_| !self.tracer.told).map(|cause| {
                    let signal = signals::to_gdb(cause.signal());
                    self.tracer.broken(cause);
                    Reason::Signal(signal)
                })
            }
            Stop::Interrupted if self.interrupting => Some(Reason::Signal(Signal::SIGINT)),
            Stop::Held => {
                self.tracer.tracee.hold();
                None
            }
            Stop::Interrupted | Stop::Executed => None,
        };
        self.interrupting = false;
        if reason.is_none() {
            self.still = false;
            self.stepping = stepping;
            match stepping {
                true => self.tracer.tracee.step(0),
                false => self.tracer.tracee.resume(0),
            }
        }
        reason
    }

    /// Whether the instruction that was executed last was a breakpoint: then as if it had not been.
    fn at_breakpoint(&self) -> bool {
        let Ok(mut registers) = self.tracer.tracee.registers() else {
            return false;
        };
        let before = registers.rip.wrapping_sub(1);
        let is = self.breakpoints.contains_key(&before);
        if is {
            registers.rip = before;
            let _ = self.tracer.tracee.set_registers(registers);
        }
        is
    }

    /// Takes the breakpoints away, and lets the process go on by itself.
    pub fn leave(&mut self) -> io::Result<()> {
        while !self.still {
            self.interrupt();
            let stop = self.tracer.tracee.wait()?;
            self.stopped(stop);
            if self.ended.is_some() {
                return Ok(());
            }
        }
        for (address, byte) in std::mem::take(&mut self.breakpoints) {
            let _ = self.tracer.tracee.write(address, &[byte]);
        }
        match std::mem::take(&mut self.pending) {
            0 => self.tracer.tracee.resume(0),
            signal => self.tracer.deliver(signal),
        }
        Ok(())
    }

    fn registers(&self) -> TargetResult<(Registers, Vectors), Self> {
        let tracee = &self.tracer.tracee;
        let both = tracee
            .registers()
            .and_then(|general| Ok((general, tracee.vectors()?)));
        both.map_err(|_| TargetError::NonFatal)
    }

    fn go_on(&mut self, signal: Option<Signal>, step: bool) {
        let signal = match signal {
            Some(signal) if !self.exiting => signals::to_linux(signal),
            _ => 0,
        };
        self.still = false;
        self.stepping = step;
        if signal != 0 && signal == std::mem::take(&mut self.pending) {
            self.tracer.deliver(signal);
        } else if step {
            self.tracer.tracee.step(signal);
        } else {
            self.tracer.tracee.resume(signal);
        }
    }
}

impl gdbstub::target::Target for Target<'_, '_> {
    type Arch = X86_64_SSE;
    type Error = Errno;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::SingleThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadBase for Target<'_, '_> {
    fn read_registers(&mut self, to: &mut X86_64CoreRegs) -> TargetResult<(), Self> {
        let (general, vectors) = self.registers()?;
        registers::to_gdb(&general, &vectors, to);
        Ok(())
    }

    fn write_registers(&mut self, from: &X86_64CoreRegs) -> TargetResult<(), Self> {
        let (mut general, mut vectors) = self.registers()?;
        registers::from_gdb(from, &mut general, &mut vectors);
        // As gdb itself: after a jump no system call is made again.
        general.orig_rax = u64::MAX;
        let tracee = &self.tracer.tracee;
        let set = tracee
            .set_registers(general)
            .and_then(|()| tracee.set_vectors(vectors));
        set.map_err(|_| TargetError::NonFatal)
    }

    fn read_addrs(&mut self, address: u64, to: &mut [u8]) -> TargetResult<usize, Self> {
        let read = self.tracer.tracee.memory().read(address, to);
        if read == 0 && !to.is_empty() {
            return Err(TargetError::NonFatal);
        }
        let end = address.saturating_add(read as u64);
        for (place, byte) in self.breakpoints.range(address..end) {
            to[(place - address) as usize] = *byte;
        }
        Ok(read)
    }

    fn write_addrs(&mut self, address: u64, bytes: &[u8]) -> TargetResult<(), Self> {
        let mut written = bytes.to_vec();
        let end = address.saturating_add(bytes.len() as u64);
        for (place, byte) in self.breakpoints.range_mut(address..end) {
            let at = (place - address) as usize;
            *byte = bytes[at];
            written[at] = BREAK;
        }
        let written = self.tracer.tracee.write(address, &written);
        written.map_err(|_| TargetError::NonFatal)
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadResume for Target<'_, '_> {
    fn resume(&mut self, signal: Option<Signal>) -> Result<(), Errno> {
        self.go_on(signal, false);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Target<'_, '_> {
    fn step(&mut self, signal: Option<Signal>) -> Result<(), Errno> {
        self.go_on(signal, true);
        Ok(())
    }
}

impl Breakpoints for Target<'_, '_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Target<'_, '_> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        if self.breakpoints.contains_key(&address) {
            return Ok(true);
        }
        let mut byte = [0];
        if self.tracer.tracee.memory().read(address, &mut byte) == 0 {
            return Ok(false);
        }
        let set = self.tracer.tracee.write(address, &[BREAK]).is_ok();
        if set {
            self.breakpoints.insert(address, byte[0]);
        }
        Ok(set)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        let Some(byte) = self.breakpoints.remove(&address) else {
            return Ok(false);
        };
        Ok(self.tracer.tracee.write(address, &[byte]).is_ok())
    }
}

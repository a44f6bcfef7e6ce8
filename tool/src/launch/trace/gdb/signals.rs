//! Signals have other numbers in GDB's protocol (gdb/include/gdb/signals.def).

use gdbstub::common::Signal;

/// Linux's number, and GDB's signal.
const TABLE: [(i32, Signal); 30] = [
    (1, Signal::SIGHUP),
    (2, Signal::SIGINT),
    (3, Signal::SIGQUIT),
    (4, Signal::SIGILL),
    (5, Signal::SIGTRAP),
    (6, Signal::SIGABRT),
    (7, Signal::SIGBUS),
    (8, Signal::SIGFPE),
    (9, Signal::SIGKILL),
    (10, Signal::SIGUSR1),
    (11, Signal::SIGSEGV),
    (12, Signal::SIGUSR2),
    (13, Signal::SIGPIPE),
    (14, Signal::SIGALRM),
    (15, Signal::SIGTERM),
    (17, Signal::SIGCHLD),
    (18, Signal::SIGCONT),
    (19, Signal::SIGSTOP),
    (20, Signal::SIGTSTP),
    (21, Signal::SIGTTIN),
    (22, Signal::SIGTTOU),
    (23, Signal::SIGURG),
    (24, Signal::SIGXCPU),
    (25, Signal::SIGXFSZ),
    (26, Signal::SIGVTALRM),
    (27, Signal::SIGPROF),
    (28, Signal::SIGWINCH),
    (29, Signal::SIGIO),
    (30, Signal::SIGPWR),
    (31, Signal::SIGSYS),
];

/// GDB's signal for one of Linux's.
pub fn to_gdb(signal: i32) -> Signal {
    let entry = TABLE.iter().find(|(number, _)| *number == signal);
    entry.map_or(Signal::UNKNOWN, |(_, signal)| *signal)
}

/// Linux's signal for one of GDB's; 0, none, when it has no such.
pub fn to_linux(signal: Signal) -> i32 {
    let entry = TABLE.iter().find(|(_, other)| *other == signal);
    entry.map_or(0, |(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_keeps_its_name_there_and_back() {
        for (number, _) in TABLE {
            assert_eq!(to_linux(to_gdb(number)), number);
        }
        assert_eq!(to_gdb(31), Signal(12));
        assert_eq!(to_gdb(7), Signal(10));
        assert_eq!(to_gdb(40), Signal::UNKNOWN);
        assert_eq!(to_linux(Signal::UNKNOWN), 0);
    }
}

//! The [`log`] facade on a console: one line a record, with the time since the start.
//!
//! The logger is the one global there is, because the facade is. A platform installs it with its
//! own console and clock; levels are chosen at boot by the key `log`.

use alloc::boxed::Box;
use core::fmt::{self, Write};

pub use log::LevelFilter;
use mirage_device::Instant;

/// Sends the records of every crate to `write`, up to `level`, with the time that `now` shows
/// less the time it shows at this call. Returns at once; false when a logger was there already,
/// and then nothing is changed.
pub fn init(write: fn(&[u8]), now: fn() -> Instant, level: LevelFilter) -> bool {
    let logger = Logger {
        write,
        now,
        start: now(),
    };
    let installed = log::set_logger(Box::leak(Box::new(logger))).is_ok();
    if installed {
        log::set_max_level(level);
    }
    installed
}

struct Logger {
    write: fn(&[u8]),
    now: fn() -> Instant,
    start: Instant,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let since = Instant::ZERO + ((self.now)() - self.start);
        line(self.write, since, record);
    }

    fn flush(&self) {}
}

/// Hands a record to `write` as a line of text: in one piece, unless it is very long. For loggers
/// other than that of [`init`].
pub fn line(write: fn(&[u8]), since: Instant, record: &log::Record<'_>) {
    let mut line = Line {
        bytes: [0; 256],
        used: 0,
        write,
    };
    // A `Line` takes everything: no error is possible.
    let _ = writeln!(
        line,
        "[{since}] {:5} {}: {}",
        record.level(),
        record.target(),
        record.args()
    );
    line.flush();
}

/// Gathers a line so that it reaches the console in one piece, unless it is very long.
struct Line {
    bytes: [u8; 256],
    used: usize,
    write: fn(&[u8]),
}

impl Line {
    fn flush(&mut self) {
        (self.write)(&self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            let (now, later) = rest.split_at(rest.len().min(self.bytes.len() - self.used));
            self.bytes[self.used..self.used + now.len()].copy_from_slice(now);
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use spin::Mutex;

    static SEEN: Mutex<String> = Mutex::new(String::new());

    #[test]
    fn a_record_is_one_line_and_a_level_hides_what_is_below_it() {
        let write = |bytes: &[u8]| SEEN.lock().push_str(core::str::from_utf8(bytes).unwrap());
        assert!(init(
            write,
            || Instant::from_nanos(5_000),
            LevelFilter::Info
        ));
        log::info!(target: "web", "serving {}", "x".repeat(600));
        log::debug!(target: "web", "hidden");
        let expected = alloc::format!("[0.000000] INFO  web: serving {}\n", "x".repeat(600));
        assert_eq!(*SEEN.lock(), expected);
        assert!(
            !init(write, || Instant::ZERO, LevelFilter::Trace),
            "the first logger stays"
        );
    }
}

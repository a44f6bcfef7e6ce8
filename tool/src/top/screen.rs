//! The terminal while it shows a table: its other screen, without echo, and back again.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

/// To the other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal. Dropping it brings back what it showed before.
pub struct Screen {
    before: Option<Termios>,
    events: Receiver<Why>,
    due: Instant,
}

/// Why [`Screen::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The time has passed.
    Time,
    /// The terminal has another size.
    Resized,
    /// The user has seen enough.
    Ended,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter() -> io::Result<Self> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH])?;
        let signal = sender.clone();
        thread::spawn(move || {
            for number in signals.forever() {
                let why = match number {
                    SIGWINCH => Why::Resized,
                    _ => Why::Ended,
                };
                let _ = signal.send(why);
            }
        });
        let mut before = None;
        if io::stdin().is_terminal() {
            let modes = tcgetattr(io::stdin())?;
            let mut raw = modes.clone();
            // Keys come at once and are not shown; Ctrl-C is a signal still.
            raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
            before = Some(modes);
            thread::spawn(move || {
                let mut keys = [0; 16];
                while let Ok(count @ 1..) = io::stdin().read(&mut keys) {
                    if keys
                        .iter()
                        .take(count)
                        .any(|key| matches!(key, b'q' | b'Q'))
                    {
                        let _ = sender.send(Why::Ended);
                    }
                }
            });
        }
        let screen = Self {
            before,
            events,
            due: Instant::now(),
        };
        print(ENTER)?;
        Ok(screen)
    }

    /// Its columns and lines.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }

    /// Shows these lines and nothing else.
    pub fn show(&self, lines: &[String]) -> io::Result<()> {
        // Each line is followed by what clears its rest, the last one by what clears the screen:
        // nothing flickers.
        let text = lines.join("\x1b[K\r\n");
        print(&format!("\x1b[H{text}\x1b[K\x1b[J"))
    }

    /// Waits for something to happen, until `interval` has passed since that was the case last.
    pub fn wait(&mut self, interval: Duration) -> Why {
        let now = Instant::now();
        if self.due <= now {
            self.due = now + interval;
        }
        match self.events.recv_timeout(self.due - now) {
            Ok(why) => why,
            Err(RecvTimeoutError::Timeout) => Why::Time,
            Err(RecvTimeoutError::Disconnected) => Why::Ended,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal has gone.
        let _ = print(LEAVE);
        if let Some(modes) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

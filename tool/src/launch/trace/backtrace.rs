//! The functions that had been called and had not returned when a unikernel broke.

use std::io;
use std::path::{Path, PathBuf};

use super::cause::Cause;
use super::tracee::Tracee;
use super::twin::{Frame, Twin};
use super::unwind::{State, unwind};
use crate::report::short;
use crate::ui::{Event, Ui};

/// The most calls that are shown: a recursion has no end.
const MOST: usize = 64;

/// What is known of a unikernel that broke.
#[derive(Debug)]
pub struct Broken {
    /// What it was.
    pub cause: String,
    /// The calls that had not returned, the innermost first.
    pub backtrace: io::Result<Backtrace>,
    /// Where its core is, where one was wanted.
    pub dump: Option<io::Result<PathBuf>>,
    /// The image's twin.
    pub twin: PathBuf,
}

/// Calls that had not returned.
#[derive(Debug)]
pub struct Backtrace {
    frames: Vec<Frame>,
    /// There are more.
    cut: bool,
}

/// Makes a backtrace of a process that stands still.
pub fn make(tracee: &Tracee, twin: &Path, cause: &Cause) -> io::Result<Backtrace> {
    let gone = |errno: nix::errno::Errno| io::Error::from_raw_os_error(errno as i32);
    let registers = tracee.registers().map_err(gone)?;
    let twin = Twin::read(twin)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", short(twin))))?;
    let symbols = twin.symbols()?;
    let memory = tracee.memory();
    let state = State::new(&registers);
    let mut addresses = unwind(&symbols, state, |at| memory.word(at), MOST + 1);
    let cut = addresses.len() > MOST;
    addresses.truncate(MOST);
    let mut frames = Vec::new();
    for (depth, address) in addresses.into_iter().enumerate() {
        let behind = if depth == 0 { cause.behind() } else { 1 };
        frames.extend(symbols.frames(address, address.wrapping_sub(behind)));
    }
    if matches!(cause, Cause::Panic | Cause::OutOfMemory) {
        frames.drain(..machinery(&frames));
    }
    Ok(Backtrace { frames, cut })
}

/// How many frames at the beginning belong to the panic itself: they are the same every time.
fn machinery(frames: &[Frame]) -> usize {
    let named = |frame: &Frame, wanted: &dyn Fn(&str) -> bool| {
        frame.function.as_deref().is_some_and(wanted)
    };
    let handler = frames
        .iter()
        .position(|frame| named(frame, &|name| name.ends_with("rust_begin_unwind")));
    let Some(handler) = handler else { return 0 };
    let begun = |name: &str| {
        name.starts_with("core::panicking::")
            || name.starts_with("alloc::alloc::")
            || name.contains("alloc_error_handler")
            || name.ends_with("rdl_oom")
    };
    let rest = frames.iter().skip(handler + 1);
    let more = rest.take_while(|frame| named(frame, &begun)).count();
    (handler + 1 + more).min(frames.len().saturating_sub(1))
}

impl Broken {
    /// Tells of it.
    pub fn tell(&self, ui: &Ui) {
        match &self.backtrace {
            Ok(backtrace) => {
                let place = backtrace.place();
                let place = place.map(|at| format!(" at {at}")).unwrap_or_default();
                let event = Event::Backtrace {
                    cause: &self.cause,
                    frames: &backtrace.frames,
                };
                let cause = &self.cause;
                let text = format!("of {cause}{place}, innermost first\n{}", backtrace.text());
                ui.tell(&event, "Backtrace", text.trim_end());
            }
            Err(error) => {
                let text = format!("of {} cannot be made: {error}", self.cause);
                ui.line("Backtrace", &text);
            }
        }
        match &self.dump {
            Some(Ok(file)) => {
                let path = file.to_string_lossy();
                let text = format!("a core: gdb {} {path}", short(&self.twin));
                ui.tell(&Event::Dumped { path: &path }, "Dumped", &text);
            }
            Some(Err(error)) => {
                ui.line(
                    "Dumped",
                    &format!("nothing: the core could not be written: {error}"),
                );
            }
            None => {}
        }
    }
}

impl Backtrace {
    /// The innermost place that is not the standard library's: where a person looks first.
    fn place(&self) -> Option<String> {
        let own = |frame: &&Frame| {
            let file = frame.file.as_deref().unwrap_or_default();
            !["core/", "alloc/"]
                .iter()
                .any(|library| file.starts_with(library))
        };
        let mut own = self.frames.iter().filter(own).filter_map(Frame::place);
        own.next()
            .or_else(|| self.frames.iter().find_map(Frame::place))
    }

    /// A line or two for each frame, as Rust programs print them; those of a recursion once.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut number = 0;
        let same = |a: &Frame, b: &Frame| a.address == b.address && a.function == b.function;
        for frames in self.frames.chunk_by(same) {
            let [frame, again @ ..] = frames else {
                continue;
            };
            let unknown = format!("{:#x}", frame.address);
            let function = frame.function.as_deref().unwrap_or(&unknown);
            text += &format!("{number:>4}: {function}\n");
            if let Some(place) = frame.place() {
                text += &format!("             at {place}\n");
            }
            if !again.is_empty() {
                text += &format!("             and {} times more\n", again.len());
            }
            number += frames.len();
        }
        if self.cut {
            text += "      and more\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str) -> Frame {
        Frame {
            address: 0x10_2000,
            function: Some(function.into()),
            file: Some("src/lib.rs".into()),
            line: Some(7),
            column: None,
            inlined: false,
        }
    }

    #[test]
    fn what_every_panic_has_on_top_is_left_out() {
        let names = [
            "platform::exit",
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "core::option::unwrap_failed",
            "app::main",
        ];
        let frames = names.map(frame);
        assert_eq!(machinery(&frames), 3);
        assert_eq!(machinery(&frames[3..]), 0);
        // Something is always left.
        assert_eq!(machinery(&frames[..3]), 2);
    }

    #[test]
    fn a_backtrace_reads_like_one_of_a_rust_program() {
        let mut nameless = frame("");
        (nameless.function, nameless.file) = (None, None);
        let mut library = frame("core::option::unwrap_failed");
        library.file = Some("core/src/option.rs".into());
        let own = frame("app::main");
        let backtrace = Backtrace {
            frames: vec![library, own.clone(), own.clone(), own, nameless],
            cut: true,
        };
        assert_eq!(
            backtrace.text(),
            concat!(
                "   0: core::option::unwrap_failed\n",
                "             at core/src/option.rs:7\n",
                "   1: app::main\n",
                "             at src/lib.rs:7\n",
                "             and 2 times more\n",
                "   4: 0x102000\n",
                "      and more\n"
            )
        );
        assert_eq!(backtrace.place().unwrap(), "src/lib.rs:7");
    }
}

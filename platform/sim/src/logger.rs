//! The `log` facade: a record goes to the console of the machine that runs, through its own
//! platform, as an image's does.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Once;

use mirage_device::{Instant, Platform};
use mirage_runtime::Runtime;

use crate::machine::State;
use crate::platform::Sim;

thread_local! {
    static RUNNING: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

/// Who runs from now on; gives back who did.
pub(crate) fn enter(machine: Option<Rc<State>>) -> Option<Rc<State>> {
    RUNNING.replace(machine)
}

type Write = Box<dyn Fn(&[u8])>;

/// What a machine's records go through.
pub(crate) struct Log {
    now: Box<dyn Fn() -> Instant>,
    write: Write,
    start: Instant,
}

impl Log {
    /// The platform of this runtime, whose clock is looked at now.
    pub fn new(runtime: &Runtime<Sim>) -> Self {
        let (clock, console) = (runtime.clone(), runtime.clone());
        Self {
            start: runtime.platform().now(),
            now: Box::new(move || clock.platform().now()),
            write: Box::new(move |bytes| console.platform().console(bytes)),
        }
    }
}

/// The first world of a program installs it; where there is another logger, that stays.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&Logger).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        RUNNING.with_borrow(|running| {
            let level = running.as_ref().map(|machine| machine.level.get());
            level.is_some_and(|level| metadata.level() <= level)
        })
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(door) = door().filter(|_| self.enabled(record.metadata())) {
            let since = Instant::ZERO + ((door.now)() - door.start);
            mirage_runtime::log::line(write, since, record);
        }
    }

    fn flush(&self) {}
}

fn door() -> Option<Rc<Log>> {
    RUNNING.with_borrow(|running| running.as_ref()?.log.borrow().clone())
}

fn write(bytes: &[u8]) {
    if let Some(door) = door() {
        (door.write)(bytes);
    }
}

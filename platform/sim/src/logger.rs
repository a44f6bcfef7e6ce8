//! The `log` facade: a record goes to the console of the machine that runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Once;

use crate::machine::State;

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Whose records come now.
pub(crate) type Running = Rc<State>;

/// Who runs from now on; gives back who did.
pub(crate) fn enter(machine: Option<Running>) -> Option<Running> {
    RUNNING.replace(machine)
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
        let Some(machine) = RUNNING.with_borrow(Clone::clone) else {
            return;
        };
        if record.level() <= machine.level.get()
            && let Some(world) = machine.world.upgrade()
        {
            mirage_runtime::log::line(write, machine.clock(&world), record);
        }
    }

    fn flush(&self) {}
}

fn write(bytes: &[u8]) {
    if let Some(machine) = RUNNING.with_borrow(Clone::clone)
        && let Some(world) = machine.world.upgrade()
    {
        world.console(&machine, bytes);
    }
}

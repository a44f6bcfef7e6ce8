//! What went wrong in a world, and how a panic is caught with its place.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use mirage_device::Instant;

/// What made a run fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A panic of the scenario or of a machine, with the source line where it happened.
    Panic(String),
    /// Everybody waits and nothing will ever come.
    Deadlock,
    /// The world's limit of virtual time was reached.
    TimeLimit,
    /// A machine is never at rest: it computes, and time cannot pass.
    Busy,
}

/// Why a run failed: what, where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub cause: Cause,
    /// What was said.
    pub message: String,
    /// The machine that it happened to; `None` is the scenario itself.
    pub machine: Option<String>,
    /// The world's time.
    pub at: Instant,
    /// The world's seed.
    pub seed: u64,
}

impl Failure {
    /// Whether it is the same failure, perhaps at another time: a run that is made smaller must
    /// not end in another one.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.cause == other.cause && self.machine == other.machine
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.machine {
            Some(machine) => write!(f, "machine `{machine}`")?,
            None => f.write_str("the scenario")?,
        }
        match &self.cause {
            Cause::Panic(place) => write!(f, " panicked at {place}: ")?,
            _ => f.write_str(" failed: ")?,
        }
        let Self {
            message, at, seed, ..
        } = self;
        write!(f, "{message} (at {at} s of seed {seed})")
    }
}

impl std::error::Error for Failure {}

/// How a machine's exit unwinds its stack.
pub(crate) struct Exit(pub u8);

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// What a panic said, and where.
#[derive(Debug, Clone)]
pub(crate) struct Panic {
    pub message: String,
    pub place: String,
}

/// Runs `body`; a panic is given back with its place, and is shown unless it is `silent`.
pub(crate) fn catch<T>(silent: bool, body: impl FnOnce() -> T) -> Result<T, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let show = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let said = Panic {
                message: text(info.payload()),
                place: info.location().map(ToString::to_string).unwrap_or_default(),
            };
            CAUGHT.set(Some(said));
            if !SILENT.get() {
                show(info);
            }
        }));
    });
    let before = SILENT.get();
    SILENT.set(before || silent);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    SILENT.set(before);
    result.map_err(|payload| match payload.downcast::<Exit>() {
        Ok(exit) => Caught::Exit(exit.0),
        Err(payload) => Caught::Panic(CAUGHT.take().unwrap_or_else(|| Panic {
            message: text(&*payload),
            place: "an unknown place".into(),
        })),
    })
}

/// What ended a body early.
pub(crate) enum Caught {
    Exit(u8),
    Panic(Panic),
}

fn text(payload: &dyn std::any::Any) -> String {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without words".into(),
    }
}

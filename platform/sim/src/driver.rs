//! Unikernels as the world sees them: something that takes turns.

use mirage_device::{Instant, Platform};
use mirage_runtime::{Failure, Main, Runtime, Turn};

use crate::platform::Sim;
use crate::unikernel::Ended;

/// What a unikernel on a machine is seen as from outside.
pub(crate) trait Driver {
    /// Lets it run until it waits or ends.
    fn turn(&mut self) -> Turn<Result<(), Failure>>;
    /// Whether a task is ready, though no device and no deadline woke it.
    fn is_ready(&self) -> bool;
}

/// A unikernel in its machine.
struct Inside {
    runtime: Runtime<Sim>,
    main: Main<Sim>,
    future: Option<Ended>,
    waits: Option<Option<Instant>>,
}

/// Begins to run a main function.
pub(crate) fn drive(runtime: Runtime<Sim>, main: Ended) -> Box<dyn Driver> {
    Box::new(Inside {
        main: runtime.enter(),
        runtime,
        future: Some(main),
        waits: None,
    })
}

impl Driver for Inside {
    fn turn(&mut self) -> Turn<Result<(), Failure>> {
        if let Some(deadline) = self.waits.take() {
            self.runtime.resume(deadline);
        }
        let Some(future) = &mut self.future else {
            return Turn::Wait(None);
        };
        let turn = self.runtime.turn(&self.main, future.as_mut());
        match &turn {
            Turn::Wait(deadline) => self.waits = Some(*deadline),
            // An image's end comes through the platform, and is in its recording.
            Turn::Done(result) if self.runtime.platform().tape().is_some() => {
                let platform = self.runtime.platform();
                if let Err(failure) = result {
                    platform.console(format!("error: {failure}\n").as_bytes());
                }
                platform.exit(u8::from(result.is_err()));
            }
            Turn::Done(_) => {}
        }
        turn
    }

    fn is_ready(&self) -> bool {
        self.runtime.is_ready()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.future = None;
        self.runtime.clear();
    }
}

/// The tasks of a runtime that the scenario drives, while it waits for another one.
pub(crate) struct Outside(pub Runtime<Sim>);

impl Driver for Outside {
    fn turn(&mut self) -> Turn<Result<(), Failure>> {
        let main = self.0.enter();
        self.0.resume(Some(Instant::ZERO));
        self.0.turn(&main, std::pin::pin!(std::future::pending()))
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.clear();
    }
}

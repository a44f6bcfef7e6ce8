//! One flush for all who wait.

use alloc::string::ToString;
use alloc::sync::Arc;

use irmin::BackendError;

use crate::sync::{Condition, Mutex};
use crate::{Pack, Storage};

/// Who flushes, how far, and whether one failed.
#[derive(Default)]
pub struct Flushing {
    state: Mutex<State>,
    done: Condition,
}

#[derive(Default)]
struct State {
    running: bool,
    /// All that was written before [`Writer::written`](crate::write::Writer) had this value is durable.
    upto: u64,
    failed: Option<BackendError>,
}

impl Flushing {
    /// Refuses once a flush has failed: what the system says is written need not be on the disk, and
    /// no later flush makes up for it.
    pub fn check(&self) -> Result<(), BackendError> {
        match &self.state.lock().failed {
            Some(error) => Err(after_failure(error)),
            None => Ok(()),
        }
    }

    /// Remembers a flush that failed.
    pub fn note(&self, result: Result<(), BackendError>) -> Result<(), BackendError> {
        if let Err(error) = &result {
            self.state.lock().failed = Some(error.clone());
        }
        result
    }
}

impl<S: Storage> Pack<S> {
    /// Returns when what was written before the call is durable. Whoever comes while a flush runs
    /// waits for the next, which serves all of them.
    pub(crate) fn flush_together(&self) -> Result<(), BackendError> {
        let wanted = self.writer.lock().written;
        let mut state = self.sync.state.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(after_failure(error));
            }
            if state.upto >= wanted {
                return Ok(());
            }
            if state.running {
                state = self.sync.done.wait(&self.sync.state, state);
                continue;
            }
            state.running = true;
            drop(state);
            let (written, point, freed) = {
                let mut w = self.writer.lock();
                w.unflushed = 0;
                (w.written, w.point(), w.freed.clone())
            };
            let result = self.storage.flush();
            if result.is_ok() {
                self.writer.lock().flushed(point, &freed);
            }
            state = self.sync.state.lock();
            state.running = false;
            match result {
                Ok(()) => state.upto = state.upto.max(written),
                Err(error) => state.failed = Some(error),
            }
            self.sync.done.notify_all();
        }
    }
}

fn after_failure(error: &BackendError) -> BackendError {
    BackendError::Io {
        what: "a flush failed, so that what is on the disk is unknown; close the store, open it again, and write anew what was not acknowledged".to_string(),
        source: Arc::new(error.clone()),
    }
}

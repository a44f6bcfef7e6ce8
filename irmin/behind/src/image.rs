//! The device as it will be once everything is persisted.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Waker};

use irmin::BackendError;
use irmin_pack::Device;
use spin::{Mutex, MutexGuard};

/// The unit in which changes are noted and written: no smaller than any sector that is taken.
pub const PAGE: usize = 4096;
/// A longer run of pages is written in several pieces.
const PIECE: usize = 64 * PAGE;

/// A device in memory that remembers what changed, and in what order it must be persisted.
pub struct Image {
    size: u64,
    sector: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Pages that are not zero.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// Pages that changed since the last batch was closed.
    changed: BTreeSet<u64>,
    /// What is to be persisted, each batch after the one before it.
    batches: VecDeque<Arc<Batch>>,
    /// Counts writes.
    written: u64,
    /// So many of them are durable.
    durable: u64,
    /// Why the driver ended. It may begin again.
    failure: Option<BackendError>,
    /// Nobody can drive it any more.
    abandoned: bool,
    driver: Option<Waker>,
    waiting: Vec<Waker>,
}

/// Pages that may reach the device in any order, with a flush behind them.
pub struct Batch {
    /// Where each run of pages begins, and its bytes.
    pub runs: Vec<(u64, Vec<u8>)>,
    /// The count of writes that are durable once it is.
    upto: u64,
    bytes: usize,
}

impl Image {
    /// An image of a device without content.
    pub fn new(size: u64, sector: usize) -> Image {
        Image {
            size,
            sector,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes in what the device holds, without noting a change. Whole pages.
    pub fn load(&self, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        for (n, page) in (offset / PAGE as u64..).zip(bytes.chunks_exact(PAGE)) {
            if page.iter().any(|&byte| byte != 0) {
                state.page(n).copy_from_slice(page);
            }
        }
    }

    /// Whether the page at this offset holds nothing but zeros.
    pub fn is_zero(&self, offset: u64) -> bool {
        let state = self.state();
        let page = state.pages.get(&(offset / PAGE as u64));
        page.is_none_or(|page| page.iter().all(|&byte| byte == 0))
    }

    /// How many bytes wait to be persisted.
    pub fn backlog(&self) -> usize {
        let state = self.state();
        let queued: usize = state.batches.iter().map(|batch| batch.bytes).sum();
        queued + state.changed.len() * PAGE
    }

    /// The number of writes so far.
    pub fn written(&self) -> u64 {
        self.state().written
    }

    /// Whether so many writes are durable; if not, `context` is woken when that may have changed.
    pub fn is_durable(&self, upto: u64, context: &Context<'_>) -> Option<Result<(), BackendError>> {
        let mut state = self.state();
        if state.durable >= upto {
            return Some(Ok(()));
        }
        if let Some(failure) = &state.failure {
            return Some(Err(failure.clone()));
        }
        if state.abandoned {
            return Some(Err(BackendError::Refused {
                what: "to become durable: the driver of the store was dropped".into(),
            }));
        }
        state.wait(context);
        None
    }

    /// Whether no more than this many bytes wait; if not, as with [`is_durable`](Image::is_durable).
    pub fn has_room(&self, most: usize, context: &Context<'_>) -> Option<Result<(), BackendError>> {
        if self.backlog() <= most {
            return Some(Ok(()));
        }
        let upto = self.written();
        self.is_durable(upto, context)
    }

    /// The next batch to persist. It stays the next until [`persisted`](Image::persisted) is called;
    /// without one, `context` is woken when there is.
    pub fn next(&self, context: &Context<'_>) -> Option<Arc<Batch>> {
        let mut state = self.state();
        if state.batches.is_empty() {
            state.close();
        }
        if state.batches.is_empty() {
            state.driver = Some(context.waker().clone());
        }
        state.batches.front().cloned()
    }

    /// The driver begins, perhaps again.
    pub fn begin(&self) {
        self.state().failure = None;
    }

    /// The first batch is on the device and flushed.
    pub fn persisted(&self) {
        let mut state = self.state();
        if let Some(batch) = state.batches.pop_front() {
            state.durable = batch.upto;
        }
        wake(state);
    }

    /// The first batch is not on the device, or nobody knows.
    pub fn failed(&self, error: BackendError) {
        let mut state = self.state();
        state.failure = Some(error);
        wake(state);
    }

    /// There is no driver any more.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.abandoned = true;
        wake(state);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = mem::take(&mut state.waiting);
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
}

impl State {
    fn page(&mut self, n: u64) -> &mut [u8; PAGE] {
        self.pages.entry(n).or_insert_with(|| Box::new([0; PAGE]))
    }

    fn wait(&mut self, context: &Context<'_>) {
        let waker = context.waker();
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// Makes a batch of what changed, as it is now.
    fn close(&mut self) {
        let changed = mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        let bytes = changed.len() * PAGE;
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for n in changed {
            let offset = n * PAGE as u64;
            let page: &[u8] = match self.pages.get(&n) {
                Some(page) => &page[..],
                None => &[0; PAGE],
            };
            match runs.last_mut() {
                Some((from, run)) if *from + run.len() as u64 == offset && run.len() < PIECE => {
                    run.extend_from_slice(page);
                }
                _ => runs.push((offset, page.to_vec())),
            }
        }
        self.batches.push_back(Arc::new(Batch {
            runs,
            upto: self.written,
            bytes,
        }));
    }
}

/// What the engine writes to. Its flush is a barrier and waits for nothing.
pub struct Shared(pub Arc<Image>);

impl Shared {
    fn check(&self, offset: u64, len: usize) {
        let end = offset.checked_add(len as u64);
        assert!(
            end.is_some_and(|end| end <= self.0.size),
            "the engine stays inside its slots"
        );
    }
}

impl Device for Shared {
    fn size(&self) -> u64 {
        self.0.size
    }

    fn sector(&self) -> usize {
        self.0.sector
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        self.check(offset, into.len());
        let state = self.0.state();
        for (n, inside, piece) in pieces(offset, into.len()) {
            let to = &mut into[piece.clone()];
            match state.pages.get(&n) {
                Some(page) => to.copy_from_slice(&page[inside..inside + piece.len()]),
                None => to.fill(0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.check(offset, bytes.len());
        let mut state = self.0.state();
        for (n, inside, piece) in pieces(offset, bytes.len()) {
            let from = &bytes[piece.clone()];
            // A slot that is freed gets zeros: its pages need no memory.
            if piece.len() == PAGE && from.iter().all(|&byte| byte == 0) {
                state.pages.remove(&n);
            } else {
                state.page(n)[inside..inside + piece.len()].copy_from_slice(from);
            }
            state.changed.insert(n);
        }
        state.written += 1;
        let driver = state.driver.take();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        self.0.state().close();
        Ok(())
    }
}

/// Cuts a range at the ends of pages: number of the page, where it begins there, which part it is.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let inside = (at % PAGE as u64) as usize;
        let count = (PAGE - inside).min(len - done);
        let piece = done..done + count;
        done += count;
        Some((at / PAGE as u64, inside, piece))
    })
}

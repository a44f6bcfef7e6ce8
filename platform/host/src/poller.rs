//! Readiness of sockets, one waker for each direction.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

const BATCH: usize = 256;
/// The number of the descriptor that other threads write to.
const NOTIFIED: u64 = u64::MAX;

/// What is known of a socket. Both are true until the kernel has said otherwise, and again when
/// it says that they have become so.
#[derive(Debug)]
pub(crate) struct Source {
    number: usize,
    pub(crate) input: Direction,
    pub(crate) output: Direction,
}

#[derive(Debug)]
pub(crate) struct Direction {
    ready: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Direction {
    fn new() -> Self {
        Self {
            ready: Cell::new(true),
            waker: RefCell::new(None),
        }
    }

    /// Tries `operation` until it does anything else than to say "not now".
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut() -> Result<T, Errno>,
    ) -> Poll<Result<T, Errno>> {
        loop {
            if !self.ready.get() {
                let mut waker = self.waker.borrow_mut();
                match &mut *waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            match operation() {
                Err(Errno::AGAIN) => self.ready.set(false),
                Err(Errno::INTR) => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn report(&self) {
        self.ready.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Lets another thread end a wait.
#[derive(Debug, Clone)]
pub(crate) struct Notifier(Arc<OwnedFd>);

impl Notifier {
    pub(crate) fn notify(&self) {
        // It fails only when the count is at its limit: then the wait ends anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    notified: Notifier,
    sources: RefCell<Vec<Option<Rc<Source>>>>,
    free: RefCell<Vec<usize>>,
    events: RefCell<Vec<epoll::Event>>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let notified = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(NOTIFIED);
        // Edges: the count need not be read.
        epoll::add(
            &epoll,
            &notified,
            data,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self {
            epoll,
            notified: Notifier(Arc::new(notified)),
            sources: RefCell::default(),
            free: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(BATCH)),
        })
    }

    pub(crate) fn notifier(&self) -> Notifier {
        self.notified.clone()
    }

    /// Watches a socket until [`Poller::remove`].
    pub(crate) fn add(&self, fd: impl AsFd) -> Result<Rc<Source>, Errno> {
        use epoll::EventFlags as Flags;
        let mut sources = self.sources.borrow_mut();
        let number = self.free.borrow().last().copied().unwrap_or(sources.len());
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::ET;
        epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(number as u64),
            flags,
        )?;
        let source = Rc::new(Source {
            number,
            input: Direction::new(),
            output: Direction::new(),
        });
        match sources.get_mut(number) {
            Some(place) => {
                *place = Some(source.clone());
                self.free.borrow_mut().pop();
            }
            None => sources.push(Some(source.clone())),
        }
        Ok(source)
    }

    /// Forgets a socket. An event of it that is still on the way may be taken for one of the next
    /// with the same number: that one finds that it was woken for nothing.
    pub(crate) fn remove(&self, source: &Source) {
        if let Some(place) = self.sources.borrow_mut().get_mut(source.number) {
            *place = None;
            self.free.borrow_mut().push(source.number);
        }
    }

    /// Waits until a watched socket becomes ready, another thread notifies, or the time is over.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut events = self.events.borrow_mut();
        events.clear();
        // The only error is a signal: then there is nothing to report.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref());
        for event in events.iter() {
            use epoll::EventFlags as Flags;
            let (flags, data) = (event.flags, event.data);
            let number = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            let source = self.sources.borrow().get(number).cloned().flatten();
            let Some(source) = source else { continue };
            if flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR) {
                source.input.report();
            }
            if flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR) {
                source.output.report();
            }
        }
    }
}

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use mirage_device::{Counters, Flow, Instant, Listener, Sleep, Spawn, StackError, Task, Wall};

use crate::exchange::Handler;
use crate::link::{NAMES, Shared};
use crate::{Limits, connection};

/// An HTTP/1.1 server.
///
/// ```
/// use mirage_device::{Flow, Listener, Sleep, Spawn, StackError, Wall};
/// use mirage_http::{Done, Error, Exchange, Handler, Request, Server, Status};
///
/// struct Hello;
///
/// impl Handler for Hello {
///     async fn handle(
///         &self,
///         request: &Request<'_>,
///         exchange: Exchange<'_, impl Flow, impl Sleep>,
///     ) -> Result<Done, Error> {
///         exchange.answer(Status::OK).field("Content-Type", "text/plain").send("Hello\n").await
///     }
/// }
///
/// async fn run(
///     spawn: impl Spawn, sleep: impl Sleep, wall: impl Wall, listener: impl Listener,
/// ) -> Result<(), StackError> {
///     match Server::new(spawn, sleep, wall).serve(listener, Hello).await? {}
/// }
/// ```
#[derive(Clone)]
pub struct Server<P, S> {
    spawn: P,
    sleep: S,
    shared: Rc<Shared>,
}

impl<P: Spawn, S: Sleep> Server<P, S> {
    /// A server with the default limits. Without a wall clock its answers carry no `Date`.
    pub fn new(spawn: P, sleep: S, wall: impl Wall) -> Self {
        Self::with_limits(spawn, sleep, wall, Limits::default())
    }

    /// A server with these limits.
    pub fn with_limits(spawn: P, sleep: S, wall: impl Wall, limits: Limits) -> Self {
        let shared = Shared::new(limits, Box::new(move || wall.wall()));
        Self {
            spawn,
            sleep,
            shared: Rc::new(shared),
        }
    }

    /// The same server, which counts under `device` its requests, its answers by the first digit
    /// of their status, and the connections that ended in an error. Call it before it serves:
    /// afterwards it changes nothing.
    #[must_use]
    pub fn counting(self, counters: &impl Counters, device: &'static str) -> Self {
        let tally = counters.tally(device, &NAMES);
        // An earlier one stays.
        let _ = self.shared.tally.set(tally);
        self
    }

    /// Accepts connections and answers their requests, each connection in a task of its own.
    ///
    /// Waits for ever, or until the listener fails. Dropping the future closes the listener and
    /// every idle connection; the others end when their current request is answered.
    pub async fn serve(
        &self,
        mut listener: impl Listener,
        handler: impl Handler,
    ) -> Result<Infallible, StackError> {
        let handler = Rc::new(handler);
        let registry = Closer(Rc::new(Registry::default()));
        loop {
            let flow = listener.accept().await?;
            registry.0.room(self.shared.limits.connections).await;
            let slot = registry.0.enter();
            let (sleep, shared, handler) =
                (self.sleep.clone(), self.shared.clone(), handler.clone());
            let task = async move { connection::run(flow, sleep, shared, slot, &*handler).await };
            self.spawn.spawn(task).detach();
        }
    }

    /// Serves one connection to its end. Waits; dropping the future closes the connection.
    pub async fn serve_flow(&self, flow: impl Flow, handler: &impl Handler) {
        let slot = Rc::new(Registry::default()).enter();
        connection::run(flow, self.sleep.clone(), self.shared.clone(), slot, handler).await;
    }
}

/// The connections of one listener.
#[derive(Default)]
struct Registry {
    places: RefCell<Vec<Rc<Place>>>,
    /// Waits for a connection to end or to become idle.
    waiter: Cell<Option<Waker>>,
}

#[derive(Default)]
struct Place {
    /// Where this is in [`Registry::places`].
    index: Cell<usize>,
    idle_since: Cell<Option<Instant>>,
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Registry {
    fn enter(self: &Rc<Self>) -> Slot {
        let place = Rc::new(Place::default());
        let mut places = self.places.borrow_mut();
        place.index.set(places.len());
        places.push(place.clone());
        Slot {
            registry: self.clone(),
            place,
        }
    }

    /// Waits until there are fewer than `most` connections, closing the one that has been idle
    /// longest: idle connections in any number keep nobody out. One that is closing already
    /// comes first, so that no second one is closed in its stead.
    async fn room(&self, most: usize) {
        poll_fn(|context| {
            if self.places.borrow().len() < most.max(1) {
                return Poll::Ready(());
            }
            self.waiter.set(Some(context.waker().clone()));
            let places = self.places.borrow();
            let idle = places
                .iter()
                .filter(|place| place.idle_since.get().is_some());
            if let Some(place) =
                idle.min_by_key(|place| (!place.closing.get(), place.idle_since.get()))
            {
                place.close();
            }
            Poll::Pending
        })
        .await;
    }

    fn changed(&self) {
        self.waiter.take().into_iter().for_each(Waker::wake);
    }
}

impl Place {
    fn close(&self) {
        self.closing.set(true);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Tells all connections to end when the server is dropped.
struct Closer(Rc<Registry>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0
            .places
            .borrow()
            .iter()
            .for_each(|place| place.close());
    }
}

/// A connection's place among the others.
pub(crate) struct Slot {
    registry: Rc<Registry>,
    place: Rc<Place>,
}

impl Slot {
    /// The connection must end at the next opportunity.
    pub fn is_closing(&self) -> bool {
        self.place.closing.get()
    }

    /// The connection waits for a request; false when it must end instead.
    pub fn idle(&self, context: &Context<'_>, now: Instant) -> bool {
        if self.is_closing() {
            return false;
        }
        let mut waker = self.place.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        drop(waker);
        if self.place.idle_since.replace(Some(now)).is_none() {
            self.registry.changed();
        }
        true
    }

    /// The connection has received something.
    pub fn busy(&self) {
        self.place.idle_since.set(None);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let index = self.place.index.get();
        let mut places = self.registry.places.borrow_mut();
        places.swap_remove(index);
        if let Some(moved) = places.get(index) {
            moved.index.set(index);
        }
        drop(places);
        self.registry.changed();
    }
}

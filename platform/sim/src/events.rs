//! What is going to happen, in the order of time, and of notice where the time is the same.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use crate::disk::DiskState;
use crate::machine::State;
use crate::network::{Frame, Port};

/// What is going to happen.
pub(crate) enum What {
    /// A frame arrives.
    Frame(Rc<Port>, Frame),
    /// A port that was full has room.
    Room(Rc<Port>),
    /// A machine's deadline, or what was one.
    Timer(Rc<State>),
    /// An operation is done.
    Block(Rc<DiskState>, u64),
    /// Something planned.
    Call(Box<dyn FnOnce()>),
}

struct Event {
    at: u64,
    order: u64,
    what: What,
}

impl Ord for Event {
    /// The heap gives the greatest first: that is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

#[derive(Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Event>,
    count: u64,
}

impl Events {
    pub fn push(&mut self, at: u64, what: What) {
        self.count += 1;
        let order = self.count;
        self.heap.push(Event { at, order, what });
    }

    /// When the next one is.
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|event| event.at)
    }

    /// The next one, when it is at this time.
    pub fn pop(&mut self, at: u64) -> Option<What> {
        if self.next()? > at {
            return None;
        }
        self.heap.pop().map(|event| event.what)
    }

    pub fn clear(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.heap)
    }
}

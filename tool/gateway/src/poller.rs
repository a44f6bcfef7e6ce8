//! Readiness of many descriptors, each known by its kind and the id of its owner.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::table::Id;

/// Most events taken at once.
const BATCH: usize = 256;

const EDGES: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);

/// Whose descriptor became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Link,
    Stop,
    /// A published port, by its place.
    Published(usize),
    /// The host's side of an established connection.
    Flow(Id),
    /// A connection that the kernel is opening.
    Dial(Id),
    /// The host's side of an exchange of datagrams.
    Datagrams(Id),
    /// A question to a name server.
    Query(Id),
}

impl Source {
    fn to_bits(self) -> u64 {
        let (kind, bits) = match self {
            Self::Link => (0, 0),
            Self::Stop => (1, 0),
            Self::Published(place) => (2, place as u64),
            Self::Flow(id) => (3, id.to_bits()),
            Self::Dial(id) => (4, id.to_bits()),
            Self::Datagrams(id) => (5, id.to_bits()),
            Self::Query(id) => (6, id.to_bits()),
        };
        kind << 56 | bits
    }

    fn from_bits(bits: u64) -> Self {
        let id = Id::from_bits(bits);
        match bits >> 56 {
            0 => Self::Link,
            1 => Self::Stop,
            2 => Self::Published((bits & 0xffff_ffff) as usize),
            3 => Self::Flow(id),
            4 => Self::Dial(id),
            5 => Self::Datagrams(id),
            _ => Self::Query(id),
        }
    }
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) source: Source,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The other side sends no more: there may be an end behind the last byte.
    pub(crate) ended: bool,
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Reports each time `fd` *becomes* readable or writable, until it is closed.
    pub(crate) fn add_edges(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::add(&self.epoll, fd, data, EDGES)?)
    }

    /// Reports each time `fd` becomes readable.
    pub(crate) fn add_input(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::add(&self.epoll, fd, data, input(false))?)
    }

    /// Begins or ceases to report when what [`Poller::add_input`] added becomes writable as well.
    pub(crate) fn watch_output(
        &self,
        fd: impl AsFd,
        source: Source,
        watch: bool,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::modify(&self.epoll, fd, data, input(watch))?)
    }

    /// Reports what [`Poller::add_edges`] added as another source from now on.
    pub(crate) fn rename_edges(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::modify(&self.epoll, fd, data, EDGES)?)
    }

    /// Reports as long as `fd` is readable, if `enabled`.
    pub(crate) fn add_level(&self, fd: impl AsFd, source: Source, enabled: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::add(&self.epoll, fd, data, level(enabled))?)
    }

    /// Begins or ceases to report what [`Poller::add_level`] added.
    pub(crate) fn enable(&self, fd: impl AsFd, source: Source, enabled: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_bits());
        Ok(epoll::modify(&self.epoll, fd, data, level(enabled))?)
    }

    /// Waits until something is ready or `timeout` has passed; for ever without one.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        ready.clear();
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            use epoll::EventFlags as Flags;
            let (flags, data) = (event.flags, event.data);
            Ready {
                source: Source::from_bits(data.u64()),
                readable: flags.intersects(Flags::IN | Flags::HUP | Flags::ERR | Flags::RDHUP),
                writable: flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR),
                ended: flags.intersects(Flags::HUP | Flags::ERR | Flags::RDHUP),
            }
        }));
        Ok(())
    }
}

fn level(enabled: bool) -> epoll::EventFlags {
    if enabled {
        epoll::EventFlags::IN
    } else {
        epoll::EventFlags::empty()
    }
}

fn input(output: bool) -> epoll::EventFlags {
    let input = epoll::EventFlags::IN | epoll::EventFlags::ET;
    if output {
        input | epoll::EventFlags::OUT
    } else {
        input
    }
}

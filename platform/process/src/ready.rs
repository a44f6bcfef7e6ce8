use core::time::Duration;

use mirage_device::platform::{MAX_DEVICES, Ready};

use crate::syscall::{EpollEvent, Fd, Timespec, epoll_wait};

const IN: u32 = 0x001;
const OUT: u32 = 0x004;
const ERROR: u32 = 0x008;
const HANG_UP: u32 = 0x010;

/// Waits on an epoll instance, for ever without a `timeout`.
pub(crate) fn wait(epoll: Fd, timeout: Option<Duration>) -> Ready {
    let timeout = timeout.map(|timeout| Timespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanos: timeout.subsec_nanos().into(),
    });
    let mut events = [EpollEvent::default(); MAX_DEVICES];
    // `wait` may return early with nothing, which is all that an error can mean here.
    let count = epoll_wait(epoll, &mut events, timeout.as_ref()).unwrap_or(0);
    let mut ready = Ready::default();
    for event in events.iter().take(count) {
        let (events, device) = (event.events, event.data);
        if device < MAX_DEVICES as u64 {
            // A device that failed is ready for everything: the next operation tells why.
            let bit = |mask| u64::from(events & (mask | ERROR | HANG_UP) != 0) << device;
            ready.input |= bit(IN);
            ready.output |= bit(OUT);
        }
    }
    ready
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn watched(device: u64) -> (OwnedFd, OwnedFd, OwnedFd) {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let epoll = epoll::create(CreateFlags::empty()).unwrap();
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&epoll, &ours, EventData::new_u64(device), flags).unwrap();
        (epoll, ours, theirs)
    }

    #[test]
    fn readiness_is_reported_once_under_the_devices_number() {
        let (epoll, _ours, theirs) = watched(5);
        let fd = epoll.as_raw_fd() as Fd;
        assert_eq!(
            wait(fd, None),
            Ready {
                input: 0,
                output: 1 << 5
            }
        );
        assert_eq!(wait(fd, Some(Duration::ZERO)), Ready::default());
        rustix::io::write(&theirs, b"x").unwrap();
        assert_eq!(wait(fd, None).input, 1 << 5);
        assert_eq!(wait(fd, Some(Duration::ZERO)), Ready::default());
        drop(theirs);
        assert_eq!(
            wait(fd, None),
            Ready {
                input: 1 << 5,
                output: 1 << 5
            }
        );
    }

    #[test]
    fn a_device_number_that_cannot_be_is_not_reported() {
        let (epoll, _ours, _theirs) = watched(63);
        assert_eq!(wait(epoll.as_raw_fd() as Fd, None), Ready::default());
    }

    #[test]
    fn a_wait_ends_with_its_time() {
        let epoll = epoll::create(CreateFlags::empty()).unwrap();
        let before = crate::now();
        wait(epoll.as_raw_fd() as Fd, Some(Duration::from_micros(1500)));
        assert!(crate::now() - before >= Duration::from_micros(1500));
    }
}

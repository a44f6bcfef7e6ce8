use core::cell::Cell;

/// Declares [`Counters`] and the cells behind it, one field each.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the stack has carried and dropped since it started.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        /// The live counters.
        #[derive(Default)]
        pub(crate) struct Tally { $(pub $name: Counter,)* }

        impl Tally {
            pub fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.0.get(),)* }
            }
        }
    };
}

counters! {
    /// Frames taken from the device.
    frames_in,
    /// Frames the device took.
    frames_out,
    /// Received frames whose headers contradict themselves or their length.
    dropped_malformed,
    /// Received packets with a wrong checksum.
    dropped_checksum,
    /// Received fragments: packets are not reassembled.
    dropped_fragment,
    /// Received frames and packets addressed to somebody else.
    dropped_not_for_us,
    /// Received frames longer than the device promised.
    dropped_too_long,
    /// SYNs beyond a listener's backlog.
    dropped_backlog,
    /// Connection attempts for which there was no memory.
    dropped_no_memory,
    /// Half-open connections given up: the peer never answered, or room was needed.
    dropped_half_open,
    /// Datagrams that found their socket's buffer full.
    dropped_udp_full,
    /// Times that datagrams were thrown away because a neighbour did not answer.
    dropped_no_neighbour,
    /// Replies that found the device full.
    dropped_device_full,
    /// Frames the device refused as too long.
    dropped_unsendable,
}

/// A counter that only goes up.
#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub fn add(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

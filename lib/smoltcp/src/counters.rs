//! What a stack counts.

macro_rules! counts {
    ($($(#[$doc:meta])* $count:ident = $name:literal,)*) => {
        /// A counter of the stack.
        #[derive(Clone, Copy)]
        pub(crate) enum Count { $($(#[$doc])* $count,)* }

        /// Their names, in the same order.
        pub(crate) const NAMES: &[&str] = &[$($name,)*];
    };
}

counts! {
    /// Frames taken from the device.
    FramesIn = "frames_received_total",
    /// Frames the device took.
    FramesOut = "frames_sent_total",
    /// Received frames whose headers contradict themselves or their length.
    DroppedMalformed = "frames_dropped_total{cause=\"malformed\"}",
    /// Received packets with a wrong checksum.
    DroppedChecksum = "frames_dropped_total{cause=\"checksum\"}",
    /// Received fragments: packets are not reassembled.
    DroppedFragment = "frames_dropped_total{cause=\"fragment\"}",
    /// Received frames and packets addressed to somebody else.
    DroppedNotForUs = "frames_dropped_total{cause=\"not_for_us\"}",
    /// Received frames longer than the device promised.
    DroppedTooLong = "frames_dropped_total{cause=\"too_long\"}",
    /// SYNs beyond a listener's backlog.
    DroppedBacklog = "connections_dropped_total{cause=\"backlog\"}",
    /// Connection attempts for which there was no memory.
    DroppedNoMemory = "connections_dropped_total{cause=\"no_memory\"}",
    /// Half-open connections given up: the peer never answered, or room was needed.
    DroppedHalfOpen = "connections_dropped_total{cause=\"half_open\"}",
    /// Datagrams that found their socket's buffer full.
    DroppedUdpFull = "datagrams_dropped_total{cause=\"full\"}",
    /// Times that datagrams were thrown away because a neighbour did not answer.
    DroppedNoNeighbour = "datagrams_dropped_total{cause=\"no_neighbour\"}",
    /// Replies that found the device full.
    DroppedDeviceFull = "frames_dropped_total{cause=\"device_full\"}",
    /// Frames the device refused as too long.
    DroppedUnsendable = "frames_dropped_total{cause=\"unsendable\"}",
    /// Connections that there are, half-open ones and those that are ending included.
    Connections = "connections",
    /// Connections that a listener has handed out.
    Accepted = "connections_accepted_total",
    /// Connections opened from here.
    Opened = "connections_opened_total",
    /// Connections that their peer has reset.
    ResetsReceived = "resets_received_total",
    /// Resets sent, also those that answer a stranger.
    ResetsSent = "resets_sent_total",
    /// Segments that carry something sent before: after a loss, or to ask whether a closed window
    /// has opened.
    Retransmitted = "segments_retransmitted_total",
}

/// The live counters.
pub(crate) struct Tally(pub mirage_device::Tally);

impl Tally {
    /// Adds one.
    pub fn add(&self, count: Count) {
        self.0.add(count as usize, 1);
    }

    /// Takes one off.
    pub fn sub(&self, count: Count) {
        self.0.sub(count as usize, 1);
    }
}

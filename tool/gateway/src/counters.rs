use core::fmt;

/// What went over the link, and what was dropped and why. Frames unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Received from the guest.
    pub received: u64,
    /// Sent to the guest.
    pub sent: u64,
    /// Dropped: not a well-formed frame, packet, segment or message.
    pub malformed: u64,
    /// Dropped: the source is not an address of the guest's network.
    pub foreign: u64,
    /// Dropped: a fragment of a packet. The link takes 64 KiB at once, nothing needs fragments.
    pub fragments: u64,
    /// Dropped: a protocol that the gateway does not carry.
    pub unsupported: u64,
    /// Refused: a destination that the guest is not allowed to reach.
    pub forbidden: u64,
    /// Dropped or refused: every flow, half-open connection or descriptor is taken.
    pub no_room: u64,
    /// Dropped: the guest does not read its frames.
    pub link_full: u64,
    /// Connections refused by the other side, or that could not be made.
    pub refused: u64,
    /// Connections carried, published and outgoing.
    pub connections: u64,
}

impl Counters {
    /// What each of [`Counters::values`] is called in a table of counters.
    pub const NAMES: [&str; 11] = [
        "frames_received_total",
        "frames_sent_total",
        "frames_dropped_total{cause=\"malformed\"}",
        "frames_dropped_total{cause=\"foreign\"}",
        "frames_dropped_total{cause=\"fragment\"}",
        "frames_dropped_total{cause=\"unsupported\"}",
        "frames_dropped_total{cause=\"link_full\"}",
        "flows_refused_total{cause=\"forbidden\"}",
        "flows_refused_total{cause=\"no_room\"}",
        "flows_refused_total{cause=\"refused\"}",
        "connections_total",
    ];

    /// The numbers, in the order of [`Counters::NAMES`].
    pub fn values(&self) -> [u64; 11] {
        [
            self.received,
            self.sent,
            self.malformed,
            self.foreign,
            self.fragments,
            self.unsupported,
            self.link_full,
            self.forbidden,
            self.no_room,
            self.refused,
            self.connections,
        ]
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames in, {} out, {} connections",
            self.received, self.sent, self.connections
        )?;
        for (count, cause) in [
            (self.malformed, "malformed"),
            (self.foreign, "from a foreign address"),
            (self.fragments, "fragments"),
            (self.unsupported, "of a protocol not carried"),
            (self.forbidden, "to a forbidden destination"),
            (self.no_room, "without room"),
            (self.link_full, "not read by the guest"),
            (self.refused, "connections refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {cause}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_causes_that_occurred_are_shown() {
        let counters = Counters {
            received: 3,
            malformed: 2,
            ..Counters::default()
        };
        assert_eq!(
            counters.to_string(),
            "3 frames in, 0 out, 0 connections, 2 malformed"
        );
    }
}

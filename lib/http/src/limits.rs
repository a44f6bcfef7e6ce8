use core::time::Duration;

/// What a peer may ask of a connection, in bytes and in time. A peer that goes beyond loses the
/// connection; nobody else notices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections that one listener serves at the same time. When one more arrives, the one
    /// that has been idle longest is closed for it; when none is idle, it waits.
    pub connections: usize,
    /// Bytes of a request line: beyond, 414.
    pub request_line: usize,
    /// Bytes of a whole head, request line and fields: beyond, 431. Of a trailer as well.
    pub head: usize,
    /// Fields of a head, at most [`Limits::MOST_FIELDS`]: beyond, 431.
    pub fields: usize,
    /// Bytes of a request's content: beyond, 413.
    pub body: u64,
    /// Time until the first byte of the next request: beyond, the connection is closed.
    pub idle: Duration,
    /// Time from the first byte of a head to its last: beyond, 408.
    pub head_time: Duration,
    /// How slow a peer may send content: beyond, 408.
    pub receive: Pace,
    /// How slow a peer may take an answer: beyond, the connection is reset.
    pub send: Pace,
    /// Time to let the peer read the last answer before the connection goes (RFC 9112 §9.6).
    pub linger: Duration,
}

impl Limits {
    /// The most that [`Limits::fields`] can be.
    pub const MOST_FIELDS: usize = 128;
}

impl Default for Limits {
    fn default() -> Self {
        let pace = Pace {
            patience: Duration::from_secs(20),
            bytes_per_second: 500,
        };
        Self {
            connections: 4096,
            request_line: 8 << 10,
            head: 16 << 10,
            fields: 100,
            body: 1 << 20,
            idle: Duration::from_secs(60),
            head_time: Duration::from_secs(10),
            receive: pace,
            send: pace,
            linger: Duration::from_secs(2),
        }
    }
}

/// The least speed of a peer: it may keep us waiting for `patience` in all, and each byte earns
/// it back its share of a second, up to `patience` again. A peer that stalls is cut off after
/// `patience`, one that drips below the speed soon after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest wait.
    pub patience: Duration,
    /// Bytes that earn back one second of waiting.
    pub bytes_per_second: u32,
}

/// How much longer a peer may keep us waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub left: Duration,
    pace: Pace,
}

impl Patience {
    pub const fn new(pace: Pace) -> Self {
        Self {
            left: pace.patience,
            pace,
        }
    }

    /// Accounts for a wait that took `waited` and brought `bytes`.
    pub fn spend(&mut self, waited: Duration, bytes: usize) {
        let rate = u64::from(self.pace.bytes_per_second.max(1));
        let earned = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate);
        let left = self.left.saturating_sub(waited).saturating_add(earned);
        self.left = left.min(self.pace.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_peer_keeps_its_patience_and_a_dripping_one_uses_it_up() {
        let pace = Pace {
            patience: Duration::from_secs(20),
            bytes_per_second: 500,
        };
        let mut steady = Patience::new(pace);
        for _ in 0..1000 {
            steady.spend(Duration::from_secs(1), 500);
        }
        assert_eq!(steady.left, Duration::from_secs(20));
        let mut dripping = Patience::new(pace);
        for _ in 0..21 {
            dripping.spend(Duration::from_secs(1), 1);
        }
        assert!(
            dripping.left < Duration::from_millis(50),
            "{:?}",
            dripping.left
        );
    }
}

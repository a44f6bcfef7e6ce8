use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on the monotonic clock: nanoseconds since an arbitrary start, the same for the whole
/// life of the unikernel. Never goes back; does not count time during which the host suspended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// The last instant there is, 584 years after the start.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Instant::MAX`].
impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Zero when the right side is later.
impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Instant {
    /// Seconds with six decimals: `12.000345`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1_000;
        write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// The monotonic clock.
pub trait Clock: Clone + 'static {
    /// The time now. Returns at once. Never less than an earlier answer of any clone. Resolution
    /// is the platform's best, at worst one millisecond. Never fails.
    fn now(&self) -> Instant;
}

/// Waiting for time to pass.
pub trait Sleep: Clock {
    /// Waits until the clock shows `deadline` or later; never returns early. A deadline in the
    /// past completes at the first poll. Any number of waits may go on together, whatever the
    /// order of their deadlines. Cancel-safe: dropping the future ends the wait, and its waker is
    /// let go.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<Self> + 'static;

    /// Waits for at least `duration`, counted from this call, not from the first poll.
    /// Cancel-safe.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<Self> + 'static {
        self.sleep_until(self.now() + duration)
    }

    /// Runs `future` for at most `duration`: `None` when the time ran out first, and then
    /// `future` has been dropped. Exactly as cancel-safe as `future`.
    async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let mut future = core::pin::pin!(future);
        let mut alarm = core::pin::pin!(self.sleep(duration));
        core::future::poll_fn(|cx| {
            use core::task::Poll;
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

/// The wall clock.
pub trait Wall: Clone + 'static {
    /// Time since 1970-01-01T00:00:00 UTC, without leap seconds, as the host tells it.
    ///
    /// Returns at once. May jump in either direction between two calls: use [`Clock`] to measure.
    /// `None` where the platform has no wall clock, and then at every call.
    fn wall(&self) -> Option<Duration>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        assert_eq!(Instant::MAX + Duration::from_secs(1), Instant::MAX);
        assert_eq!(Instant::ZERO - Instant::MAX, Duration::ZERO);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::MAX);
    }

    #[test]
    fn an_instant_is_shown_in_seconds_with_microseconds() {
        use alloc::string::ToString;
        assert_eq!(Instant::from_nanos(12_000_345_678).to_string(), "12.000345");
    }
}

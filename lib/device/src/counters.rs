pub use mirage_counters::{Counter, Sample, Tally};

use mirage_counters::Table;

/// What a unikernel counts, for whoever wants to know how it fares.
///
/// A counter belongs to a device and has a name in the manner of Prometheus,
/// `frames_received_total` or, with a label, `frames_dropped_total{cause="checksum"}`. One whose
/// name ends in `_total` before the label only goes up; any other is a gauge.
pub trait Counters: Clone + 'static {
    /// The counter of this name that `device` keeps, from zero on; the same one each time.
    ///
    /// Returns at once. Never fails: a name that is malformed, a device's of more than 32 bytes or
    /// a counter's of more than 56, and one for which there is no room any more, get a counter
    /// that counts nothing and that [`Counters::each`] does not show.
    fn counter(&self, device: &'static str, name: &'static str) -> Counter;

    /// The counters of these names that `device` keeps, each as [`Counters::counter`] has it.
    fn tally(&self, device: &'static str, names: &[&'static str]) -> Tally;

    /// Shows every counter to `visit`, in the order in which they were first asked for.
    ///
    /// Returns at once. When some found no room, how many is shown last, as
    /// `counters_refused_total` of the device `counters`.
    fn each(&self, visit: impl FnMut(Sample<'_>));
}

impl Counters for Table {
    fn counter(&self, device: &'static str, name: &'static str) -> Counter {
        self.counter(device, name)
    }

    fn tally(&self, device: &'static str, names: &[&'static str]) -> Tally {
        self.tally(device, names)
    }

    fn each(&self, visit: impl FnMut(Sample<'_>)) {
        self.each(visit);
    }
}

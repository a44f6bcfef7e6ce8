//! The contract of [`Counters`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mirage_device::{Counters, Sample, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "counters"
    "Counters" {
        _: Does "What a unikernel counts, for whoever wants to know how it fares.", because::IT_DESCRIBES;
        _: Does "A counter belongs to a device and has a name in the manner of Prometheus, `frames_received_total` or, with a label, `frames_dropped_total{cause=\"checksum\"}`.", because::IT_DESCRIBES;
        _: Does "One whose name ends in `_total` before the label only goes up; any other is a gauge.", because::IT_BINDS_CALLERS;
    }
    "Counters::counter" {
        THE_SAME: Does "The counter of this name that `device` keeps, from zero on; the same one each time.";
        AT_ONCE: Waits "Returns at once.";
        NEVER_FAILS: Errors "Never fails: a name that is malformed, a device's of more than 32 bytes or a counter's of more than 56, and one for which there is no room any more, get a counter that counts nothing and that [`Counters::each`] does not show.";
    }
    "Counters::tally" {
        TALLY: Does "The counters of these names that `device` keeps, each as [`Counters::counter`] has it.";
    }
    "Counters::each" {
        SHOWS: Does "Shows every counter to `visit`, in the order in which they were first asked for.";
        EACH_AT_ONCE: Waits "Returns at once.";
        REFUSED: Errors "When some found no room, how many is shown last, as `counters_refused_total` of the device `counters`.";
    }
}

const DEVICE: &str = "conformance";
/// As long as a device's name may be, and a counter's.
const LONGEST: (&str, &str) = (
    "conformance_of_a_device_with_32_",
    "a_name_that_has_as_many_bytes_as_a_name_may_have__56_tot",
);
const LONG: &str = "a_name_that_has_more_bytes_than_a_name_may_have_00_total_";

/// The names and values of the suite's own counters.
fn shown(counters: &impl Counters) -> Vec<(String, u64)> {
    let mut shown = Vec::new();
    counters.each(|sample| {
        if sample.device == DEVICE {
            shown.push((sample.name.into(), sample.value));
        }
    });
    shown
}

/// Checks `counters`, in which the suite leaves some counters of the device `conformance`.
pub async fn check(counters: &impl Counters, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    let clone = counters.clone();
    let one = at_once(&mut report, AT_ONCE, sleep, || {
        counters.counter(DEVICE, "one_total")
    });
    report.equal(THE_SAME, one.get(), 0);
    one.add(3);
    let again = clone.counter(DEVICE, "one_total");
    again.add(4);
    report.equal(THE_SAME, (one.get(), again.get()), (7, 7));
    let elsewhere = counters.counter("conformance2", "one_total");
    report.equal(THE_SAME, elsewhere.get(), 0);
    let gauge = counters.counter(DEVICE, "gauge");
    gauge.set(9);
    gauge.sub(2);

    let names = [
        "two_total{kind=\"a\"}",
        "one_total",
        "two_total{kind=\"b\"}",
    ];
    let tally = counters.tally(DEVICE, &names);
    tally.add(0, 5);
    tally.add(1, 1);
    report.equal(TALLY, one.get(), 8);
    let read = [0, 1, 2].map(|which| tally.get(which));
    report.equal(TALLY, read, [5, 8, 0]);

    for (device, name) in [
        (DEVICE, "Not a name"),
        (DEVICE, "a{b}"),
        (DEVICE, ""),
        (DEVICE, LONG),
        ("", "one_total"),
        ("a name of a device that is long..", "one_total"),
    ] {
        let refused = at_once(&mut report, AT_ONCE, sleep, || {
            counters.counter(device, name)
        });
        refused.add(1);
        report.equal(NEVER_FAILS, refused.get(), 0);
        let mut seen = false;
        counters.each(|sample| seen |= sample.device == device && sample.name == name);
        report.check(NEVER_FAILS, !seen, "it is not shown", (device, name));
    }

    let longest = counters.counter(LONGEST.0, LONGEST.1);
    longest.add(2);
    let mut seen = 0;
    counters.each(|sample| {
        if (sample.device, sample.name) == LONGEST {
            seen = sample.value;
        }
    });
    let expected = "a name of 56 bytes of a device's of 32 to be counted and shown";
    let read = (longest.get(), seen);
    report.check(NEVER_FAILS, read == (2, 2), expected, read);

    let expected: Vec<(String, u64)> = [
        ("one_total", 8),
        ("gauge", 7),
        ("two_total{kind=\"a\"}", 5),
        ("two_total{kind=\"b\"}", 0),
    ]
    .map(|(name, value)| (name.into(), value))
    .into();
    let seen = at_once(&mut report, EACH_AT_ONCE, sleep, || shown(counters));
    report.check(SHOWS, seen == expected, &format!("{expected:?}"), seen);
    let mut last = None;
    counters.each(
        |Sample {
             device,
             name,
             value,
         }| {
            last = Some((String::from(device), String::from(name), value));
        },
    );
    // Others may have been refused before.
    let kept = last.as_ref().is_some_and(|(device, name, value)| {
        (&**device, &**name) == ("counters", "counters_refused_total") && *value >= 6
    });
    let expected = "counters_refused_total of the device counters, six or more";
    report.check(REFUSED, kept, expected, last);
    report.complete(&CONTRACT)
}

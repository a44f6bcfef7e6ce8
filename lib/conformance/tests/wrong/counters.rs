//! Wrong counters.

use mirage_conformance::counters;
use mirage_counters::Table;
use mirage_device::{Counter, Counters, Sample, Tally};

use crate::rigs::{caught, run};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Who asks for a counter again gets another one.
    Forgets,
    /// A tally's counters are others than those asked for one by one.
    KeepsTalliesApart,
    /// What was asked for last is shown first.
    ShowsBackwards,
    /// Nobody hears of those that were refused.
    HidesTheRefused,
    /// Tells that some were refused, and not how many.
    CountsOneRefused,
    /// Has room for names of forty bytes.
    RefusesLongNames,
}

#[derive(Clone)]
struct Wrong(Table, Fault);

impl Counters for Wrong {
    fn counter(&self, device: &'static str, name: &'static str) -> Counter {
        match self.1 {
            Fault::Forgets => Table::new(None).counter(device, name),
            Fault::RefusesLongNames if name.len() > 40 => self.0.counter(device, ""),
            _ => self.0.counter(device, name),
        }
    }

    fn tally(&self, device: &'static str, names: &[&'static str]) -> Tally {
        match self.1 {
            Fault::KeepsTalliesApart => Table::new(None).tally(device, names),
            _ => self.0.tally(device, names),
        }
    }

    fn each(&self, mut visit: impl FnMut(Sample<'_>)) {
        let mut all = Vec::new();
        self.0.each(|sample| {
            all.push((
                sample.device.to_string(),
                sample.name.to_string(),
                sample.value,
            ));
        });
        if self.1 == Fault::ShowsBackwards {
            let count = all.len() - 1;
            all[..count].reverse();
        }
        if self.1 == Fault::HidesTheRefused {
            all.retain(|(device, ..)| device != "counters");
        }
        if let Some((.., value)) = all.last_mut()
            && self.1 == Fault::CountsOneRefused
        {
            *value = 1;
        }
        for (device, name, value) in &all {
            visit(Sample {
                device,
                name,
                value: *value,
            });
        }
    }
}

#[test]
fn counters_that_are_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::Forgets, counters::THE_SAME),
        (Fault::KeepsTalliesApart, counters::TALLY),
        (Fault::ShowsBackwards, counters::SHOWS),
        (Fault::HidesTheRefused, counters::REFUSED),
        (Fault::CountsOneRefused, counters::REFUSED),
        (Fault::RefusesLongNames, counters::NEVER_FAILS),
    ] {
        let wrong = Wrong(Table::new(None), fault);
        let report = run(async |s| counters::check(&wrong, &s).await);
        caught(&report, sentence);
    }
}

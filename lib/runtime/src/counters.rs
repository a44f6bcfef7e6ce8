use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Write;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

use mirage_counters::Table;
use mirage_device::{Platform, Sample, Sleep, Spawn, Tally, Task};

use crate::{Runtime, Spawner, Timer};

/// The counters of this runtime and of everybody who runs on it: the device `counters`. Returns
/// at once.
///
/// They are shown in the memory that the platform offers for it.
pub fn counters<P: Platform>(runtime: Runtime<P>) -> Table {
    runtime.0.counters.table.clone()
}

pub(crate) const POLLS: usize = 0;
pub(crate) const WAKEUPS: usize = 1;
pub(crate) const TASKS: usize = 2;
const TIMERS: usize = 3;
const NAMES: [&str; 4] = ["polls_total", "wakeups_total", "tasks", "timers"];

/// Counters of numbers that are kept elsewhere, and what brings them up to date.
type Watched = (Tally, fn(&Tally));

/// The table, and what the runtime itself counts.
pub(crate) struct Registry {
    pub(crate) table: Table,
    pub(crate) own: Tally,
    watched: RefCell<Vec<Watched>>,
}

impl Registry {
    pub(crate) fn new(memory: Option<&'static [AtomicU64]>) -> Self {
        let table = Table::new(memory);
        Self {
            own: table.tally("runtime", &NAMES),
            watched: RefCell::default(),
            table,
        }
    }

    /// Brings up to date what is not counted as it happens.
    pub(crate) fn before_wait(&self, timers: u64) {
        self.own.set(TIMERS, timers);
        for (tally, update) in self.watched.borrow().iter() {
            update(tally);
        }
    }
}

impl<P: Platform> Runtime<P> {
    /// Shows numbers that are kept elsewhere as counters of `device`: `update` sets them before
    /// each wait. Returns at once.
    pub fn watch(&self, device: &'static str, names: &[&'static str], update: fn(&Tally)) {
        let counters = &self.0.counters;
        let tally = counters.table.tally(device, names);
        counters.watched.borrow_mut().push((tally, update));
    }

    /// Starts a task that writes every counter that is not zero to the console each time that
    /// `every` has passed: the key `counters`. Returns at once; zero starts nothing.
    pub fn report_counters(&self, every: Duration) {
        if !every.is_zero() {
            Spawner::new(self.clone())
                .spawn(self.clone().report(every))
                .detach();
        }
    }

    async fn report(self, every: Duration) {
        let timer = Timer::new(self.clone());
        let mut text = String::new();
        loop {
            timer.sleep(every).await;
            text.clear();
            self.0.counters.table.each(|sample| {
                if sample.value != 0 {
                    let Sample {
                        device,
                        name,
                        value,
                    } = sample;
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "counter {device} {name} {value}");
                }
            });
            // In one piece: nothing comes between the lines.
            self.platform().console(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Simple, yield_now};
    use crate::{Block, Net};
    use alloc::format;
    use mirage_device::{Block as _, Net as _, NetError, Transmit};

    fn value(runtime: &Runtime<Simple>, device: &str, name: &str) -> u64 {
        let mut found = None;
        counters(runtime.clone()).each(|sample| {
            if (sample.device, sample.name) == (device, name) {
                found = Some(sample.value);
            }
        });
        found.unwrap_or_else(|| panic!("there is no {device} {name}"))
    }

    #[test]
    fn the_runtime_counts_its_polls_tasks_timers_and_wake_ups() {
        let runtime = Runtime::new(Simple::default());
        let (spawn, timer) = (Spawner::new(runtime.clone()), Timer::new(runtime.clone()));
        let count = |name| value(&runtime, "runtime", name);
        runtime.block_on(async {
            let sleep = timer.sleep(Duration::from_secs(5));
            let sleeper = spawn.spawn(sleep);
            let other = spawn.spawn(timer.sleep(Duration::from_secs(9)));
            timer.sleep(Duration::from_secs(1)).await;
            assert_eq!((count("tasks"), count("timers")), (2, 3));
            assert_eq!((count("polls_total"), count("wakeups_total")), (4, 1));
            drop(other);
            sleeper.await;
            assert_eq!((count("tasks"), count("wakeups_total")), (0, 2));
            yield_now().await;
            spawn.spawn(async {}).detach();
            assert_eq!(count("tasks"), 1);
            yield_now().await;
            assert_eq!(count("tasks"), 0);
        });
    }

    #[test]
    fn devices_count_what_passes_and_what_does_not() {
        let runtime = Runtime::new(Simple::default());
        *runtime.platform().disk.borrow_mut() = alloc::vec![0; 4096];
        let net = Net::new(runtime.clone(), "net").unwrap();
        let disk = Block::new(runtime.clone(), "disk").unwrap();
        net.send(&[0; 60], Transmit::default()).unwrap();
        net.send(&[0; 100], Transmit::default()).unwrap();
        let mut buffer = [0; 64];
        net.receive(&mut buffer).unwrap();
        assert_eq!(net.receive(&mut buffer), Err(NetError::TooLong));
        runtime.block_on(async {
            disk.write(0, &[&[1; 512], &[2; 512]]).await.unwrap();
            disk.read(0, &mut [&mut [0; 512]]).await.unwrap();
            disk.flush().await.unwrap();
            disk.write(7, &[&[0]]).await.unwrap_err();
        });
        for (device, name, expected) in [
            ("net", "frames_sent_total", 2),
            ("net", "bytes_sent_total", 160),
            ("net", "frames_received_total", 1),
            ("net", "bytes_received_total", 60),
            ("net", "frames_dropped_total{cause=\"too_long\"}", 1),
            ("disk", "operations_total{kind=\"write\"}", 1),
            ("disk", "bytes_written_total", 1024),
            ("disk", "bytes_read_total", 512),
            ("disk", "operations_total{kind=\"flush\"}", 1),
            ("disk", "errors_total", 0),
        ] {
            assert_eq!(value(&runtime, device, name), expected, "{device} {name}");
        }
    }

    #[test]
    fn the_counters_that_are_not_zero_are_written_to_the_console_every_so_often() {
        let runtime = Runtime::new(Simple::default());
        let table = counters(runtime.clone());
        table.counter("app", "never_total");
        table.counter("app", "things_total").add(3);
        runtime.watch("app", &["watched"], |tally| tally.set(0, 17));
        let timer = Timer::new(runtime.clone());
        runtime.block_on(async {
            runtime.report_counters(Duration::ZERO);
            runtime.report_counters(Duration::from_secs(10));
            timer.sleep(Duration::from_secs(25)).await;
        });
        let console = runtime.platform().console.borrow();
        let pieces: Vec<_> = console
            .iter()
            .map(|piece| core::str::from_utf8(piece).unwrap())
            .collect();
        let expected = |wakeups: u64, polls: u64| {
            format!(
                "counter runtime polls_total {polls}\ncounter runtime wakeups_total {wakeups}\n\
                 counter runtime tasks 1\ncounter runtime timers 2\n\
                 counter app things_total 3\ncounter app watched 17\n"
            )
        };
        assert_eq!(pieces, [expected(1, 3), expected(2, 4)]);
    }
}

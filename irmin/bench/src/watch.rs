//! From before a commit to the callbacks that it causes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Result;
use irmin::{Format, Memory, Path, Repo};

use crate::input::info;
use crate::measure::{Bar, Bench};

const WATCHERS: usize = 10_000;

/// Ten thousand watchers of one branch are told, while one more is stalled.
pub fn measure(bench: &Bench) -> Result<()> {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main")?;
    let origin = Instant::now();
    let told: Arc<Vec<AtomicU64>> = Arc::new((0..WATCHERS).map(|_| AtomicU64::new(0)).collect());
    let (_release, stalled) = mpsc::channel::<()>();
    let _stalled = main.watch(Path::default())?.on_event(move |_| {
        let _ = stalled.recv();
    });
    let _callbacks = (0..WATCHERS)
        .map(|n| {
            let told = told.clone();
            let watch = main.watch(Path::default())?;
            Ok(watch.on_event(move |_| {
                told[n].store(origin.elapsed().as_nanos() as u64, Ordering::Release);
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let commits = bench.size(50, 10);
    let mut done = 0;
    let mut percentile = |percent: usize| -> Result<f64> {
        let mut times = Vec::with_capacity(commits * WATCHERS);
        for _ in 0..commits {
            told.iter()
                .for_each(|time| time.store(0, Ordering::Release));
            done += 1;
            let started = origin.elapsed();
            main.change(&info(done), |edit| edit.set("x", done.to_string()))?;
            while told.iter().any(|time| time.load(Ordering::Acquire) == 0) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let after = |time: &AtomicU64| {
                Duration::from_nanos(time.load(Ordering::Acquire)).saturating_sub(started)
            };
            times.extend(told.iter().map(after));
        }
        times.sort_unstable();
        Ok(times[times.len() * percent / 100].as_secs_f64() * 1e3)
    };
    let name = "commit to callback, 10,000 watchers, one stalled";
    bench.alone(&format!("{name}, p99"), "ms", Bar::AtMost(1.0), || {
        percentile(99)
    })?;
    bench.alone(&format!("{name}, p50"), "ms", None, || percentile(50))
}

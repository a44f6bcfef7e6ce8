//! Rounds that alternate between ours and the peer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How it is measured.
pub struct Bench {
    /// Small inputs.
    pub quick: bool,
    /// Rounds of each side.
    pub rounds: usize,
    /// Where inputs that take long to make are kept.
    pub cache: PathBuf,
    /// The command `irmin`.
    pub irmin: PathBuf,
    /// What is cloned, if not what is made for it.
    pub repository: Option<PathBuf>,
    /// Our side alone, so long.
    pub ours: Option<Duration>,
}

/// What a row must reach.
#[derive(Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

impl Bench {
    /// `full`, or `quick` where little is measured.
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A folder on the disk, removed with its handle.
    pub fn disk(&self) -> Result<TempDir> {
        tempfile::tempdir_in(&self.cache).context("no folder for what is measured")
    }

    /// A folder in memory.
    pub fn memory(&self) -> Result<TempDir> {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            return Ok(tempfile::tempdir_in(shared)?);
        }
        Ok(tempfile::tempdir()?)
    }

    /// What `make` puts into a folder, made once and kept.
    pub fn kept(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.cache.join(name);
        if !place.exists() {
            eprintln!("  making {name}, which is kept");
            let folder = self.disk()?;
            make(folder.path())?;
            std::fs::rename(folder.keep(), &place)?;
        }
        Ok(place)
    }

    /// Measures both sides in turns and prints the row. Both begin once without being counted.
    pub fn row(
        &self,
        name: &str,
        unit: &str,
        bar: impl Into<Option<Bar>>,
        ours: impl FnMut() -> Result<f64>,
        peer: (&str, &mut dyn FnMut() -> Result<f64>),
    ) -> Result<()> {
        self.measure(name, unit, bar.into(), ours, Some(peer))
    }

    /// The same without a peer.
    pub fn alone(
        &self,
        name: &str,
        unit: &str,
        bar: impl Into<Option<Bar>>,
        ours: impl FnMut() -> Result<f64>,
    ) -> Result<()> {
        self.measure(name, unit, bar.into(), ours, None)
    }

    fn measure(
        &self,
        name: &str,
        unit: &str,
        bar: Option<Bar>,
        mut ours: impl FnMut() -> Result<f64>,
        mut peer: Option<(&str, &mut dyn FnMut() -> Result<f64>)>,
    ) -> Result<()> {
        let (mut our_values, mut peer_values) = (Vec::new(), Vec::new());
        ours()?;
        if let Some(time) = self.ours {
            let begun = Instant::now();
            while begun.elapsed() < time {
                our_values.push(ours()?);
            }
        } else {
            if let Some((_, peer)) = &mut peer {
                peer()?;
            }
            for _ in 0..self.rounds {
                our_values.push(ours()?);
                if let Some((_, peer)) = &mut peer {
                    peer_values.push(peer()?);
                }
            }
        }
        let peer = peer.map(|(name, _)| (name, peer_values));
        print(name, unit, bar, &our_values, peer);
        Ok(())
    }
}

/// Prints one row.
pub fn print(
    name: &str,
    unit: &str,
    bar: Option<Bar>,
    ours: &[f64],
    peer: Option<(&str, Vec<f64>)>,
) {
    let bar = match bar {
        None => Value::Null,
        Some(Bar::AtMost(value)) => json!({ "at_most": value }),
        Some(Bar::AtLeast(value)) => json!({ "at_least": value }),
        Some(Bar::RatioAtMost(value)) => json!({ "ratio_at_most": value }),
        Some(Bar::RatioAtLeast(value)) => json!({ "ratio_at_least": value }),
    };
    let peer = peer.map(|(name, values)| json!({ "name": name, "values": values }));
    let row = json!({ "name": name, "unit": unit, "bar": bar, "ours": ours, "peer": peer });
    println!("{row}");
}

/// How often a second `step` is done, of so many times.
pub fn rate(steps: usize, mut step: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    (0..steps).try_for_each(&mut step)?;
    Ok(steps as f64 / begun.elapsed().as_secs_f64())
}

/// Milliseconds that it takes.
pub fn milliseconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

//! Random reads of a warm store beside redb.

use std::time::Instant;

use anyhow::{Context, Result};
use irmin::{Format, Repo};
use irmin_pack::{Files, Pack};

use crate::input::{Shape, filled, scattered};
use crate::measure::{Bar, Bench};
use crate::table::Table;

/// All rows. Both sides may keep everything in memory: redb's cache is 1 GiB unless set.
pub fn measure(bench: &Bench) -> Result<()> {
    let keys = bench.size(1_000_000, 100_000);
    let reads = bench.size(200_000, 50_000);
    for shape in [Shape::Flat, Shape::Cube] {
        let folder = bench.disk()?;
        let pack = Pack::create(Files::open(folder.path().join("pack"))?, Format::Native)?;
        let repo = Repo::with_cache(pack, 1 << 30);
        let tree = filled(&repo, shape, keys)?.tree()?;
        let table = Table::new(&folder.path().join("redb"), shape, keys)?;
        let names: Vec<String> = (0..reads).map(|n| shape.key(scattered(n, keys))).collect();
        let per_second = |begun: Instant| reads as f64 / begun.elapsed().as_secs_f64();
        bench.row(
            &format!("random reads, pack, {}, warm", shape.shown(keys)),
            "reads/s",
            Bar::RatioAtLeast(0.7),
            || {
                let begun = Instant::now();
                for name in &names {
                    std::hint::black_box(tree.get(name)?.context("a key is lost")?);
                }
                Ok(per_second(begun))
            },
            ("redb", &mut || {
                let begun = Instant::now();
                table.read(&names)?;
                Ok(per_second(begun))
            }),
        )?;
    }
    Ok(())
}

//! What a hundred thousand commits of one edit take on the disk.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use irmin::{Backend, Format, Repo};
use irmin_pack::{Files, Pack};

use crate::child::{git, output};
use crate::commits::edit;
use crate::input::{Shape, count, filled, imported, scattered, value};
use crate::measure::{Bar, Bench, print};

/// Measured once: the same content takes the same room.
pub fn measure(bench: &Bench) -> Result<()> {
    let commits = bench.size(100_000, 5_000);
    let (keys, shape) = (10_000, Shape::Square);
    let theirs = bench.kept(&format!("space-{commits}"), |folder| {
        imported(folder, |out| {
            // What `filled` and `edit` do.
            let mut write = |commit: usize, keys: &mut dyn Iterator<Item = (usize, usize)>| {
                let at = 1_429_538_400 + commit;
                let who = format!("Ada <ada@example.org> {at} +0000");
                write!(
                    out,
                    "commit refs/heads/main\ncommitter {who}\ndata 5\nEdit\n\n"
                )?;
                for (key, n) in keys {
                    let text = value(n);
                    let key = shape.key(key);
                    write!(out, "M 100644 inline {key}\ndata {}\n{text}\n", text.len())?;
                }
                std::io::Result::Ok(())
            };
            write(0, &mut (0..keys).map(|n| (n, n)))?;
            (0..commits)
                .try_for_each(|n| write(n, &mut std::iter::once((scattered(n, keys), keys + n))))
        })?;
        output(&mut git(folder, &["gc", "--quiet", "--prune=now"])).map(drop)
    })?;
    let folder = bench.disk()?;
    let at = folder.path().join("pack");
    let pack = Arc::new(Pack::create(Files::open(&at)?, Format::Native)?);
    let repo = Repo::new(pack.clone());
    let main = filled(&repo, shape, keys)?;
    (0..commits).try_for_each(|n| edit(&main, shape, keys, n))?;
    // Two in a row drop all that is not reachable.
    for _ in 0..2 {
        pack.collect()?;
    }
    pack.flush()?;
    drop((main, repo, pack));
    let name = format!(
        "space, {} one-edit commits, {}, collected",
        count(commits),
        shape.shown(keys)
    );
    print(
        &name,
        "MB",
        Some(Bar::RatioAtMost(2.0)),
        &[megabytes(&at)?],
        Some(("git gc", vec![megabytes(&theirs.join("objects"))?])),
    );
    Ok(())
}

/// The sum of the files in a folder and below it.
fn megabytes(folder: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += match found.is_dir() {
            true => megabytes(&entry.path())?,
            false => found.len() as f64 / 1e6,
        };
    }
    Ok(sum)
}

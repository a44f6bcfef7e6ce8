//! What a hundred thousand commits of one edit take on the disk.

use std::path::Path;

use anyhow::Result;
use irmin::{Backend, Format, Repo, references};
use irmin_git::{Durability, Git, Options};
use irmin_pack::{Files, Pack};
use std::sync::Arc;

use crate::child::{git, output};
use crate::commits::edit;
use crate::input::{Shape, count, filled};
use crate::measure::{Bar, Bench, print};

/// Measured once: the same content takes the same room.
pub fn measure(bench: &Bench) -> Result<()> {
    let commits = bench.size(100_000, 5_000);
    let (keys, shape) = (10_000, Shape::Square);
    let theirs = bench.kept(&format!("space-{commits}"), |folder| {
        drop(Git::init(folder, Format::GitSha1, true)?);
        let durability = Durability::Relaxed;
        let store = Git::open_with(
            folder,
            &Options {
                durability,
                ..Options::default()
            },
        )?;
        let repo = Repo::new(store);
        let main = filled(&repo, shape, keys)?;
        (0..commits).try_for_each(|n| edit(&main, shape, keys, n))?;
        repo.flush()?;
        drop((main, repo));
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
        pack.collect(&mut |object, into| references(Format::Native, object, &|_| false, into))?;
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

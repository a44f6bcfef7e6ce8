//! Clones a repository as `git clone --bare` does, and tells what it cost:
//! `cargo run --release -p irmin-sync --example sync_bench -- URL FOLDER [MiB of cache]`.

use std::error::Error;
use std::time::Instant;

use irmin_git::Git;
use irmin_sync::transport::{Program, Settings};
use irmin_sync::{CloneOptions, Progress, Remote};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("give a URL (or `program:PATH` for git's own server) and a new folder".into());
    };
    let mut store = irmin_git::Options::default();
    if let Some(mebibytes) = arguments.next() {
        store.cache = mebibytes.parse::<usize>()? << 20;
    }
    let settings = Settings::from_env();
    let mut remote = match url.strip_prefix("program:") {
        Some(path) => Remote::over(Program::git(path, &settings)),
        None => Remote::at(&url, &settings)?,
    };
    let begun = Instant::now();
    let mut taken = None;
    let mut progress = |progress: Progress<'_>| {
        if matches!(progress, Progress::Objects(_)) {
            taken.get_or_insert_with(|| begun.elapsed());
        }
    };
    let options = CloneOptions {
        progress: Some(&mut progress),
        ..CloneOptions::default()
    };
    let init = |format| {
        drop(Git::init(&folder, format, true)?);
        Git::open_with(&folder, &store)
    };
    let cloned = remote.clone_to(init, options)?;
    let all = begun.elapsed();
    println!(
        "{:?}: pack {:.2?}, with the check {all:.2?}",
        cloned.fetched.taken,
        taken.unwrap_or(all)
    );
    Ok(())
}

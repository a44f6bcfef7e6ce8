//! `irmin clone`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use irmin::{BackendError, Format};
use irmin_git::Git;
use irmin_pack::{Files, Pack};
use irmin_packfile::PackStore;
use irmin_sync::transport::Calls;
use irmin_sync::{CloneOptions, Depth, Refspec, Tags};
use serde_json::json;

use super::{address, at};
use crate::cli;
use crate::config::{self, Config};
use crate::failure::{Failure, Result};
use crate::output::{Output, put};
use crate::place::{make_in, shown};
use crate::progress::{Progress, Transfer};

/// `irmin clone`.
pub fn clone(clone: &cli::Clone, out: &mut Output) -> Result<u8> {
    let folder = match &clone.folder {
        Some(folder) => folder.clone(),
        None => named_after(&clone.url)?,
    };
    make_in(&folder, || into(clone, &folder, out))
}

fn into(clone: &cli::Clone, folder: &Path, out: &mut Output) -> Result<u8> {
    let url = address(&clone.url);
    // Only the user's own configuration: there is no repository yet.
    let config = Config::read(Path::new(""))?;
    let calls = Calls {
        upload_pack: clone.upload_pack.clone(),
        receive_pack: None,
    };
    let mut remote = at(&url, &calls, &config)?;
    let refspecs = match (clone.mirror, clone.bare) {
        (true, _) => vec![Refspec::mirror()],
        (_, true) => vec!["refs/heads/*:refs/heads/*".parse()?],
        _ => vec![Refspec::tracking("origin")?],
    };
    // As in Git, who wants little history wants it of one branch.
    let is_single = clone.single_branch || clone.depth.is_some() && !clone.mirror;
    let transfer = Transfer::new();
    let mut progress = |progress: irmin_sync::Progress<'_>| transfer.show(progress);
    let options = CloneOptions {
        refspecs,
        branch: clone.branch.clone(),
        single_branch: is_single,
        tags: match (clone.no_tags, is_single) {
            (true, _) => Tags::No,
            (_, true) => Tags::Follow,
            _ => Tags::All,
        },
        depth: clone.depth.map_or(Depth::AsIs, Depth::At),
        progress: Some(&mut progress),
        ..CloneOptions::default()
    };
    let mut is_git = false;
    let make = |format: Format| {
        is_git = format.is_git();
        make(folder, format)
    };
    let made = remote.clone_to(make, options)?;
    drop(transfer);
    if is_git {
        // Questions about history cost a fraction with it. What came is whole without it, too.
        let progress = Progress::new("indexing commits", None);
        let mut show = |done| progress.set(done);
        let _ = open(folder).and_then(|git| git.write_commit_graph(&mut show));
    }
    let mut lines = vec![("url", url)];
    lines.extend(calls.upload_pack.map(|call| ("uploadpack", call)));
    if clone.mirror {
        lines.push(("mirror", "true".into()));
    }
    if !clone.bare {
        lines.extend(made.refspecs.iter().map(|spec| ("fetch", spec.to_string())));
    }
    config::append(folder, "remote", "origin", &lines)?;
    if let Some(branch) = made.branch.filter(|_| !clone.bare && !clone.mirror) {
        let lines = [("remote", "origin".into()), ("merge", branch.to_string())];
        config::append(folder, "branch", branch.short(), &lines)?;
    }
    let shown_folder = fs::canonicalize(folder).unwrap_or(folder.into());
    match out.json {
        true => {
            let objects = made.fetched.taken.map_or(0, |taken| taken.objects);
            let mut value = json!({ "objects": objects });
            put(
                &mut value,
                "repository",
                shown_folder.as_os_str().as_bytes(),
            );
            out.value(&value)?;
        }
        false => out.line(format_args!("cloned into {}", shown(&shown_folder)))?,
    }
    Ok(0)
}

/// A bare repository of the other side's format.
fn make(folder: &Path, format: Format) -> std::result::Result<Arc<dyn PackStore>, BackendError> {
    Ok(match format {
        Format::Native => Arc::new(Pack::create(Files::open(folder)?, format)?),
        _ => {
            drop(Git::init(folder, format, true)?);
            Arc::new(open(folder)?)
        }
    })
}

/// The repository that was made. What comes is read once or twice: there is little to keep in memory.
fn open(folder: &Path) -> std::result::Result<Git, BackendError> {
    let options = irmin_git::Options {
        cache: 4 << 20,
        ..irmin_git::Options::default()
    };
    Git::open_with(folder, &options)
}

/// What `git clone --bare` would call it.
fn named_after(url: &str) -> Result<PathBuf> {
    let end = url.trim_end_matches('/');
    let end = end
        .strip_suffix("/.git")
        .or(end.strip_suffix("/.irmin"))
        .unwrap_or(end);
    let name = end.rsplit(['/', ':']).next().unwrap_or_default();
    let name = name.strip_suffix(".git").unwrap_or(name);
    if name.is_empty() || name.starts_with('.') {
        return Err(Failure::usage(
            format!("{url} does not say what the folder is to be called"),
            "irmin clone URL FOLDER",
        ));
    }
    Ok(format!("{name}.git").into())
}

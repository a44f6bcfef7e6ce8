//! `irmin fetch`, `pull`.

use irmin_sync::transport::Calls;
use irmin_sync::{Depth, FetchOptions, Fetched, Progress, RefStatus, Refspec, Tags};

use super::fetch_head::{FetchHead, Merged, shortened};
use super::{Known, at, here, refspec, refspec_of_names, tell};
use crate::cli::{self, HowMuch};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Transfer;
use crate::{merge, write};

/// `irmin fetch`.
pub fn fetch(place: &Place, fetch: &cli::Fetch, out: &mut Output) -> Result<u8> {
    let (config, branch) = here(place)?;
    let usual = Known::usual(&config, &branch);
    let names: Vec<String> = match (&fetch.remote, fetch.all) {
        (Some(remote), _) => vec![remote.clone()],
        (None, true) => config.subsections("remote"),
        (None, false) => vec![usual.into()],
    };
    let head = FetchHead::begin(place)?;
    let mut code = 0;
    for name in names {
        let known = Known::find(place, &config, &name)?;
        let merged = Known::merged(&config, &branch).filter(|_| name == usual);
        let asked = match (&fetch.refspecs[..], &known.fetch[..], merged) {
            ([], [], _) => Asked {
                refspecs: vec!["HEAD".parse()?],
                tracking: Vec::new(),
                merged: Merged::All,
            },
            ([], [first, ..], merged) => Asked {
                refspecs: known.fetch.clone(),
                tracking: Vec::new(),
                merged: match merged {
                    Some(name) => Merged::Name(name.into()),
                    None if first.is_pattern() => Merged::Nothing,
                    None => Merged::First,
                },
            },
            (given, _, _) => Asked {
                refspecs: given
                    .iter()
                    .map(|spec| refspec_of_names(spec))
                    .collect::<Result<_>>()?,
                tracking: known.fetch.clone(),
                merged: Merged::All,
            },
        };
        let fetched = from(place, &config, &known, asked, &fetch.how_much, &head)?;
        code = code.max(moves(&fetched, out)?);
    }
    Ok(code)
}

/// What a fetch is to bring.
struct Asked {
    refspecs: Vec<Refspec>,
    /// Names of ours that follow what comes do so with these.
    tracking: Vec<Refspec>,
    /// What of it is meant to be merged.
    merged: Merged,
}

/// One fetch.
fn from(
    place: &Place,
    config: &Config,
    known: &Known,
    asked: Asked,
    how_much: &HowMuch,
    head: &FetchHead,
) -> Result<Fetched> {
    let transfer = Transfer::new();
    let mut progress = |progress: Progress<'_>| transfer.show(progress);
    let options = FetchOptions {
        tracking: asked.tracking,
        tags: match (how_much.tags, how_much.no_tags) {
            (true, _) => Tags::All,
            (_, true) => Tags::No,
            _ => Tags::Follow,
        },
        prune: how_much.prune,
        depth: match (how_much.depth, how_much.deepen, how_much.unshallow) {
            (Some(depth), _, _) => Depth::At(depth),
            (_, Some(more), _) => Depth::More(more),
            (_, _, true) => Depth::Whole,
            _ => Depth::AsIs,
        },
        progress: Some(&mut progress),
        ..FetchOptions::new(asked.refspecs)
    };
    let calls = Calls {
        upload_pack: how_much
            .upload_pack
            .clone()
            .or(known.calls.upload_pack.clone()),
        ..Calls::default()
    };
    let fetched = at(&known.url, &calls, config)?.fetch(&*place.store, options)?;
    place.repo.flush()?;
    head.add(place, &fetched, &known.written, &asked.merged)?;
    Ok(fetched)
}

/// Tells what became of names of ours.
fn moves(fetched: &Fetched, out: &mut Output) -> Result<u8> {
    let mut code = 0;
    for one in &fetched.moves {
        let (what, why) = match one.status {
            RefStatus::UpToDate => continue,
            RefStatus::Made => ("made", None),
            RefStatus::Forwards => ("forwards", None),
            RefStatus::Forced => ("forced", None),
            RefStatus::Pruned => ("pruned", None),
            RefStatus::NotForwards => (
                "stays",
                Some("it would lose commits; + before the refspec allows that"),
            ),
            RefStatus::TagStays => ("stays", Some("it is a tag; + before the refspec moves it")),
        };
        code |= u8::from(one.status.is_refused());
        tell(out, what, &one.name, (one.old, one.new), why)?;
    }
    Ok(code)
}

/// `irmin pull`.
pub fn pull(place: &Place, pull: &cli::Pull, out: &mut Output) -> Result<u8> {
    let (config, _) = here(place)?;
    let branch = write::branch(place, pull.branch.as_deref())?;
    let usual = Known::usual(&config, branch.name());
    let known = Known::find(place, &config, pull.remote.as_deref().unwrap_or(usual))?;
    let theirs = match (&pull.theirs, Known::merged(&config, branch.name())) {
        (Some(theirs), _) => theirs.clone(),
        (None, Some(theirs)) if known.name == usual => theirs.into(),
        _ => branch.name().to_string(),
    };
    let asked = match &pull.theirs {
        Some(theirs) => Asked {
            refspecs: vec![refspec(theirs)?],
            tracking: known.fetch.clone(),
            merged: Merged::All,
        },
        None => {
            let mut refspecs = known.fetch.clone();
            if !refspecs.iter().any(|spec| spec.fits(&theirs).is_some()) {
                refspecs.push(refspec(&theirs)?);
            }
            Asked {
                refspecs,
                tracking: Vec::new(),
                merged: Merged::Name(theirs.clone()),
            }
        }
    };
    let head = FetchHead::begin(place)?;
    let fetched = from(place, &config, &known, asked, &pull.how_much, &head)?;
    let mut code = moves(&fetched, out)?;
    let is_meant = |name: &str| {
        name == theirs
            || ["refs/heads/", "refs/tags/", "refs/"].iter().any(|prefix| {
                name.strip_prefix(prefix)
                    .is_some_and(|short| short == theirs)
            })
    };
    let mut asked_for = fetched.heads.iter().filter(|one| one.was_asked_for);
    let head = asked_for.find(|one| match &one.name {
        Some(name) => is_meant(name.as_str()),
        None => one.id.to_string() == theirs,
    });
    let Some(id) = head.map(|one| one.id) else {
        return Err(Failure::no(
            format!("the other side has no {theirs}"),
            "name another branch: irmin pull REMOTE BRANCH",
        ));
    };
    let commit = place.repo.resolve(&id.to_string())?;
    if branch.head()?.is_none() {
        branch.compare_and_set(None, Some(&commit))?;
        return Ok(code.max(write::done(place, &branch, &commit, out)?));
    }
    let short = theirs.strip_prefix("refs/heads/").unwrap_or(&theirs);
    let message = format!("Merge branch '{short}' of {}", shortened(&known.written));
    let merged = cli::Merge {
        names: Vec::new(),
        dry_run: false,
        branch: pull.branch.clone(),
        says: cli::Says {
            message: Some(pull.says.message.clone().unwrap_or(message)),
            author: pull.says.author.clone(),
        },
    };
    code = code.max(merge::into_branch(place, &merged, &id.to_string(), out)?);
    Ok(code)
}

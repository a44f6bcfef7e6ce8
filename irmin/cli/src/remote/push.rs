//! `irmin push`.

use irmin::{Id, RefName};
use irmin_sync::transport::Calls;
use irmin_sync::{Progress, PushOptions, PushStatus, Pushed, Refspec};

use super::{Known, at, expanded, here, refspec, tell};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Transfer;
use crate::{cli, config};

/// `irmin push`.
pub fn push(place: &Place, push: &cli::Push, out: &mut Output) -> Result<u8> {
    let (config, branch) = here(place)?;
    let (usual, theirs) = Known::pushed(&config, &branch);
    let known = Known::find(place, &config, push.remote.as_deref().unwrap_or(usual))?;
    let calls = Calls {
        receive_pack: push
            .receive_pack
            .clone()
            .or(known.calls.receive_pack.clone()),
        ..known.calls.clone()
    };
    let mut remote = at(&known.push_url, &calls, &config)?;
    let mut refspecs: Vec<Refspec> = Vec::new();
    for typed in &push.refspecs {
        let spec = match push.delete {
            true => format!(":{typed}"),
            false => typed.clone(),
        };
        refspecs.push(refspec(&spec)?);
    }
    if push.all {
        refspecs.push("refs/heads/*:refs/heads/*".parse()?);
    }
    if push.tags {
        refspecs.push("refs/tags/*:refs/tags/*".parse()?);
    }
    if push.mirror || known.is_mirror && refspecs.is_empty() {
        refspecs.push(Refspec::mirror());
        for there in remote.ls(&["refs/"])?.names {
            let is_kept = place.repo.backend().head(&there.name)?.is_some();
            // What such a name stands for has a name of its own.
            if !is_kept && there.stands_for.is_none() && there.name.as_str().starts_with("refs/") {
                refspecs.push(format!(":{}", there.name).parse()?);
            }
        }
    }
    if refspecs.is_empty() {
        let theirs = match known.name == usual {
            true => theirs,
            false => branch.to_string(),
        };
        refspecs.push(format!("{branch}:{theirs}").parse()?);
    }
    for spec in &mut refspecs {
        if !spec.is_pattern() && !spec.negative {
            spec.source = sent(place, &spec.source)?;
        }
    }
    if push.force {
        refspecs.iter_mut().for_each(|spec| spec.force = true);
    }
    let leases = leases(place, push, &known, &refspecs)?;
    let transfer = Transfer::new();
    let mut progress = |progress: Progress<'_>| transfer.show(progress);
    let pushed = remote.push(
        &*place.store,
        PushOptions {
            refspecs,
            leases,
            atomic: push.atomic,
            tracking: known.fetch.clone(),
            progress: Some(&mut progress),
        },
    )?;
    drop(transfer);
    if push.set_upstream {
        set_upstream(place, &known, &pushed)?;
    }
    let mut code = 0;
    for one in &pushed.names {
        let (what, why) = match &one.status {
            PushStatus::UpToDate => continue,
            PushStatus::Done => match (one.old, one.new) {
                (None, _) => ("made", None),
                (_, None) => ("deleted", None),
                _ => ("moved", None),
            },
            PushStatus::NotForwards => (
                "refused",
                Some("it would lose commits; pull first, or push with --force-with-lease"),
            ),
            PushStatus::TagStays => ("refused", Some("it is a tag; --force moves it")),
            PushStatus::Stale => (
                "refused",
                Some("it is not where it was fetched; fetch again"),
            ),
            PushStatus::NotTried => ("refused", Some("all names were to move, or none")),
            PushStatus::Rejected(why) => ("refused", Some(&why[..])),
        };
        code |= u8::from(one.status.is_refused());
        tell(out, what, &one.name, (one.old, one.new), why)?;
    }
    place.repo.flush()?;
    Ok(code)
}

/// What is sent under this name: what is no name of ours goes by its id.
fn sent(place: &Place, source: &str) -> Result<String> {
    let source = expanded(place, source)?;
    if let Some(commit) = source.strip_suffix("^{tree}") {
        return Ok(place.repo.resolve(commit)?.tree().id().to_string());
    }
    Ok(match source.contains(['~', '^']) {
        true => place.repo.resolve(&source)?.id().to_string(),
        false => source.into(),
    })
}

/// Has pulls and pushes of branches that are there now know where.
fn set_upstream(place: &Place, known: &Known, pushed: &Pushed) -> Result<()> {
    for one in &pushed.names {
        let Some(branch) = &one.source else { continue };
        let are_branches = [branch, &one.name].map(|name| name.as_str().starts_with("refs/heads/"));
        if one.new.is_some() && !one.status.is_refused() && are_branches == [true; 2] {
            let lines = [("remote", &known.name[..]), ("merge", one.name.as_str())];
            config::set(&place.folder, "branch", branch.short(), &lines)?;
        }
    }
    Ok(())
}

/// What `--force-with-lease` says of names of theirs.
fn leases(
    place: &Place,
    push: &cli::Push,
    known: &Known,
    refspecs: &[Refspec],
) -> Result<Vec<(RefName, Option<Id>)>> {
    let full = |name: &str| match name.starts_with("refs/") {
        true => RefName::new(name),
        false => RefName::branch(name),
    };
    let followed = |name: &RefName| -> Result<Option<Id>> {
        match known.tracking(name.as_str()) {
            Some(ours) => Ok(place.repo.backend().head(&ours)?),
            None => Err(Failure::usage(
                format!("nothing here tells where {name} was on the other side"),
                "say where it is to be: --force-with-lease=NAME:ID",
            )),
        }
    };
    let mut leases = Vec::new();
    for lease in &push.force_with_lease {
        match lease.split_once(':') {
            Some((name, "")) => leases.push((full(name)?, None)),
            Some((name, id)) => {
                leases.push((full(name)?, Some(place.repo.resolve(id)?.id())));
            }
            None if lease.is_empty() => {
                for spec in refspecs.iter().filter(|spec| !spec.is_pattern()) {
                    let name = full(spec.target.as_deref().unwrap_or(&spec.source))?;
                    leases.push((name.clone(), followed(&name)?));
                }
            }
            None => leases.push((full(lease)?, followed(&full(lease)?)?)),
        }
    }
    Ok(leases)
}

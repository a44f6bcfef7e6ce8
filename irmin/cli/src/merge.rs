//! `irmin merge`.

use std::collections::BTreeSet;

use irmin::merge::{Conflict, FollowRenames, MergeError, Three, Why, files_as_git};
use irmin::{Commit, CommitError, RefName, UpdateError};
use serde_json::json;

use crate::cli::Merge;
use crate::failure::{Failure, Result};
use crate::output::{Output, harmless, note, put, quoted};
use crate::place::Place;
use crate::remote::expanded;
use crate::tree::mode_and_id;
use crate::{identity, write};

/// `irmin merge`.
pub fn merge(place: &Place, merge: &Merge, out: &mut Output) -> Result<u8> {
    match (merge.dry_run, &merge.names[..]) {
        (true, [ours, theirs]) => dry_run(place, ours, theirs, out),
        (false, [theirs]) => into_branch(place, merge, theirs, out),
        (true, _) => Err(Failure::usage(
            "--dry-run needs both sides",
            "irmin merge --dry-run OURS THEIRS",
        )),
        (false, _) => Err(Failure::usage(
            "only one commit can be merged into a branch at a time",
            "name the branch with --branch, or try the two sides with --dry-run",
        )),
    }
}

fn dry_run(place: &Place, ours_name: &str, theirs_name: &str, out: &mut Output) -> Result<u8> {
    let ours = place.commit(ours_name)?;
    let theirs = place.commit(theirs_name)?;
    let rule = FollowRenames::new(files_as_git).named(ours_name, theirs_name);
    let merge = tried(place.repo.try_merge(&ours, &theirs, &rule))?;
    if !merge.conflicts().is_empty() {
        return conflicts(merge.conflicts(), out);
    }
    let tree = merge.tree()?.id();
    match out.json {
        true => out.value(&json!({ "tree": tree.to_string() }))?,
        false => out.line(tree)?,
    }
    Ok(0)
}

/// Merges a commit of this name into a branch, and tells of it.
pub fn into_branch(place: &Place, merge: &Merge, name: &str, out: &mut Output) -> Result<u8> {
    let branch = write::branch(place, merge.branch.as_deref())?;
    let theirs = place.commit(name)?;
    let name = expanded(place, name)?;
    let name = name.strip_prefix("refs/remotes/").unwrap_or(&name);
    loop {
        let Some(ours) = branch.head()? else {
            return Err(Failure::broken_with(
                format!("{} has no commit to merge into", branch.name().short()),
                "`irmin branches` lists the branches",
            ));
        };
        let rule = FollowRenames::new(files_as_git).named(branch.name().short(), name);
        let tried = tried(place.repo.try_merge(&ours, &theirs, &rule))?;
        if !tried.conflicts().is_empty() {
            return conflicts(tried.conflicts(), out);
        }
        let is_whole = is_whole(place, &ours, &theirs)?;
        let message = match &merge.says.message {
            Some(message) => message.clone(),
            None => message(place, name, branch.name())?,
        };
        let result = match is_whole {
            // Nobody's name is needed where no commit is made.
            Some(whole) if whole == ours => Ok(whole),
            Some(whole) => branch
                .compare_and_set(Some(&ours), Some(&whole))
                .map(|()| whole)
                .map_err(MergeError::from),
            None => branch.commit_merge(
                &tried,
                &identity::info(place, &message, merge.says.author.as_deref())?,
            ),
        };
        match result {
            // Somebody else moved it meanwhile.
            Err(MergeError::Commit(CommitError::Update(UpdateError::Moved { .. }))) => {}
            result => return write::done(place, &branch, &result?, out),
        }
    }
}

/// The side that holds the other, if one does.
fn is_whole(place: &Place, ours: &Commit, theirs: &Commit) -> Result<Option<Commit>> {
    let bases = place.repo.lcas(ours, theirs)?;
    let holds = |side: &Commit| bases == [side.id()];
    Ok(match (holds(theirs), holds(ours)) {
        (true, _) => Some(ours.clone()),
        (_, true) => Some(theirs.clone()),
        _ => None,
    })
}

/// What Git would write.
fn message(place: &Place, theirs: &str, into: &RefName) -> Result<String> {
    let is = |prefix: &str| -> Result<bool> {
        match RefName::new(&format!("{prefix}{theirs}")) {
            Ok(name) => Ok(place.repo.backend().head(&name)?.is_some()),
            Err(_) => Ok(false),
        }
    };
    let kind = match (is("refs/tags/")?, is("refs/heads/")?, is("refs/remotes/")?) {
        (true, _, _) => "tag",
        (_, true, _) => "branch",
        (_, _, true) => "remote-tracking branch",
        _ => "commit",
    };
    Ok(match into.short() {
        "main" | "master" => format!("Merge {kind} '{theirs}'"),
        into => format!("Merge {kind} '{theirs}' into {into}"),
    })
}

fn tried<T>(result: std::result::Result<T, MergeError>) -> Result<T> {
    result.map_err(|error| match error {
        MergeError::Unrelated => Failure::broken_with(
            error.to_string(),
            "only commits that have a common ancestor can be merged; see `irmin lcas`",
        ),
        error => error.into(),
    })
}

fn conflicts(conflicts: &[Conflict], out: &mut Output) -> Result<u8> {
    let mut lines = BTreeSet::new();
    for conflict in conflicts {
        let Three { base, ours, theirs } = &conflict.entries;
        let [base, ours, theirs] = [base, ours, theirs].map(|side| side.as_ref().map(mode_and_id));
        let is_of_entries = base.is_some() || ours.is_some() || theirs.is_some();
        let path = conflict.path.as_bytes();
        let why = match &conflict.why {
            Why::FileAndDirectory => "one side has a file where the other has a directory",
            Why::Mode => "both sides changed what it is",
            Why::Refused(why) | Why::Renamed(why) => why,
        };
        match (out.json, is_of_entries) {
            (true, _) => {
                let mut value = json!({ "why": why, "base": base, "ours": ours, "theirs": theirs });
                put(&mut value, "path", path);
                out.value(&value)?;
            }
            (false, true) => drop(lines.insert(path)),
            // Nothing is in conflict there, but something that was not moved there.
            (false, false) => note(format_args!("{}: {}", quoted(path), harmless(why))),
        }
    }
    for path in lines {
        out.line(quoted(path))?;
    }
    Ok(1)
}

//! `irmin branches`: listed, made, deleted.

use irmin::UpdateError;
use serde_json::json;

use crate::cli::Branches;
use crate::failure::{Failure, Result};
use crate::output::{Output, first_line, harmless};
use crate::place::Place;
use crate::write;

/// `irmin branches`.
pub fn branches(place: &Place, branches: &Branches, out: &mut Output) -> Result<u8> {
    match (&branches.create, &branches.delete) {
        (Some(name), _) => create(place, name, &branches.at, out),
        (_, Some(name)) => delete(place, name, branches.force, out),
        _ => list(place, out),
    }
}

fn create(place: &Place, name: &str, at: &str, out: &mut Output) -> Result<u8> {
    let branch = write::branch(place, Some(name))?;
    let commit = place.resolve(at)?;
    match branch.compare_and_set(None, Some(&commit)) {
        Err(UpdateError::Moved { .. }) => Err(Failure::no(
            format!("there is a branch {name} already"),
            "give the new one another name",
        )),
        Err(error @ UpdateError::Clash { .. }) => Err(Failure::no(
            error.to_string(),
            "give the new one another name",
        )),
        result => {
            result?;
            write::done(place, &branch, &commit, out)
        }
    }
}

fn delete(place: &Place, name: &str, is_forced: bool, out: &mut Output) -> Result<u8> {
    let branch = write::branch(place, Some(name))?;
    let Some(head) = branch.head()? else {
        return Err(Failure::no(
            format!("there is no branch {name}"),
            "`irmin branches` lists the branches",
        ));
    };
    if *branch.name() == place.repo.backend().default_branch()? {
        return Err(Failure::no(
            format!("{name} is the current branch"),
            "make another one current first: git symbolic-ref HEAD refs/heads/OTHER",
        ));
    }
    if !is_forced && !place.repo.resolve("HEAD")?.has_ancestor(&head)? {
        return Err(Failure::no(
            format!(
                "{name} has commits that the current branch lacks: it is at {}",
                head.id()
            ),
            "merge it first with `irmin merge`, or delete it with --force",
        ));
    }
    branch.delete(&head)?;
    write::done(place, &branch, &head, out)
}

fn list(place: &Place, out: &mut Output) -> Result<u8> {
    let current = place.repo.backend().default_branch()?;
    for branch in place.repo.branches()? {
        // It may be gone since.
        let Some(head) = branch.head()? else {
            continue;
        };
        let is_current = *branch.name() == current;
        let message = head.message();
        match out.json {
            true => out.value(&json!({
                "branch": branch.name().short(),
                "commit": head.id().to_string(),
                "subject": message.lines().next().unwrap_or_default(),
                "current": is_current,
            }))?,
            false => out.line(
                format!(
                    "{} {} {} {}",
                    if is_current { '*' } else { ' ' },
                    harmless(branch.name().short()),
                    head.id(),
                    first_line(&message),
                )
                .trim_end(),
            )?,
        }
    }
    Ok(0)
}

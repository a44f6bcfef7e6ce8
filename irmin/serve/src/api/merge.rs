//! Merges: tried, and made.

use hyper::StatusCode;
use irmin::merge::{FollowRenames, Merge, MergeError, files_as_git};
use irmin::{CommitError, UpdateError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::commits::{Person, made};
use super::value::{given, given_path};
use super::{Found, value};
use crate::answer::Problem;

/// `GET merge`
pub(super) fn try_it(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&["ours", "theirs"])?;
    let [ours, theirs] = [call.query.needed("ours")?, call.query.needed("theirs")?];
    let rule = FollowRenames::new(files_as_git).named(ours, theirs);
    let (ours, theirs) = (call.commit(ours)?, call.commit(theirs)?);
    let merge = call.shared.repo.try_merge(&ours, &theirs, &rule)?;
    let tree = match merge.conflicts() {
        [] => Some(merge.tree()?.id()),
        _ => None,
    };
    Found::json(&json!({
        "ours": ours.id().to_string(),
        "theirs": theirs.id().to_string(),
        "tree": value::id(tree),
        "conflicts": conflicts(&merge, &ours),
    }))
}

fn conflicts(merge: &Merge, ours: &irmin::Commit) -> Vec<Value> {
    let tree = ours.tree();
    merge
        .conflicts()
        .iter()
        .map(|conflict| value::conflict(conflict, &tree))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    branch: String,
    theirs: String,
    message: String,
    author: Person,
    #[serde(default)]
    resolve: Vec<Resolution>,
}

/// Contents for a path in conflict; without any the path is removed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolution {
    path: Option<String>,
    path_hex: Option<String>,
    text: Option<String>,
    text_hex: Option<String>,
}

/// `POST merge`
pub(super) fn post(call: &Call<'_>) -> Result<Found, Problem> {
    call.query.only(&[])?;
    let request: Request = call.json()?;
    let branch = call.shared.repo.named(call.writable(&request.branch)?);
    let theirs = call.commit(&request.theirs)?;
    let info = request.author.info(&request.message)?;
    loop {
        let Some(ours) = branch.head()? else {
            match branch.compare_and_set(None, Some(&theirs)) {
                Err(UpdateError::Moved { .. }) => continue,
                result => result?,
            }
            return made(call, &branch, &theirs, None);
        };
        let rule = FollowRenames::new(files_as_git).named(&request.branch, &request.theirs);
        let mut merge = call.shared.repo.try_merge(&ours, &theirs, &rule)?;
        for Resolution {
            path,
            path_hex,
            text,
            text_hex,
        } in &request.resolve
        {
            let path = given_path("path", path, path_hex)?;
            if !merge
                .conflicts()
                .iter()
                .any(|conflict| conflict.path == path)
            {
                let problem = Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    format!("{path} is not in conflict"),
                    "GET /api/v1/merge lists the conflicts",
                );
                return Err(problem.with("conflicts", conflicts(&merge, &ours).into()));
            }
            merge.resolve(&path, given("text", text, text_hex)?)?;
        }
        if !merge.conflicts().is_empty() {
            let count = merge.conflicts().len();
            let hint = "decide each conflict in resolve: path and text, or path alone to remove it";
            let problem = Problem::new(
                StatusCode::CONFLICT,
                format!("{count} conflicts are to be decided; the branch did not move"),
                hint,
            );
            let problem = problem.with("ours", ours.id().to_string().into());
            return Err(problem.with("conflicts", conflicts(&merge, &ours).into()));
        }
        match branch.commit_merge(&merge, &info) {
            Err(MergeError::Commit(CommitError::Update(UpdateError::Moved { .. }))) => {}
            result => return made(call, &branch, &result?, Some(ours.id())),
        }
    }
}

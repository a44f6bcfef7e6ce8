//! Names of commits, resolved as Git resolves them (gitrevisions(7)).

use irmin::raw::TagData;
use irmin::{Commit, Id, Kind, RefName, Repo};

use crate::failure::{Failure, Result};

/// Git's shortest abbreviation of an id.
const SHORTEST: usize = 4;
/// More objects than anybody looks through to find out which one was meant.
const CANDIDATES: usize = 1000;

/// A step from a commit to one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `^2`: this parent; 0 is the commit itself.
    Parent(usize),
    /// `~3`: so often the first parent.
    Back(usize),
    /// `^{}`, `^{commit}`: what a tag means, which every name is taken for anyhow.
    Peel,
}

/// The commit that this name means.
pub fn commit(repo: &Repo, name: &str) -> Result<Commit> {
    let Some((base, steps)) = parse(name) else {
        return Err(Failure::usage(
            format!("{name} is no name of a commit"),
            "give a branch, a tag, HEAD or an id, with ~3, ^2 or ^{} behind it",
        ));
    };
    let mut commit = peeled(repo, name, base_id(repo, base)?)?;
    for step in steps {
        match step {
            Step::Peel | Step::Parent(0) => {}
            Step::Parent(which) => commit = parent(repo, name, &commit, which)?,
            Step::Back(count) => {
                for _ in 0..count {
                    commit = parent(repo, name, &commit, 1)?;
                }
            }
        }
    }
    Ok(commit)
}

fn parent(repo: &Repo, name: &str, commit: &Commit, which: usize) -> Result<Commit> {
    let Some(id) = commit.parents().get(which - 1) else {
        return Err(Failure::usage(
            format!(
                "{name} means no commit: {} has {} parents",
                commit.id(),
                commit.parents().len()
            ),
            "see what is before it with `irmin log`",
        ));
    };
    Ok(repo.commit(id)?)
}

/// The name in front, and the steps behind it; `None` if it is no name.
fn parse(name: &str) -> Option<(&str, Vec<Step>)> {
    let end = name.find(['~', '^']).unwrap_or(name.len());
    let (base, mut rest) = name.split_at(end);
    let mut steps = Vec::new();
    while let Some(sign) = rest.chars().next() {
        rest = &rest[1..];
        if sign == '^' && rest.starts_with('{') {
            let (what, behind) = rest[1..].split_once('}')?;
            if !matches!(what, "" | "commit") {
                return None;
            }
            steps.push(Step::Peel);
            rest = behind;
            continue;
        }
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let count = match digits {
            0 => 1,
            _ => rest[..digits].parse().ok()?,
        };
        rest = &rest[digits..];
        steps.push(match sign {
            '^' => Step::Parent(count),
            '~' => Step::Back(count),
            _ => return None,
        });
    }
    let base = if base == "@" { "HEAD" } else { base };
    (!base.is_empty() && !base.starts_with('-')).then_some((base, steps))
}

/// What the name in front means: a full id, a name by Git's order of places, an abbreviated id.
fn base_id(repo: &Repo, base: &str) -> Result<Id> {
    if let Ok(id) = base.parse::<Id>()
        && id.as_bytes().len() == repo.format().id_len()
    {
        return Ok(id);
    }
    for (before, behind) in [
        ("", ""),
        ("refs/", ""),
        ("refs/tags/", ""),
        ("refs/heads/", ""),
        ("refs/remotes/", ""),
        ("refs/remotes/", "/HEAD"),
    ] {
        let Ok(name) = RefName::new(&format!("{before}{base}{behind}")) else {
            continue;
        };
        if let Some(id) = repo.backend().head(&name)? {
            return Ok(id);
        }
    }
    // `v1.0-3-g1a2b3c4`, as `git describe` prints it.
    let digits = base.rsplit_once("-g").map_or(base, |(_, digits)| digits);
    if digits.len() >= SHORTEST && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let ids = abbreviated(repo, &digits.to_ascii_lowercase())?;
        match &ids[..] {
            [] => {}
            [id] => return Ok(*id),
            ids => {
                let few: Vec<_> = ids.iter().take(5).map(Id::to_string).collect();
                return Err(Failure::usage(
                    format!("{base} may mean any of {} objects", ids.len()),
                    format!("give more digits of one:\n{}", few.join("\n")),
                ));
            }
        }
    }
    Err(nothing(repo, base))
}

fn nothing(repo: &Repo, base: &str) -> Failure {
    let is_default = repo
        .backend()
        .default_branch()
        .is_ok_and(|name| base == "HEAD" || base == name.short() || base == name.as_str());
    match is_default {
        true => Failure::absent(
            format!("{base} has no commit yet"),
            "make the first one with `irmin set PATH VALUE`",
        ),
        false => Failure::usage(
            format!("no branch, tag or commit is called {base}"),
            "`irmin branches` lists the branches",
        ),
    }
}

/// The ids that begin so; of several only those of commits, as a commit is wanted.
fn abbreviated(repo: &Repo, digits: &str) -> Result<Vec<Id>> {
    let ids = repo.backend().ids(digits, CANDIDATES)?;
    if ids.len() < 2 {
        return Ok(ids);
    }
    let mut commits = Vec::new();
    for id in &ids {
        if target(repo, *id)?.is_some() {
            commits.push(*id);
        }
    }
    Ok(if commits.is_empty() { ids } else { commits })
}

/// The commit that an object is or, as a tag, means; `None` if it is another kind of object.
fn target(repo: &Repo, mut id: Id) -> Result<Option<Id>> {
    loop {
        let Some(object) = repo.backend().read(&id)? else {
            return Ok(None);
        };
        match object.kind {
            Kind::Commit => return Ok(Some(id)),
            Kind::Tag => {
                let tag = TagData::decode(repo.format(), &object.data);
                id = tag
                    .map_err(|malformed| Failure::broken(format_args!("{id}: {malformed}")))?
                    .target;
            }
            _ => return Ok(None),
        }
    }
}

fn peeled(repo: &Repo, name: &str, id: Id) -> Result<Commit> {
    match target(repo, id)? {
        Some(id) => Ok(repo.commit(&id)?),
        None => {
            let what = match repo.backend().read(&id)? {
                Some(object) => format!("{name} is a {}, and no commit", object.kind),
                None => format!("the repository has no object {id}"),
            };
            Err(Failure::usage(
                what,
                "give a branch, a tag or a commit's id",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_steps_behind_it() {
        assert_eq!(parse("main"), Some(("main", vec![])));
        assert_eq!(
            parse("@~3^2^^{}"),
            Some((
                "HEAD",
                vec![Step::Back(3), Step::Parent(2), Step::Parent(1), Step::Peel]
            ))
        );
        assert_eq!(
            parse("v1^{commit}~"),
            Some(("v1", vec![Step::Peel, Step::Back(1)]))
        );
        for wrong in [
            "",
            "^",
            "~2",
            "main^{tree}",
            "main~x",
            "main^{",
            "-x",
            "a~99999999999999999999",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

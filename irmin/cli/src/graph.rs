//! `irmin dot`: history for Graphviz.

use std::collections::{BTreeMap, BinaryHeap, HashSet};

use irmin::{Commit, Id, RefName};
use serde_json::json;

use crate::cli::Dot;
use crate::failure::Result;
use crate::output::{Output, first_line, harmless};
use crate::place::Place;

/// `irmin dot`.
pub fn dot(place: &Place, dot: &Dot, out: &mut Output) -> Result<u8> {
    let mut names: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    let mut open = Vec::new();
    if dot.names.is_empty() {
        for prefix in ["refs/heads/", "refs/tags/"] {
            for (name, _) in place.repo.backend().heads(prefix)? {
                open.extend(head(place, &name)?.map(|commit| (name.short().to_string(), commit)));
            }
        }
    } else {
        for name in &dot.names {
            open.push((name.clone(), place.repo.resolve(name)?));
        }
    }
    let mut queue = BinaryHeap::new();
    let mut seen = HashSet::new();
    for (name, commit) in open {
        names.entry(commit.id()).or_default().push(name);
        if seen.insert(commit.id()) {
            queue.push((commit.data().committer.seconds(), commit.id()));
        }
    }
    let cut = place.repo.backend().shallow()?;
    if !out.json {
        out.line("digraph history {")?;
        out.line("  rankdir=BT; node [shape=box, fontname=monospace];")?;
    }
    let mut left = dot.limit.unwrap_or(usize::MAX);
    while let Some((_, id)) = queue.pop() {
        if left == 0 {
            break;
        }
        left -= 1;
        let commit = place.repo.commit(&id)?;
        let parents = match cut.contains(&id) {
            true => &[],
            false => commit.parents(),
        };
        for parent in parents {
            if seen.insert(*parent) {
                let time = place.repo.commit(parent)?.data().committer.seconds();
                queue.push((time, *parent));
            }
        }
        let names = names.get(&id).map_or(&[][..], |names| names);
        show(&commit, parents, names, out)?;
    }
    if !out.json {
        out.line("}")?;
    }
    Ok(0)
}

/// What a name points to, unless that is no commit (a tag of a file, say).
fn head(place: &Place, name: &RefName) -> Result<Option<Commit>> {
    match place.repo.named(name.clone()).head() {
        Err(irmin::ReadError::WrongKind { .. }) => Ok(None),
        head => Ok(head?),
    }
}

fn show(commit: &Commit, parents: &[Id], names: &[String], out: &mut Output) -> Result<()> {
    let id = commit.id().to_string();
    let subject = first_line(&commit.message());
    if out.json {
        let parents: Vec<_> = parents.iter().map(ToString::to_string).collect();
        out.value(&json!({
            "commit": id, "parents": parents, "names": names, "subject": subject,
        }))?;
        return Ok(());
    }
    let mut label = format!("{} {}", &id[..7], escaped(&subject));
    let mut style = "";
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(|name| escaped(name)).collect();
        label = format!("{}\\n{label}", names.join(", "));
        style = ", style=bold";
    }
    out.line(format_args!("  \"{id}\" [label=\"{label}\"{style}];"))?;
    for parent in parents {
        out.line(format_args!("  \"{id}\" -> \"{parent}\";"))?;
    }
    Ok(())
}

/// A text inside of a quoted string of the language of `dot`.
fn escaped(text: &str) -> String {
    harmless(text).replace('\\', "\\\\").replace('"', "\\\"")
}

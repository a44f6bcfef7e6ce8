//! The graph of history, and `irmin dot`, which writes it for Graphviz.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use irmin::{Commit, Id, RefName};
use serde_json::json;

use crate::cli::Graph;
use crate::failure::Result;
use crate::output::{Output, first_line, harmless};
use crate::place::Place;

/// A commit that is shown.
pub struct Node {
    /// Which.
    pub commit: Commit,
    /// The commits before it, as far as the store has them.
    pub parents: Vec<Id>,
    /// The names that point to it.
    pub names: Vec<String>,
}

impl Node {
    /// Its first line, harmless.
    pub fn subject(&self) -> String {
        first_line(&self.commit.message())
    }

    fn seconds(&self) -> i64 {
        self.commit.data().committer.seconds()
    }
}

/// The commits that are asked for: the newest first, and none before its children.
pub fn nodes(place: &Place, graph: &Graph) -> Result<Vec<Node>> {
    let mut names: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    let mut open = Vec::new();
    if graph.names.is_empty() {
        for prefix in ["refs/heads/", "refs/tags/"] {
            for (name, _) in place.repo.backend().heads(prefix)? {
                open.extend(head(place, &name)?.map(|commit| (name.short().to_string(), commit)));
            }
        }
    } else {
        for name in &graph.names {
            open.push((name.clone(), place.resolve(name)?));
        }
    }
    let mut queue = BinaryHeap::new();
    let mut met = HashMap::new();
    for (name, commit) in open {
        let id = commit.id();
        names.entry(id).or_default().push(name);
        queue_once(commit, &mut queue, &mut met);
    }
    let cut: HashSet<Id> = place.repo.backend().shallow()?.into_iter().collect();
    let mut found = HashMap::new();
    while let Some((_, id)) = queue.pop() {
        if graph.limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        let Some(commit) = met.remove(&id).flatten() else {
            continue;
        };
        met.insert(id, None);
        let parents = match cut.contains(&id) {
            true => Vec::new(),
            false => commit.parents().to_vec(),
        };
        for parent in &parents {
            if !met.contains_key(parent) {
                queue_once(place.repo.commit(parent)?, &mut queue, &mut met);
            }
        }
        let node = Node {
            commit,
            parents,
            names: names.remove(&id).unwrap_or_default(),
        };
        found.insert(id, node);
    }
    Ok(in_order(found))
}

/// Those that were met: with the commit until it is looked at.
type Met = HashMap<Id, Option<Commit>>;

fn queue_once(commit: Commit, queue: &mut BinaryHeap<(i64, Id)>, met: &mut Met) {
    let id = commit.id();
    if let Entry::Vacant(place) = met.entry(id) {
        queue.push((commit.data().committer.seconds(), id));
        place.insert(Some(commit));
    }
}

/// Clocks that went back do not put a commit before its children.
fn in_order(mut found: HashMap<Id, Node>) -> Vec<Node> {
    let mut children: HashMap<Id, usize> = HashMap::new();
    for parent in found.values().flat_map(|node| &node.parents) {
        *children.entry(*parent).or_default() += 1;
    }
    let mut ready: BinaryHeap<(i64, Id)> = found
        .iter()
        .filter(|(id, _)| !children.contains_key(*id))
        .map(|(id, node)| (node.seconds(), *id))
        .collect();
    let mut nodes = Vec::with_capacity(found.len());
    while let Some((_, id)) = ready.pop() {
        let Some(node) = found.remove(&id) else {
            continue;
        };
        for parent in &node.parents {
            let left = children.entry(*parent).or_default();
            *left = left.saturating_sub(1);
            if let (0, Some(parent)) = (*left, found.get(parent)) {
                ready.push((parent.seconds(), parent.commit.id()));
            }
        }
        nodes.push(node);
    }
    nodes
}

/// What a name points to, unless that is no commit (a tag of a file, say).
fn head(place: &Place, name: &RefName) -> Result<Option<Commit>> {
    match place.repo.named(name.clone()).head() {
        Err(irmin::ReadError::WrongKind { .. }) => Ok(None),
        head => Ok(head?),
    }
}

/// `irmin dot`.
pub fn dot(place: &Place, graph: &Graph, out: &mut Output) -> Result<u8> {
    let nodes = nodes(place, graph)?;
    if !out.json {
        out.line("digraph history {")?;
        out.line("  rankdir=BT; node [shape=box, fontname=monospace];")?;
    }
    for node in &nodes {
        show(node, out)?;
    }
    if !out.json {
        out.line("}")?;
    }
    Ok(0)
}

fn show(node: &Node, out: &mut Output) -> Result<()> {
    let id = node.commit.id().to_string();
    if out.json {
        let message = node.commit.message();
        let subject = message.lines().next().unwrap_or_default();
        let parents: Vec<_> = node.parents.iter().map(ToString::to_string).collect();
        out.value(&json!({
            "commit": id, "parents": parents, "names": node.names, "subject": subject,
        }))?;
        return Ok(());
    }
    let mut label = format!("{} {}", &id[..7], escaped(&node.subject()));
    let mut style = "";
    if !node.names.is_empty() {
        let names: Vec<_> = node.names.iter().map(|name| escaped(name)).collect();
        label = format!("{}\\n{label}", names.join(", "));
        style = ", style=bold";
    }
    out.line(format_args!("  \"{id}\" [label=\"{label}\"{style}];"))?;
    for parent in &node.parents {
        out.line(format_args!("  \"{id}\" -> \"{parent}\";"))?;
    }
    Ok(())
}

/// A text inside of a quoted string of the language of `dot`.
fn escaped(text: &str) -> String {
    harmless(text).replace('\\', "\\\\").replace('"', "\\\"")
}

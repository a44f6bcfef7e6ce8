//! `irmin convert`: all history of a store, in a store of another format.

mod odd;
mod to_git;
mod to_native;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use irmin::raw::{CommitData, TagData};
use irmin::{BackendError, Expect, Id, Kind, Object, RefEdit};
use serde_json::json;

use crate::cli::{Convert, StoreFormat};
use crate::failure::{Failure, Result};
use crate::output::{Output, harmless, note};
use crate::place::{Place, make_in, shown};
use crate::progress::Progress;
use odd::Odd;
use to_git::ToGit;
use to_native::ToNative;

/// How deep directories and tags of tags may be.
const DEEPEST: usize = irmin::Path::MAX_DEPTH;
/// Enough for so many directories, one inside the other.
const STACK: usize = 256 << 20;

/// What makes trees and contents of the other format.
trait Trees {
    /// The tree that stands for this one; `like` is one that was made before and differs little.
    /// What is odd in one of Git's is given back from it, and is given to make one.
    fn tree(&mut self, id: &Id, like: Option<&Id>, odd: Arc<Odd>) -> Result<(Id, Arc<Odd>)>;

    /// The same for contents.
    fn blob(&mut self, id: &Id) -> Result<Id>;

    /// Has an object written, after those that it refers to.
    fn write(&mut self, object: Object) -> Result<()>;

    /// Has everything written.
    fn finish(&mut self) -> Result<()>;
}

/// `irmin convert`.
pub fn convert(convert: &Convert, out: &mut Output) -> Result<u8> {
    let from = Place::at(&convert.from)?;
    let is_git = from.repo.format().is_git();
    let format = match (convert.format, is_git) {
        (Some(format), _) => format,
        (None, true) => StoreFormat::Native,
        (None, false) => StoreFormat::GitSha1,
    };
    if is_git != (format == StoreFormat::Native) {
        return Err(Failure::broken_with(
            "both stores would be Git's, or both native",
            "one is converted to native first, and that to the other; `irmin clone` makes a copy",
        ));
    }
    let to = &convert.to;
    let (commits, names) = make_in(to, || {
        thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(STACK);
            let work = builder.spawn_scoped(scope, || into(&from, to, format, convert.bare));
            let work = work.map_err(|error| {
                Failure::broken(format_args!("no thread can be started: {error}"))
            })?;
            work.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    match out.json {
        true => out.value(&json!({ "commits": commits, "names": names }))?,
        false => out.line(format_args!(
            "converted {commits} commits and {names} names into {}",
            shown(to)
        ))?,
    }
    Ok(0)
}

fn into(from: &Place, to: &Path, format: StoreFormat, is_bare: bool) -> Result<(usize, usize)> {
    let to = Place::make(to, format, is_bare)?;
    let mut native;
    let mut git;
    let trees: &mut dyn Trees = match format {
        StoreFormat::Native => {
            native = ToNative::new(from, &to);
            &mut native
        }
        _ => {
            git = ToGit::new(from, &to);
            &mut git
        }
    };
    let mut work = Work {
        from,
        to: &to,
        trees,
        commits: HashMap::new(),
        cut: from.repo.backend().shallow()?.into_iter().collect(),
        cut_made: Vec::new(),
        progress: Progress::new("converting commits", None),
    };
    let mut edits = Vec::new();
    for (name, id) in from.repo.backend().heads("refs/")? {
        edits.push(RefEdit {
            name,
            expect: Expect::Missing,
            new: Some(work.object(&id)?),
        });
    }
    work.trees.finish()?;
    let commits = work.commits.len();
    if !work.cut_made.is_empty() {
        to.repo.backend().set_shallow(&work.cut_made)?;
    }
    drop(work);
    // Names come last: before them there is nothing to be seen.
    to.repo.update(&edits)?;
    let head = from.repo.backend().default_branch()?;
    match to.repo.backend().set_default_branch(&head) {
        Err(BackendError::Refused { .. }) => {
            note(format_args!(
                "note: {} was the current branch; a native store's is main",
                harmless(head.short())
            ));
        }
        result => result?,
    }
    to.repo.flush()?;
    Ok((commits, edits.len()))
}

struct Work<'a> {
    from: &'a Place,
    to: &'a Place,
    trees: &'a mut dyn Trees,
    /// What stands for each commit, and the tree that it had.
    commits: HashMap<Id, (Id, Id)>,
    /// Commits whose parents are not here, and those made of such.
    cut: HashSet<Id>,
    cut_made: Vec<Id>,
    progress: Progress,
}

impl Work<'_> {
    fn read(&self, id: &Id) -> Result<Object> {
        read(self.from, id)
    }

    /// What stands for an object that a name leads to.
    fn object(&mut self, id: &Id) -> Result<Id> {
        let mut tags = Vec::new();
        let mut at = *id;
        let mut made = loop {
            let object = self.read(&at)?;
            match object.kind {
                Kind::Commit => break self.history(at)?,
                Kind::Tree => {
                    let (made, odd) = self.trees.tree(&at, None, Arc::default())?;
                    if !odd.is_empty() {
                        return Err(damaged(
                            &at,
                            "it has modes of old programs or directories without entries, and no commit to keep them in",
                        ));
                    }
                    break made;
                }
                Kind::Blob => break self.trees.blob(&at)?,
                Kind::Tag => {
                    let data = TagData::decode(self.from.repo.format(), &object.data);
                    let data = data.map_err(|error| damaged(&at, error))?;
                    at = data.target;
                    tags.push((object, data.target));
                }
            }
            if tags.len() > DEEPEST {
                return Err(Failure::broken(format_args!(
                    "tag {id} leads to more than {DEEPEST} others"
                )));
            }
        };
        for (tag, target) in tags.into_iter().rev() {
            let line = format!("object {target}\n");
            let rest = tag.data.strip_prefix(line.as_bytes());
            let rest =
                rest.ok_or_else(|| damaged(&tag.id, "its first line is not as Git writes it"))?;
            let data = [format!("object {made}\n").as_bytes(), rest].concat();
            made = self.write(Kind::Tag, data)?;
        }
        Ok(made)
    }

    fn write(&mut self, kind: Kind, data: Vec<u8>) -> Result<Id> {
        let object = Object::new(self.to.repo.format(), kind, data).map_err(Failure::broken)?;
        let id = object.id;
        self.trees.write(object)?;
        Ok(id)
    }

    /// What stands for a commit, after all before it are made.
    fn history(&mut self, head: Id) -> Result<Id> {
        let mut open = vec![head];
        let mut opened = HashSet::new();
        while let Some(id) = open.last().copied() {
            if self.commits.contains_key(&id) {
                open.pop();
                continue;
            }
            let object = self.read(&id)?;
            let data = CommitData::decode(self.from.repo.format(), &object.data);
            let data = data.map_err(|error| damaged(&id, error))?;
            let missing = data
                .parents
                .iter()
                .filter(|parent| !self.cut.contains(&id) && !self.commits.contains_key(*parent));
            let missing: Vec<Id> = missing.copied().collect();
            if missing.is_empty() {
                open.pop();
                self.commit(id, data, &object)?;
            } else if opened.insert(id) {
                open.extend(missing.into_iter().rev());
            } else {
                return Err(damaged(&id, "it is before itself"));
            }
        }
        Ok(self.commits[&head].0)
    }

    fn commit(&mut self, id: Id, mut data: CommitData, object: &Object) -> Result<()> {
        if data.encode() != object.data {
            return Err(damaged(&id, "it is written in a way that cannot be kept"));
        }
        let mut odd = Odd::default();
        let mut cut = None;
        if self.from.repo.format().is_git() {
            if odd::is_in(&data) {
                return Err(damaged(
                    &id,
                    "it has a header that only native commits have",
                ));
            }
            if self.cut.contains(&id) && !data.parents.is_empty() {
                odd::put_parents(&mut data);
            }
        } else {
            odd = Odd::take(&mut data).map_err(|what| damaged(&id, what))?;
            cut = odd::take_parents(&mut data).map_err(|what| damaged(&id, what))?;
        }
        let tree = data.tree;
        let like = data.parents.first().map(|parent| self.commits[parent].1);
        let (made, odd) = self.trees.tree(&tree, like.as_ref(), Arc::new(odd))?;
        data.tree = made;
        odd.put(&mut data).map_err(|what| damaged(&id, what))?;
        for parent in &mut data.parents {
            *parent = self.commits[parent].0;
        }
        let is_cut = cut.is_some();
        if let Some(parents) = cut {
            let length = self.to.repo.format().id_len();
            if !data.parents.is_empty() || parents.iter().any(|id| id.as_bytes().len() != length) {
                return Err(damaged(
                    &id,
                    "its history is cut off, at commits of Git's other format",
                ));
            }
            data.parents = parents;
        }
        let made = self.write(Kind::Commit, data.encode())?;
        self.cut_made.extend(is_cut.then_some(made));
        self.commits.insert(id, (made, tree));
        self.progress.add(1);
        Ok(())
    }
}

/// Writes an entry of one of Git's trees.
fn push_entry(into: &mut Vec<u8>, digits: &[u8], name: &[u8], id: &Id) {
    into.extend(digits);
    into.push(b' ');
    into.extend(name);
    into.push(0);
    into.extend(id.as_bytes());
}

fn read(place: &Place, id: &Id) -> Result<Object> {
    let object = place.repo.backend().read(id)?;
    object.ok_or_else(|| {
        Failure::broken_with(
            format!("object {id} is missing"),
            "`irmin fsck` tells what else is; restore it from another copy",
        )
    })
}

fn damaged(id: &Id, what: impl std::fmt::Display) -> Failure {
    Failure::broken_with(
        format!("object {id} cannot be converted: {what}"),
        "nothing was made; `irmin fsck` tells what is wrong with the store",
    )
}

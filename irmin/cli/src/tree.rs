//! `irmin get`, `ls`, `tree`, `diff`: what a commit holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use irmin::{Commit, Difference, Entry, Mode, Path, Tree};
use serde_json::{Value, json};

use crate::cli::{Diff, Get, List};
use crate::failure::{Failure, Result};
use crate::history::date;
use crate::output::{Output, put, quoted};
use crate::place::Place;

/// A path as it was typed; a slash at the end of a directory's does not count.
pub fn path(typed: &OsStr) -> Result<Path> {
    let bytes = typed.as_bytes();
    Ok(Path::new(bytes.strip_suffix(b"/").unwrap_or(bytes))?)
}

/// The path of a file as it was typed.
pub fn file(typed: &OsStr) -> Result<Path> {
    let path = Path::new(typed.as_bytes())?;
    match path.is_root() {
        true => Err(Failure::usage("the path is empty", "name a file")),
        false => Ok(path),
    }
}

/// `irmin get`.
pub fn get(place: &Place, get: &Get, out: &mut Output) -> Result<u8> {
    let path = file(&get.path)?;
    let tree = place.resolve(&get.at)?.tree();
    let entry = tree.entry(&path)?.ok_or_else(|| absent(&path, &get.at))?;
    let shown = quoted(path.as_bytes());
    match entry.mode() {
        Mode::Dir => Err(Failure::no(
            format!("{shown} is a directory"),
            "`irmin ls` lists it",
        )),
        Mode::Module => Err(Failure::no(
            format!("{shown} is a commit of another repository (a submodule)"),
            "look into that repository",
        )),
        _ => {
            let contents = tree.contents(&entry)?;
            match out.json {
                true => {
                    let mut value = entry_value(path.as_bytes(), &entry);
                    put(&mut value, "text", &contents);
                    out.value(&value)?;
                }
                false => out.contents(&contents)?,
            }
            Ok(0)
        }
    }
}

fn absent(path: &Path, at: &str) -> Failure {
    Failure::no(
        format!("there is nothing at {} in {at}", quoted(path.as_bytes())),
        format!("`irmin tree --at {at}` lists what is there"),
    )
}

fn directory(place: &Place, list: &List) -> Result<(Path, Tree, Commit)> {
    let path = path(list.path.as_deref().unwrap_or_default())?;
    let commit = place.resolve(&list.at)?;
    let tree = commit.tree();
    match tree.dir(&path)? {
        Some(dir) => Ok((path, dir, commit)),
        None if tree.entry(&path)?.is_some() => Err(Failure::no(
            format!("{} is no directory", quoted(path.as_bytes())),
            "`irmin get` prints it",
        )),
        None => Err(absent(&path, &list.at)),
    }
}

/// An entry with its path.
struct Item {
    path: Vec<u8>,
    /// From where on the path is shown.
    shown: usize,
    entry: Entry,
}

impl Item {
    fn new(dir: &Path, below: &[u8], entry: Entry) -> Item {
        let mut path = dir.as_bytes().to_vec();
        path.extend((!dir.is_root()).then_some(b'/'));
        let shown = path.len();
        path.extend(below);
        Item { path, shown, entry }
    }

    /// `key`: what its name is called in JSON.
    fn put(&self, key: &str, modified: Option<&Commit>, out: &mut Output) -> Result<()> {
        let name = &self.path[self.shown..];
        let time = modified.map(|commit| &commit.data().committer);
        if out.json {
            let mut value = mode_and_id(&self.entry);
            put(&mut value, key, name);
            if let (Some(commit), Some(time)) = (modified, time) {
                value["commit"] = json!(commit.id().to_string());
                value["seconds"] = json!(time.seconds());
            }
            return Ok(out.value(&value)?);
        }
        let mut name = name.to_vec();
        name.extend(self.entry.is_dir().then_some(b'/'));
        let name = quoted(&name);
        Ok(match (modified, time) {
            (Some(commit), Some(time)) => {
                let id = commit.id().to_string();
                out.line(format_args!("{}  {id:.10}  {name}", date(time)))
            }
            _ => out.line(name),
        }?)
    }
}

/// Shows entries, with the commits that last modified them if they are wanted.
fn put_all(
    items: impl Iterator<Item = Result<Item>>,
    key: &str,
    modified: Option<&Commit>,
    out: &mut Output,
) -> Result<u8> {
    let Some(commit) = modified else {
        for item in items {
            item?.put(key, None, out)?;
        }
        return Ok(0);
    };
    let items = items.collect::<Result<Vec<_>>>()?;
    let paths = items.iter().map(|item| Path::new(&item.path));
    let paths = paths.collect::<std::result::Result<Vec<_>, _>>()?;
    for (item, modified) in items.iter().zip(commit.last_modified(&paths)?) {
        item.put(key, modified.as_ref(), out)?;
    }
    Ok(0)
}

/// `irmin ls`.
pub fn ls(place: &Place, list: &List, out: &mut Output) -> Result<u8> {
    let (path, dir, commit) = directory(place, list)?;
    let items = dir.list().map(|item| {
        let (name, entry) = item?;
        Ok(Item::new(&path, &name, entry))
    });
    let modified = list.last_modified.then_some(&commit);
    put_all(items, "name", modified, out)
}

/// `irmin tree`.
pub fn tree(place: &Place, list: &List, out: &mut Output) -> Result<u8> {
    let (path, dir, commit) = directory(place, list)?;
    let items = dir.walk().map(|item| {
        let (below, entry) = item?;
        let item = Item::new(&path, below.as_bytes(), entry);
        Ok(Item { shown: 0, ..item })
    });
    let modified = list.last_modified.then_some(&commit);
    put_all(items, "path", modified, out)
}

/// `irmin diff`.
pub fn diff(place: &Place, diff: &Diff, out: &mut Output) -> Result<u8> {
    let old = place.resolve(&diff.old)?.tree();
    let new = place.resolve(&diff.new)?.tree();
    for difference in old.diff(&new) {
        let difference = difference?;
        match out.json {
            true => out.value(&difference_value(&difference))?,
            false => out.line(difference_line(&difference))?,
        }
    }
    Ok(0)
}

/// A, D, M or T, as `git diff --name-status` has it.
fn status(difference: &Difference) -> char {
    let kind = |entry: &Entry| match entry.mode() {
        Mode::Executable => Mode::File,
        mode => mode,
    };
    match (&difference.old, &difference.new) {
        (None, _) => 'A',
        (_, None) => 'D',
        (Some(old), Some(new)) if kind(old) != kind(new) => 'T',
        _ => 'M',
    }
}

/// Status, tab, path.
pub fn difference_line(difference: &Difference) -> String {
    let path = quoted(difference.path.as_bytes());
    format!("{}\t{path}", status(difference))
}

/// The same as JSON, with the entries of both sides.
pub fn difference_value(difference: &Difference) -> Value {
    let side = |entry: &Option<Entry>| entry.as_ref().map(mode_and_id);
    let mut value = json!({
        "status": status(difference).to_string(),
        "old": side(&difference.old),
        "new": side(&difference.new),
    });
    put(&mut value, "path", difference.path.as_bytes());
    value
}

/// Mode and id of an entry as JSON.
pub fn mode_and_id(entry: &Entry) -> Value {
    json!({
        "mode": format!("{:0>6}", entry.mode().digits()),
        "id": entry.id().map(|id| id.to_string()),
    })
}

fn entry_value(path: &[u8], entry: &Entry) -> Value {
    let mut value = mode_and_id(entry);
    put(&mut value, "path", path);
    value
}

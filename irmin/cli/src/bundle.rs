//! `irmin export`, `import`: Git bundles (gitformat-bundle(5)).

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;

use irmin::{Backend, Expect, Id, RefEdit, RefName};
use irmin_packfile::{GiveOptions, Given, TakeOptions};
use irmin_sync::capabilities::{format_name, format_named};
use irmin_sync::walk;

use crate::cli::{Export, Import};
use crate::failure::{Failure, Result};
use crate::output::{Output, first_line, quoted};
use crate::place::{Place, shown};
use crate::progress::Progress;
use crate::remote::tell;
use crate::signals::{self, Begun};

/// The longest line of a header, and how many there may be.
const LONGEST: u64 = 1 << 16;
const MOST: usize = 1 << 20;

/// `irmin export`.
pub fn export(place: &Place, export: &Export, out: &mut Output) -> Result<u8> {
    let backend = place.repo.backend();
    let (mut names, mut haves) = (Vec::new(), Vec::new());
    for typed in &export.names {
        match typed.strip_prefix('^') {
            Some(have) => haves.push(place.resolve(have)?),
            None => names.push(full_name(place, typed)?),
        }
    }
    if names.is_empty() {
        names = backend.heads("refs/heads/")?;
        names.extend(backend.heads("refs/tags/")?);
    }
    if names.is_empty() {
        return Err(Failure::no(
            "there is nothing to export yet",
            "make the first commit with `irmin set PATH VALUE`",
        ));
    }
    if !backend.shallow()?.is_empty() {
        return Err(Failure::broken_with(
            "the history is cut off (shallow), and a bundle has no place to say so",
            "fetch the rest first: irmin fetch --unshallow",
        ));
    }
    let wants: Vec<Id> = names.iter().map(|(_, id)| *id).collect();
    let have_ids: Vec<Id> = haves.iter().map(irmin::Commit::id).collect();
    let objects = walk::missing(backend, &wants, &have_ids, &mut walk::Options::default())
        .map_err(Failure::broken)?;
    if !haves.is_empty() {
        // As in Git, a name that the receiver has all of is no part of it.
        let new: HashSet<&Id> = objects.iter().collect();
        names.retain(|(_, id)| new.contains(id));
    }
    if names.is_empty() {
        return Err(Failure::no(
            "there is nothing new to export",
            "what ^ takes away holds all that the names lead to",
        ));
    }
    // The branch that a clone of it begins with.
    let head = backend.default_branch()?;
    let head = names.iter().find(|(name, _)| *name == head).cloned();
    let mut header = match place.repo.format() {
        irmin::Format::GitSha1 => String::from("# v2 git bundle\n"),
        format => format!("# v3 git bundle\n@object-format={}\n", format_name(format)),
    };
    for have in &haves {
        header += &format!("-{} {}\n", have.id(), first_line(&have.message()));
    }
    if let Some((_, id)) = head {
        header += &format!("{id} HEAD\n");
    }
    for (name, id) in &names {
        header += &format!("{id} {name}\n");
    }
    // The file is there with all that belongs into it, or as it was.
    let file = shown(&export.file);
    let failed = |error: std::io::Error| {
        Failure::broken_with(
            format!("{file} cannot be written: {error}"),
            "give a file in a folder that may be written",
        )
    };
    let write = |to: File| -> Result<(Given, File)> {
        let mut to = BufWriter::new(to);
        to.write_all((header + "\n").as_bytes()).map_err(failed)?;
        let progress = Progress::new("writing objects", Some(objects.len() as u64));
        let mut show = |step: irmin_packfile::Progress| progress.set(step.done);
        let options = GiveOptions {
            progress: Some(&mut show),
            ..GiveOptions::default()
        };
        let given = place
            .store
            .give_pack(&objects, &mut to, options)
            .map_err(Failure::broken)?;
        let to = to
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        Ok((given, to))
    };
    // What a link leads to is written. A pipe or device stays what it is.
    let target = fs::canonicalize(&export.file).unwrap_or(export.file.clone());
    let found = fs::metadata(&export.file);
    let is_stream = found.is_ok_and(|found| !found.is_file() && !found.is_dir());
    let given = match is_stream {
        true => {
            let to = File::options().write(true).open(&export.file);
            write(to.map_err(failed)?)?.0
        }
        false => {
            let mut part = target.clone().into_os_string();
            part.push(".part");
            let begun = Begun::Whole(part.clone().into());
            let (_begun, to) = signals::begin_by(begun, || own(&part)).map_err(failed)?;
            let written = write(to).and_then(|(given, to)| {
                to.sync_all().map_err(failed)?;
                fs::rename(&part, &target).map_err(failed)?;
                Ok(given)
            });
            if written.is_err() {
                let _ = fs::remove_file(&part);
            }
            written?
        }
    };
    // It may be standard output that the bundle went to.
    if is_stream {
        return Ok(0);
    }
    match out.json {
        true => out.value(&serde_json::json!({
            "objects": given.objects, "bytes": given.bytes, "names": names.len(),
        }))?,
        false => out.line(format_args!(
            "wrote {} objects and {} names to {file}",
            given.objects,
            names.len()
        ))?,
    }
    Ok(0)
}

/// A file of this name that nobody else writes; what a killed run left in it is gone.
fn own(path: &OsStr) -> std::io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let (ours, theirs) = (file.try_lock(), fs::metadata(path).ok());
    let is_there = theirs.is_some_and(|found| {
        let file = file.metadata();
        file.is_ok_and(|file| (file.dev(), file.ino()) == (found.dev(), found.ino()))
    });
    if ours.is_err() || !is_there {
        return Err(std::io::Error::other("another program is writing it"));
    }
    file.set_len(0)?;
    Ok(file)
}

/// The full name that a short one means; what is no name cannot be exported.
fn full_name(place: &Place, typed: &str) -> Result<(RefName, Id)> {
    for name in RefName::meanings(typed) {
        if name.as_str().starts_with("refs/")
            && let Some(id) = place.repo.backend().head(&name)?
        {
            return Ok((name, id));
        }
    }
    Err(Failure::broken_with(
        format!("there is no branch or tag {typed}"),
        "a bundle holds names: give branches or tags, see `irmin branches`",
    ))
}

/// What stands before the pack.
#[derive(Default)]
struct Header {
    needed: Vec<Id>,
    names: Vec<(RefName, Id)>,
}

/// `irmin import`.
pub fn import(place: &Place, import: &Import, out: &mut Output) -> Result<u8> {
    let file = File::open(&import.file).map_err(|error| {
        Failure::broken_with(
            format!("{} cannot be read: {error}", shown(&import.file)),
            "give a bundle that `irmin export` or `git bundle` made",
        )
    })?;
    let mut from = BufReader::new(file);
    let header = header(place, &mut from)?;
    let backend = place.repo.backend();
    for id in &header.needed {
        if !backend.contains(id)? {
            return Err(Failure::broken_with(
                format!("the bundle builds on commit {id}, which is not here"),
                "import the bundle before it, or fetch first",
            ));
        }
    }
    let known = walk::tips(backend)?;
    let progress = Progress::new("reading objects", None);
    let mut show = |step: irmin_packfile::Progress| progress.set(step.done);
    let options = TakeOptions {
        progress: Some(&mut show),
        ..TakeOptions::default()
    };
    place
        .store
        .take_pack(&mut from, options)
        .map_err(Failure::broken)?;
    drop(progress);
    let tips: Vec<Id> = header.names.iter().map(|(_, id)| *id).collect();
    walk::connected(backend, &tips, &known, &mut walk::Options::default()).map_err(|error| {
        Failure::broken_with(
            format!("the bundle is not whole: {error}"),
            "make it again; nothing here has moved",
        )
    })?;
    let mut edits = Vec::new();
    let mut told = Vec::new();
    let mut code = 0;
    for (name, new) in header.names {
        let old = backend.head(&name)?;
        let is_branch = name.as_str().starts_with("refs/heads/");
        let (what, why) = match old {
            Some(old) if old == new => continue,
            None => ("made", None),
            Some(old) if is_branch && goes_forwards(backend, &old, &new)? => ("forwards", None),
            Some(_) if import.force => ("forced", None),
            Some(_) => (
                "stays",
                Some("it would lose what it points to; --force moves it"),
            ),
        };
        match what {
            "stays" => code = 1,
            _ => edits.push(RefEdit {
                name: name.clone(),
                expect: old.map_or(Expect::Missing, Expect::Is),
                new: Some(new),
            }),
        }
        told.push((what, name, old, new, why));
    }
    place.repo.update(&edits)?;
    place.repo.flush()?;
    for (what, name, old, new, why) in told {
        tell(out, what, &name, (old, Some(new)), why)?;
    }
    Ok(code)
}

fn goes_forwards(backend: &dyn Backend, old: &Id, new: &Id) -> Result<bool> {
    walk::is_ancestor(backend, old, new).map_err(Failure::broken)
}

/// Reads all up to the empty line before the pack.
fn header(place: &Place, from: &mut impl BufRead) -> Result<Header> {
    let wrong = |what: String| {
        Failure::broken_with(what, "give a file that `irmin export` or `git bundle` made")
    };
    let mut line = || -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let read = from.take(LONGEST).read_until(b'\n', &mut line);
        read.map_err(|error| wrong(format!("the bundle cannot be read: {error}")))?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(wrong("the file is no bundle, or is cut off".into())),
        }
    };
    let version = match &line()?[..] {
        b"# v2 git bundle" => 2,
        b"# v3 git bundle" => 3,
        _ => return Err(wrong("the file is no bundle of version 2 or 3".into())),
    };
    let mut format = Some(irmin::Format::GitSha1);
    let mut header = Header::default();
    let mut seen = HashSet::new();
    for _ in 0..MOST {
        let line = line()?;
        if line.is_empty() {
            let here = place.repo.format();
            if format != Some(here) {
                return Err(Failure::broken_with(
                    format!(
                        "the bundle is of another format than this store, {}",
                        format_name(here)
                    ),
                    "import it into a store of its format, and `irmin convert` that",
                ));
            }
            return Ok(header);
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(capability) = text.strip_prefix('@').filter(|_| version == 3) {
            match capability.strip_prefix("object-format=") {
                Some(named) => format = format_named(named),
                None => {
                    return Err(wrong(format!(
                        "the bundle needs {}, which is not known here",
                        quoted(capability.as_bytes())
                    )));
                }
            }
            continue;
        }
        let bad = || wrong(format!("the bundle's header is wrong: {}", quoted(&line)));
        let (needed, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, &text[..]),
        };
        let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let id: Id = id.parse().map_err(|_| bad())?;
        if needed {
            header.needed.push(id);
            continue;
        }
        let name = RefName::new(name).map_err(|_| bad())?;
        // HEAD is for who clones.
        if name.as_str().starts_with("refs/") && seen.insert(name.clone()) {
            header.names.push((name, id));
        }
    }
    Err(wrong("the bundle has more names than anybody needs".into()))
}

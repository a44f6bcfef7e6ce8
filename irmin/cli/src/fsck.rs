//! `irmin fsck`: everything looked at.

use std::collections::HashSet;
use std::path::Path;

use irmin::{BackendError, Id, Kind, check_object, links};
use irmin_pack::Pack;
use serde_json::json;

use crate::cli::Fsck;
use crate::failure::{Failure, Result};
use crate::output::{Output, harmless, note};
use crate::place::{self, Found, Place};
use crate::progress::Progress;

/// `irmin fsck`.
pub fn fsck(repo: Option<&Path>, fsck: &Fsck, out: &mut Output) -> Result<u8> {
    let mut findings = Findings { out, count: 0 };
    let mut is_damaged = false;
    let place = match place::locate(repo)? {
        Found::Git(_) if fsck.repair => {
            return Err(Failure::broken_with(
                "only native stores can be repaired",
                "restore a Git repository from another copy, or fetch from it what is missing",
            ));
        }
        Found::Git(_) => Place::find(repo)?,
        Found::Native(folder) => {
            let files = place::files(&folder)?;
            let opened = match fsck.repair {
                true => Pack::repair(files),
                false => Pack::inspect(files),
            };
            let pack = match opened {
                Ok((pack, report)) => {
                    for damage in &report.damage {
                        findings.tell("damaged", None, &damage.to_string())?;
                    }
                    pack
                }
                Err(BackendError::Corrupt { what }) => {
                    findings.tell("damaged", None, &what)?;
                    return findings.end(NOTHING_LEFT);
                }
                // It has segments, and none that begins as one does.
                Err(BackendError::Refused { .. }) => {
                    let what = format!("{}: no segment can be read", place::shown(&folder));
                    findings.tell("damaged", None, &what)?;
                    return findings.end(NOTHING_LEFT);
                }
                Err(error) => return Err(error.into()),
            };
            is_damaged = findings.count > 0 && !fsck.repair;
            Place::of_pack(pack, folder)
        }
    };
    // Git's own check reads all of it once, and says in words what is wrong.
    let whole = match &place.kind {
        place::Kind::Git(git) => {
            let progress = Progress::new("checking objects", None);
            Some(git.check(&mut |done| progress.set(done)))
        }
        place::Kind::Native(_) => None,
    };
    if let Some(Ok(report)) = &whole
        && report.problems.is_empty()
    {
        return Ok(0);
    }
    let damaged = objects(&place, &mut findings)?;
    reachable(&place, &damaged, &mut findings)?;
    if let (Some(report), 0) = (whole, findings.count) {
        // The objects are fine; what is left are packs, indexes and the commit-graph themselves.
        for problem in &report?.problems {
            findings.tell("damaged", None, problem)?;
        }
    }
    findings.end(match is_damaged {
        true => "`irmin fsck --repair` saves what can be read",
        false => "restore what is missing from another copy (fetch, or `irmin convert`)",
    })
}

/// What to do where nothing can be saved.
const NOTHING_LEFT: &str = "restore the store from another copy, or clone it anew";

/// What was found, told as it comes.
struct Findings<'a> {
    out: &'a mut Output,
    count: u64,
}

impl Findings<'_> {
    fn tell(&mut self, finding: &str, id: Option<&Id>, what: &str) -> Result<()> {
        self.count += 1;
        let id = id.map(Id::to_string);
        match self.out.json {
            true => self
                .out
                .value(&json!({ "finding": finding, "id": id, "what": what }))?,
            false => {
                let id = id.map_or(String::new(), |id| id + " ");
                let what = harmless(what).replace('\n', " ");
                self.out.line(format!("{finding} {id}{what}").trim_end())?;
            }
        }
        Ok(())
    }

    fn end(self, help: &str) -> Result<u8> {
        if self.count > 0 && !self.out.json {
            self.out.flush()?;
            note(format_args!("help: {help}"));
        }
        Ok(u8::from(self.count > 0))
    }
}

/// Reads every object; which of them are not what they should be.
fn objects(place: &Place, findings: &mut Findings<'_>) -> Result<HashSet<Id>> {
    let format = place.repo.format();
    let backend = place.repo.backend();
    let ids = backend.ids("", usize::MAX)?;
    let progress = Progress::new("checking objects", Some(ids.len() as u64));
    let mut damaged = HashSet::new();
    for id in ids {
        progress.add(1);
        let wrong = match backend.read(&id) {
            // It was collected since.
            Ok(None) => continue,
            Ok(Some(object)) => match (format.id(object.kind, &object.data), object.kind) {
                (Ok(found), _) if found == id => match check_object(format, &object) {
                    Ok(()) => continue,
                    Err(error) => {
                        findings.tell("bad", Some(&id), &error.to_string())?;
                        continue;
                    }
                },
                (Ok(found), kind) => format!("its bytes are those of the {kind} {found}"),
                (Err(attack), _) => attack.to_string(),
            },
            Err(BackendError::Corrupt { what }) => what,
            Err(error) => return Err(error.into()),
        };
        findings.tell("damaged", Some(&id), &wrong)?;
        damaged.insert(id);
    }
    Ok(damaged)
}

/// Follows all names to what they lead to.
fn reachable(place: &Place, damaged: &HashSet<Id>, findings: &mut Findings<'_>) -> Result<()> {
    let format = place.repo.format();
    let backend = place.repo.backend();
    let cut: HashSet<Id> = backend.shallow()?.into_iter().collect();
    let mut seen = HashSet::new();
    let mut open: Vec<(Id, Option<Kind>, String)> = Vec::new();
    for (name, id) in backend.heads("")? {
        open.push((id, None, name.to_string()));
    }
    let progress = Progress::new("checking connections", None);
    while let Some((id, kind, from)) = open.pop() {
        if damaged.contains(&id) || !seen.insert(id) {
            continue;
        }
        progress.add(1);
        // Contents are told apart without being read again.
        let is_there = match kind {
            Some(Kind::Blob) => backend.contains(&id)?,
            _ => match backend.read(&id) {
                Ok(None) => false,
                Ok(Some(object)) if kind.is_some_and(|kind| kind != object.kind) => {
                    let kind = kind.map_or("", Kind::name);
                    let what = format!("is a {}; {from} needs a {kind}", object.kind);
                    findings.tell("wrong", Some(&id), &what)?;
                    true
                }
                Ok(Some(object)) => {
                    let from = format!("the {} {id}", object.kind);
                    // One that means nothing was told of before.
                    let _ = links(format, &object, &|id| cut.contains(id), &mut |link| {
                        open.push((link.id, Some(link.kind), from.clone()));
                    });
                    true
                }
                Err(BackendError::Corrupt { what }) => {
                    findings.tell("damaged", Some(&id), &what)?;
                    true
                }
                Err(error) => return Err(error.into()),
            },
        };
        if !is_there {
            let kind = kind.map_or("an object", |kind| match kind {
                Kind::Blob => "a blob",
                Kind::Tree => "a tree",
                Kind::Commit => "a commit",
                Kind::Tag => "a tag",
            });
            findings.tell("missing", Some(&id), &format!("{kind} that {from} needs"))?;
        }
    }
    Ok(())
}

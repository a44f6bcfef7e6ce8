//! `receive-pack`: what takes pushes.

use std::io::{Read, Write};

use irmin::{BackendError, Commit, Expect, Id, Kind, Object, RefEdit, RefName, UpdateError};
use irmin_packfile::TakeOptions;

use super::upload::{Line, Lines};
use super::{Host, Out, ServerError, id, refused, tell};
use crate::pktline::{MAX_DATA, Writer};
use crate::text::one_line;
use crate::walk::{self, WalkError};

/// So many bytes say why a name does not move.
const WHY_MAX: usize = 1000;

/// One name that the client wants to move, and what is known of it so far.
pub(super) struct Command {
    text: String,
    old: Option<Id>,
    new: Option<Id>,
    /// The name, or why it does not move.
    pub name: Result<RefName, String>,
}

/// What a client asks for.
pub(super) struct Asked {
    /// As it says it, if that is kept.
    pub lines: Vec<String>,
    pub moves: Vec<Command>,
    options: Vec<String>,
}

impl Asked {
    fn has(&self, wanted: &str) -> bool {
        self.options.iter().any(|option| option == wanted)
    }
}

/// Takes a push from a client that was told the names ([`advertise`](super::advertise)): what is to
/// move, and the pack. Waits for what the client says.
///
/// # Errors
/// [`ServerError`] if there was no push, or its end is not known to the client. That a name did not
/// move is no error: the report says so.
pub fn receive_pack(
    host: &Host<'_>,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let mut out = Writer::new(out);
    let result = receive(host, &mut Lines::new(input), &mut out);
    tell(result, &mut out)
}

fn receive(host: &Host<'_>, lines: &mut Lines<'_>, out: &mut Out<'_>) -> Result<(), ServerError> {
    let mut asked = commands(host, lines, false)?;
    if asked.moves.is_empty() {
        return Ok(());
    }
    judge(host, &mut asked.moves)?;
    let unpacked = match asked.moves.iter().any(|command| command.new.is_some()) {
        true => take(host, lines.rest()),
        false => Ok(()),
    };
    let is_atomic = asked.has("atomic");
    match &unpacked {
        Ok(()) => update(host, &mut asked.moves, is_atomic)?,
        Err(_) => (asked.moves.iter_mut()).for_each(|command| refuse(command, "unpacker error")),
    }
    report(&unpacked, &asked, out)
}

/// Tells what became of the pack and of each name, if the client wants to know.
pub(super) fn report(
    unpacked: &Result<(), String>,
    asked: &Asked,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    if asked.has("report-status") || asked.has("report-status-v2") {
        let mut report = Writer::new(Vec::new());
        let unpacked = unpacked.as_ref().map_or_else(
            |error| one_line(error.as_bytes(), WHY_MAX),
            |()| "ok".into(),
        );
        report.line(format_args!("unpack {unpacked}"))?;
        for command in &asked.moves {
            match &command.name {
                Ok(name) => report.line(format_args!("ok {name}"))?,
                Err(why) => {
                    // A name that is none may fill a line by itself.
                    let room = MAX_DATA.saturating_sub(command.text.len() + "ng  \n".len());
                    let why = one_line(why.as_bytes(), room.min(WHY_MAX));
                    report.line(format_args!("ng {} {why}", command.text))?;
                }
            }
        }
        report.flush_packet()?;
        let report = report.into_inner();
        match asked.has("side-band-64k") {
            true => {
                out.band(1, &report)?;
                out.flush_packet()?;
            }
            false => out.get_mut().write_all(&report)?,
        }
    }
    out.flush()?;
    Ok(())
}

/// Reads what is to move, and what the client can do.
pub(super) fn commands(
    host: &Host<'_>,
    lines: &mut Lines<'_>,
    are_kept: bool,
) -> Result<Asked, ServerError> {
    let mut asked = Asked {
        lines: Vec::new(),
        moves: Vec::new(),
        options: Vec::new(),
    };
    loop {
        let line = match lines.packet()? {
            None | Some(Line::Flush) => break,
            Some(Line::Text(line)) => line,
            Some(Line::Delimiter) => return refused("a delimiter has no meaning here"),
        };
        if are_kept {
            asked.lines.push(line.clone());
        }
        let line = match line.split_once('\0') {
            Some((line, given)) if asked.moves.is_empty() => {
                asked.options = given.split(' ').map(Into::into).collect();
                line.to_string()
            }
            _ => line,
        };
        // Where the client's history ends: whether ours would end there too is seen below.
        if line.starts_with("shallow ") {
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return refused(format!("{line:?} is no move of a name"));
        };
        let end = |text: &str| -> Result<Option<Id>, ServerError> {
            let id = id(host, text)?;
            Ok(Some(id).filter(|id| id.as_bytes().iter().any(|&b| b != 0)))
        };
        let checked = RefName::new(name)
            .ok()
            .filter(|checked| checked.as_str().starts_with("refs/"));
        asked.moves.push(Command {
            text: name.into(),
            old: end(old)?,
            new: end(new)?,
            name: checked.ok_or_else(|| "funny refname".into()),
        });
    }
    Ok(asked)
}

pub(super) fn refuse(command: &mut Command, why: &str) {
    if command.name.is_ok() {
        command.name = Err(why.into());
    }
}

/// Refuses what this client may not move.
pub(super) fn keep_out(host: &Host<'_>, commands: &mut [Command]) {
    for command in commands {
        let Ok(name) = &command.name else { continue };
        let why = if !host.gate.may_read(name) {
            // The name may be there, or not: this client is not to know.
            "not among the names that may be seen here"
        } else if !host.gate.may_write(name) {
            "this token may not write it"
        } else {
            continue;
        };
        refuse(command, why);
    }
}

/// Refuses what may not move, whatever comes in.
fn judge(host: &Host<'_>, commands: &mut [Command]) -> Result<(), ServerError> {
    keep_out(host, commands);
    let backend = host.repo.backend();
    let checked_out = backend.default_branch()?;
    for command in commands {
        let Ok(name) = &command.name else { continue };
        let why = if *name == checked_out && command.new.is_none() {
            "deletion of the current branch prohibited"
        } else if *name == checked_out && host.policy.has_work_tree && command.new.is_some() {
            "branch is currently checked out"
        } else {
            continue;
        };
        refuse(command, why);
    }
    Ok(())
}

/// Takes the pack in.
fn take(host: &Host<'_>, input: &mut dyn Read) -> Result<(), String> {
    let taken = host.store.take_pack(input, TakeOptions::default());
    taken.map(drop).map_err(|error| error.to_string())
}

/// Moves the names: each by itself, or all or none.
fn update(host: &Host<'_>, commands: &mut [Command], is_atomic: bool) -> Result<(), ServerError> {
    refuse_where(host, commands, objection)?;
    connect(host, commands)?;
    refuse_where(host, commands, loss)?;
    if is_atomic {
        let result = match commands.iter().all(|command| command.name.is_ok()) {
            true => move_names(host, commands),
            false => Err("atomic push failed".to_string()),
        };
        if let Err(why) = result {
            commands
                .iter_mut()
                .for_each(|command| refuse(command, &why));
        }
    } else {
        for command in &mut *commands {
            if command.name.is_ok()
                && let Err(why) = move_names(host, std::slice::from_ref(command))
            {
                refuse(command, &why);
            }
        }
    }
    // What the client is told of must survive.
    host.repo.flush()?;
    Ok(())
}

fn move_names(host: &Host<'_>, commands: &[Command]) -> Result<(), String> {
    let edits = commands.iter().filter_map(|command| {
        let name = command.name.clone().ok()?;
        Some(RefEdit {
            name,
            expect: Expect::from(command.old),
            new: command.new,
        })
    });
    let edits: Vec<RefEdit> = edits.collect();
    host.repo.update(&edits).map_err(|error| match error {
        UpdateError::Moved { found, .. } => match found {
            Some(found) => format!("it moved meanwhile, to {found}; fetch first"),
            None => "it is gone; fetch first".into(),
        },
        error => error.to_string(),
    })
}

/// Refuses the names to which `why` objects: it is asked of those that are to point somewhere.
fn refuse_where(
    host: &Host<'_>,
    commands: &mut [Command],
    mut why: impl FnMut(&Host<'_>, &RefName, Id, Option<Id>) -> Result<Option<String>, ServerError>,
) -> Result<(), ServerError> {
    for command in commands {
        if let (Ok(name), Some(new)) = (&command.name, command.new)
            && let Some(why) = why(host, name, new, command.old)?
        {
            refuse(command, &why);
        }
    }
    Ok(())
}

/// Why the name must not point to this object, whatever is behind that.
fn objection(
    host: &Host<'_>,
    name: &RefName,
    new: Id,
    _: Option<Id>,
) -> Result<Option<String>, ServerError> {
    Ok(match host.store.read(&new)? {
        None => Some("the object was not sent, and is not here".into()),
        Some(object) if is_branch(name) && object.kind != Kind::Commit => Some(format!(
            "a branch points to a commit, and this is a {}",
            object.kind
        )),
        Some(_) => None,
    })
}

/// Why the branch must not leave what it points to.
fn loss(
    host: &Host<'_>,
    name: &RefName,
    new: Id,
    old: Option<Id>,
) -> Result<Option<String>, ServerError> {
    let Some(old) = old.filter(|_| host.policy.only_forwards && is_branch(name)) else {
        return Ok(None);
    };
    let follows = match (host.repo.commit(&new), host.repo.commit(&old)) {
        (Ok(new), Ok(old)) => Commit::has_ancestor(&new, &old)?,
        _ => false,
    };
    Ok((!follows).then(|| "non-fast-forward".into()))
}

fn is_branch(name: &RefName) -> bool {
    name.as_str().starts_with("refs/heads/")
}

/// Refuses the names behind whose objects something is missing or wrong.
fn connect(host: &Host<'_>, commands: &mut [Command]) -> Result<(), ServerError> {
    let moving = commands.iter().filter(|command| command.name.is_ok());
    let all: Vec<Id> = moving.filter_map(|command| command.new).collect();
    if all.is_empty() {
        return Ok(());
    }
    let mut known = walk::tips(host.repo.backend())?;
    // One walk for all of them, and only if it finds something one for each, to tell which it is.
    if incomplete(host, &all, &known)?.is_none() {
        return Ok(());
    }
    refuse_where(host, commands, |host, _, new, _| {
        let why = incomplete(host, &[new], &known)?;
        if why.is_none() {
            known.push(new);
        }
        Ok(why)
    })
}

/// What is missing or wrong among all that is new behind these objects.
fn incomplete(host: &Host<'_>, new: &[Id], known: &[Id]) -> Result<Option<String>, ServerError> {
    let backend = host.repo.backend();
    let wrong = |object: &Object| {
        let error = irmin::check_object(host.format(), object).err()?;
        Some(format!("{}: {error}", object.id))
    };
    let mut check = |object: &Object| match wrong(object) {
        Some(what) => Err(BackendError::Corrupt { what }.into()),
        None => Ok(()),
    };
    let mut options = walk::Options {
        check: Some(&mut check),
        ..walk::Options::default()
    };
    let found = match walk::found(backend, new, known, &mut options) {
        Ok(found) => found,
        Err(WalkError::Missing { id, kind }) => return Ok(Some(missing(kind, &id))),
        Err(WalkError::Backend(BackendError::Corrupt { what })) => return Ok(Some(what)),
        Err(error) => return Err(error.into()),
    };
    for id in &found.first {
        match backend.read(id)?.as_ref().map(wrong) {
            Some(None) => {}
            Some(why) => return Ok(why),
            None => return Ok(Some(missing(Kind::Commit, id))),
        }
    }
    for id in &found.blobs {
        if !backend.contains(id)? {
            return Ok(Some(missing(Kind::Blob, id)));
        }
    }
    Ok(None)
}

fn missing(kind: Kind, id: &Id) -> String {
    format!("missing necessary objects, such as {kind} {id}")
}

//! `irmin watch`.

use std::sync::mpsc;
use std::time::Duration;

use irmin::{Event, Id, Path};
use serde_json::json;

use crate::cli::{self, After};
use crate::failure::Result;
use crate::output::Output;
use crate::place::Place;
use crate::tree::{difference_line, difference_value, path};
use crate::write::branch;

/// How often the repository's names are looked at where nobody tells that they moved.
const PERIOD: Duration = Duration::from_millis(100);
/// How often where somebody does, for file systems on which others' changes go unnoticed.
const RARELY: Duration = Duration::from_secs(5);

/// `irmin watch`.
pub fn watch(place: &Place, watch: &cli::Watch, out: &mut Output) -> Result<u8> {
    let branch = branch(place, watch.branch.as_deref())?;
    let prefix = path(watch.path.as_deref().unwrap_or_default())?;
    let mut watching = match watch.after {
        Some(After(position)) => {
            if let Some(id) = position.head {
                // That it is not here is told now, not at the first change.
                place.repo.resolve(&id.to_string())?;
            }
            branch.watch_after(prefix.clone(), position)?
        }
        None => branch.watch(prefix.clone())?,
    };
    let (tell_moved, moved) = mpsc::sync_channel(1);
    // Kept here, so that the waiting below ends by time where the hook is dropped.
    let _kept = tell_moved.clone();
    let is_told = place.repo.backend().on_change(Box::new(move || {
        // One that waits to be looked at stands for this one too.
        !matches!(
            tell_moved.try_send(()),
            Err(mpsc::TrySendError::Disconnected(()))
        )
    }));
    let period = match is_told {
        true => RARELY,
        false => PERIOD,
    };
    let start = watching.position();
    match out.json {
        true => out.value(&json!({
            "sequence": start.sequence,
            "branch": branch.name().short(),
            "commit": start.head.map(|id| id.to_string()),
        }))?,
        false => out.line(format_args!("{} at {}", start.sequence, shown(start.head)))?,
    }
    out.flush()?;
    let mut told = 0;
    while watch.count.is_none_or(|count| told < count) {
        match watching.try_next()? {
            Some(event) => {
                tell(&event, &prefix, out)?;
                out.flush()?;
                told += 1;
            }
            None => {
                // Told or not, it is time to look.
                let _ = moved.recv_timeout(period);
                place.repo.poll_watches()?;
            }
        }
    }
    Ok(0)
}

fn shown(id: Option<Id>) -> String {
    id.map_or("-".into(), |id| id.to_string())
}

fn tell(event: &Event, prefix: &Path, out: &mut Output) -> Result<()> {
    let sequence = event.position().sequence;
    let (old, new) = (event.before(), event.after());
    let [old, new] = [old, new].map(|commit| commit.as_ref().map(|commit| commit.id()));
    if !out.json {
        out.line(format_args!("{sequence} {} {}", shown(old), shown(new)))?;
    }
    let mut changes = Vec::new();
    for change in event.changes() {
        let mut change = change?;
        if !prefix.is_root() {
            let below = [prefix.as_bytes(), b"/", change.path.as_bytes()].concat();
            change.path = Path::new(below)?;
        }
        match out.json {
            true => changes.push(difference_value(&change)),
            false => out.line(difference_line(&change))?,
        }
    }
    if out.json {
        out.value(&json!({
            "sequence": sequence,
            "old": old.map(|id| id.to_string()),
            "new": new.map(|id| id.to_string()),
            "changes": changes,
        }))?;
    }
    Ok(())
}

//! `irmin gc`: space given back.

use irmin_git::GcOptions;
use irmin_pack::Collected;
use serde_json::json;

use crate::failure::Result;
use crate::output::Output;
use crate::place::{Kind, Place};
use crate::progress::Progress;

/// `irmin gc`.
pub fn gc(place: &Place, out: &mut Output) -> Result<u8> {
    let progress = Progress::new("collecting objects", None);
    match &place.kind {
        Kind::Git(git) => {
            let mut show = |done| progress.set(done);
            let done = git.gc(GcOptions {
                progress: Some(&mut show),
                ..GcOptions::default()
            })?;
            match out.json {
                true => out.value(&json!({
                    "packed": done.objects,
                    "kept": done.kept,
                    "dropped": done.dropped,
                    "packs": done.packs,
                    "commits": done.commits,
                }))?,
                false => out.line(format_args!(
                    "packed {}, dropped {}, kept {} that no name leads to for a while",
                    count(done.objects, "object"),
                    count(done.dropped, "object"),
                    count(done.kept, "object")
                ))?,
            }
        }
        Kind::Native(pack) => {
            // What was written since the collection before is kept, for names that are about to move.
            // Nobody moves any here: the second one drops all that no name leads to.
            let (first, second) = (pack.collect()?, pack.collect()?);
            let done = Collected {
                objects: first.objects + second.objects,
                packed: first.packed + second.packed,
                segments: first.segments + second.segments,
                moved: first.moved + second.moved,
            };
            match out.json {
                true => out.value(&json!({
                    "packed": done.packed,
                    "dropped": done.objects,
                    "segments": done.segments,
                    "moved": done.moved,
                }))?,
                false => out.line(format_args!(
                    "compressed {}, dropped {}, gave back {}",
                    count(done.packed, "object"),
                    count(done.objects, "object"),
                    count(done.segments, "segment")
                ))?,
            }
        }
    }
    Ok(0)
}

fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

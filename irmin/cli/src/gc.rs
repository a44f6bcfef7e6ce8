//! `irmin gc`: space given back.

use irmin::references;
use irmin_pack::Collected;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::place::{Kind, Place};

/// `irmin gc`.
pub fn gc(place: &Place, out: &mut Output) -> Result<u8> {
    match &place.kind {
        Kind::Git => Err(Failure::usage(
            "irmin gc is for native stores",
            "git gc does it for Git repositories; irmin may be at work beside it",
        )),
        Kind::Native(pack) => {
            let format = place.repo.format();
            let collect =
                || pack.collect(&mut |object, into| references(format, object, &|_| false, into));
            // What was written since the collection before is kept, for names that are about to move.
            // Nobody moves any here: the second one drops all that no name leads to.
            let (first, second) = (collect()?, collect()?);
            let done = Collected {
                objects: first.objects + second.objects,
                segments: first.segments + second.segments,
                moved: first.moved + second.moved,
                packed: first.packed + second.packed,
            };
            match out.json {
                true => out.value(&json!({
                    "objects": done.objects,
                    "segments": done.segments,
                    "moved": done.moved,
                    "packed": done.packed,
                }))?,
                false => out.line(format_args!(
                    "dropped {} objects, gave back {} segments ({} bytes were moved for that)",
                    done.objects, done.segments, done.moved
                ))?,
            }
            Ok(0)
        }
    }
}

//! The versions of a renamed file, brought together where it is now.

use alloc::format;

use super::changes::is_file;
use super::dirs::Rename;
use super::settle::Contents;
use super::{BASE, Item, Merging, SIDES};
use crate::merge::{MergeError, Why};
use crate::{Entry, Path};

impl Merging<'_> {
    /// Goes through the renames, by their old paths.
    pub(super) fn follow(&mut self, renames: alloc::vec::Vec<Rename>) -> Result<(), MergeError> {
        let mut renames = renames.into_iter().peekable();
        while let Some(Rename { side, old, new }) = renames.next() {
            // Moved along with its directory, perhaps back to where it was; or the other side has not
            // changed it.
            if old == new || !self.is_open(&old) {
                continue;
            }
            match renames.next_if(|next| next.old == old) {
                Some(other) => self.both_renamed(&old, &new, &other.new)?,
                None => self.one_renamed(side, &old, &new)?,
            }
        }
        Ok(())
    }

    fn is_open(&self, path: &Path) -> bool {
        self.items
            .get(path)
            .is_some_and(|item| item.outcome.is_none())
    }

    fn item(&mut self, path: &Path) -> &mut Item {
        self.items.entry(path.clone()).or_default()
    }

    /// Both sides renamed a file.
    fn both_renamed(&mut self, old: &Path, ours: &Path, theirs: &Path) -> Result<(), MergeError> {
        if !self.is_open(ours) || !self.is_open(theirs) {
            return Ok(());
        }
        let base = self.items[old].stages[0].clone();
        if ours == theirs {
            let item = self.item(ours);
            item.stages[0] = base;
            item.files |= BASE;
            self.item(old).outcome = Some(None);
            return Ok(());
        }
        let stages = [
            base,
            self.items[ours].stages[1].clone(),
            self.items[theirs].stages[2].clone(),
        ];
        let [_, our_version, their_version] = stages.clone();
        let merged = self.contents(Contents {
            path: old,
            stages,
            from: [old, ours, theirs],
            extra_marks: 1 + 2 * self.depth,
        })?;
        // What cannot be merged stays at either place as it is there.
        let is_ours = !merged.is_clean && merged.entry == our_version;
        self.item(ours).stages[1] = merged.entry.clone();
        self.item(theirs).stages[2] = if is_ours { their_version } else { merged.entry };
        let [our_name, their_name] = self.names;
        let why =
            format!("{old} was renamed to {ours} in {our_name} and to {theirs} in {their_name}");
        for path in [old, ours, theirs] {
            self.item(path).contradiction = Some(Why::Renamed(why.clone()));
        }
        Ok(())
    }

    /// One side renamed a file.
    fn one_renamed(&mut self, side: usize, old: &Path, new: &Path) -> Result<(), MergeError> {
        if !self.is_open(new) {
            return Ok(());
        }
        let (target, other) = (side + 1, 2 - side);
        let source = self.items[old].clone();
        let there = &self.items[new];
        let is_removed = source.files & SIDES[1 - side] == 0;
        let is_plain =
            |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| is_file(entry.mode));
        let is_other_kind =
            !is_removed && is_plain(&source.stages[other]) != is_plain(&there.stages[target]);
        // A file of the other side is there, and not of another kind: else that is the rest of a rename.
        let collides = there.files & SIDES[1 - side] != 0 && !is_other_kind;
        let name = |side: usize| self.names[side];
        let removed = Why::Renamed(format!(
            "{old} was renamed to {new} in {} and removed in {}",
            name(side),
            name(1 - side)
        ));
        match (collides, is_removed) {
            (true, false) => {
                let mut stages = source.stages.clone();
                stages[target] = there.stages[target].clone();
                let mut from = [old; 3];
                from[target] = new;
                let merged = self.contents(Contents {
                    path: old,
                    stages,
                    from,
                    extra_marks: 1 + 2 * self.depth,
                })?;
                self.item(new).stages[target] = merged.entry;
            }
            (true, true) => self.item(new).contradiction = Some(removed),
            (false, _) => {
                let item = self.item(new);
                item.stages[0] = source.stages[0].clone();
                item.files |= BASE;
                item.from[0] = Some(old.clone());
                if is_other_kind {
                    let source = self.item(old);
                    source.stages[0] = None;
                    source.files &= !BASE;
                    return Ok(());
                }
                if is_removed {
                    item.contradiction = Some(removed);
                } else {
                    item.stages[other] = source.stages[other].clone();
                    item.files |= SIDES[1 - side];
                    item.from[other] = Some(old.clone());
                }
            }
        }
        self.item(old).outcome = Some(None);
        Ok(())
    }
}

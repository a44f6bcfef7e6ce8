//! Git's trees as native ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use irmin::raw::{Mode, TreeEntries, git_order};
use irmin::{Id, Kind, Object, Tree};

use super::odd::{Name, Odd};
use super::{DEEPEST, Trees, damaged, push_entry, read};
use crate::failure::{Failure, Result};
use crate::place::Place;

pub struct ToNative<'a> {
    from: &'a Place,
    to: &'a Place,
    /// What stands for trees that are written.
    made: HashMap<Id, Id>,
    /// The same for those that are not written yet.
    fresh: HashMap<Id, Tree>,
    /// What is odd in a tree, and whether it holds nothing that is kept: for those where it is so.
    odd: HashMap<Id, (Arc<Odd>, bool)>,
}

type Entries = BTreeMap<Vec<u8>, (Mode, Id)>;

/// Names and digits of modes that are written in another way than today's.
type OldModes = BTreeMap<Vec<u8>, Vec<u8>>;

impl<'a> ToNative<'a> {
    pub fn new(from: &'a Place, to: &'a Place) -> ToNative<'a> {
        ToNative {
            from,
            to,
            made: HashMap::new(),
            fresh: HashMap::new(),
            odd: HashMap::new(),
        }
    }

    /// The entries of a tree that comes back bit for bit from them.
    fn entries(&self, id: &Id) -> Result<(Entries, OldModes)> {
        let format = self.from.repo.format();
        let object = read(self.from, id)?;
        let mut entries = Vec::new();
        let mut old = OldModes::new();
        for entry in TreeEntries::new(format, &object.data) {
            let entry = entry.map_err(|error| damaged(id, error))?;
            let rest = 1 + entry.name.len() + 1 + format.id_len();
            let digits = &entry.bytes[..entry.bytes.len() - rest];
            if digits != entry.mode.digits().as_bytes() {
                old.insert(entry.name.to_vec(), digits.to_vec());
            }
            entries.push((entry.name.to_vec(), (entry.mode, entry.id)));
        }
        entries.sort_by(|(a, (a_mode, _)), (b, (b_mode, _))| {
            git_order(a, *a_mode == Mode::Dir, b, *b_mode == Mode::Dir)
        });
        let mut again = Vec::with_capacity(object.data.len());
        for (name, (mode, id)) in &entries {
            let digits = old.get(name).map_or(mode.digits().as_bytes(), |old| old);
            push_entry(&mut again, digits, name, id);
        }
        let count = entries.len();
        let entries: Entries = entries.into_iter().collect();
        if again != object.data || entries.len() != count {
            return Err(damaged(
                id,
                "its entries are not in Git's order, in which they would come back",
            ));
        }
        Ok((entries, old))
    }

    fn convert(&mut self, id: &Id, like: Option<(&Id, Tree)>, depth: usize) -> Result<Tree> {
        if let Some(made) = self.made.get(id) {
            return Ok(self.to.repo.tree(made));
        }
        if let Some(fresh) = self.fresh.get(id) {
            return Ok(fresh.clone());
        }
        if depth > DEEPEST {
            return Err(damaged(
                id,
                format_args!("it is more than {DEEPEST} directories deep"),
            ));
        }
        let (new, mut modes) = self.entries(id)?;
        let (old, base) = match like {
            Some((id, base)) => (self.entries(id)?.0, base),
            None => (Entries::new(), self.to.repo.empty_tree()),
        };
        let mut edit = base.edit();
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            edit.remove(name)?;
        }
        for (name, (mode, id)) in &new {
            let before = old.get(name);
            if before == Some(&(*mode, *id)) {
                continue;
            }
            let was_dir = before.filter(|(mode, _)| *mode == Mode::Dir);
            if *mode == Mode::Dir {
                let like = match was_dir {
                    Some((_, before)) => base.dir(name)?.map(|tree| (before, tree)),
                    None => None,
                };
                let inside = self.convert(id, like, depth + 1)?;
                edit.set_dir(name, &inside)?;
                continue;
            }
            if was_dir.is_some() {
                edit.remove(name)?;
            }
            match mode {
                Mode::Module => edit.set_module(name, *id)?,
                mode => edit.set_mode(name, *mode, read(self.from, id)?.data)?,
            }
        }
        let tree = edit.finish()?;
        let mut odd = Odd::default();
        for (name, (mode, id)) in &new {
            let mut found = Name {
                digits: modes.remove(name),
                below: Arc::default(),
            };
            if let (Mode::Dir, Some((below, is_empty))) = (mode, self.odd.get(id)) {
                found.below = below.clone();
                if *is_empty && found.digits.is_none() {
                    found.digits = Some(mode.digits().into());
                }
            }
            if found != Name::default() {
                odd.0.insert(name.clone(), found);
            }
        }
        let is_empty = tree.is_empty()?;
        if is_empty || !odd.is_empty() {
            self.odd.insert(*id, (Arc::new(odd), is_empty));
        }
        self.fresh.insert(*id, tree.clone());
        Ok(tree)
    }
}

impl Trees for ToNative<'_> {
    fn tree(&mut self, id: &Id, like: Option<&Id>, _: Arc<Odd>) -> Result<(Id, Arc<Odd>)> {
        let like = like.and_then(|like| Some((like, self.to.repo.tree(self.made.get(like)?))));
        let tree = self.convert(id, like, 0)?;
        self.to.repo.write_tree(&tree)?;
        let fresh = self.fresh.drain();
        self.made.extend(fresh.map(|(id, tree)| (id, tree.id())));
        let odd = self.odd.get(id).map(|(odd, _)| odd.clone());
        Ok((tree.id(), odd.unwrap_or_default()))
    }

    fn blob(&mut self, id: &Id) -> Result<Id> {
        let object = Object::new(self.to.repo.format(), Kind::Blob, read(self.from, id)?.data);
        let object = object.map_err(Failure::broken)?;
        let id = object.id;
        self.write(object)?;
        Ok(id)
    }

    fn write(&mut self, object: Object) -> Result<()> {
        Ok(self.to.repo.backend().write(&[object])?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

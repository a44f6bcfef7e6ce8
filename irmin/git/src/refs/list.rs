//! Which names there are, and whether any has moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use irmin::{Id, RefName};

use super::{Refs, Target, UNPOISONED};
use crate::error::{Result, io, optional};
use crate::file::Stamp;

/// One folder of loose files.
pub(super) struct Folder {
    stamp: Stamp,
    settled: bool,
    /// File names with what stands in them.
    files: Vec<(String, Result<Target>)>,
    folders: Vec<String>,
}

/// Folders in one another beyond any name's length.
const MAX_NESTED: usize = 512;

impl Refs {
    /// All names that begin so, by name; symbolic ones left out.
    pub(crate) fn heads(&self, prefix: &str) -> Result<Vec<(RefName, Id)>> {
        // Loose first, then packed: a name that is packed in between is seen twice, not never.
        let (mut found, mut symbolic) = (BTreeMap::new(), BTreeSet::new());
        self.walk(prefix, &mut |name, target| {
            let Ok(name) = RefName::new(name) else {
                return Ok(());
            };
            match target.clone()? {
                Target::Id(id) => drop(found.insert(name, id)),
                Target::Name(_) => drop(symbolic.insert(name)),
            }
            Ok(())
        })?;
        for line in self.packed()?.under(prefix) {
            // Names that Git itself would not make cannot be asked for here.
            let name = std::str::from_utf8(&line.name)
                .ok()
                .and_then(|name| RefName::new(name).ok());
            if let Some(name) = name.filter(|name| !symbolic.contains(name)) {
                found.entry(name).or_insert(line.id);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Calls `see` with all loose names that begin so.
    fn walk(
        &self,
        prefix: &str,
        see: &mut dyn FnMut(&str, &Result<Target>) -> Result<()>,
    ) -> Result<()> {
        let mut roots = vec![(self.layout.common.as_path(), "refs".to_string())];
        if self.layout.common != self.layout.git_dir {
            for own in ["bisect", "worktree", "rewritten"] {
                roots.push((self.layout.git_dir.as_path(), format!("refs/{own}")));
            }
        }
        while let Some((home, at)) = roots.pop() {
            let inside = format!("{at}/");
            if !inside.starts_with(prefix) && !prefix.starts_with(&inside) {
                continue;
            }
            let Some(folder) = self.folder(&home.join(&at))? else {
                continue;
            };
            for (file, target) in &folder.files {
                let name = format!("{inside}{file}");
                if name.starts_with(prefix) && self.layout.home(&name) == home {
                    see(&name, target)?;
                }
            }
            if inside.matches('/').count() < MAX_NESTED {
                roots.extend(
                    folder
                        .folders
                        .iter()
                        .map(|sub| (home, format!("{inside}{sub}"))),
                );
            }
        }
        Ok(())
    }

    /// What is in a folder; looked at again only if it may have changed.
    fn folder(&self, path: &Path) -> Result<Option<Arc<Folder>>> {
        let Some(stamp) = Stamp::of(path)? else {
            return Ok(None);
        };
        let last = self.folders.lock().expect(UNPOISONED).get(path).cloned();
        if let Some(last) = last.filter(|last| last.stamp == stamp && last.settled) {
            return Ok(Some(last));
        }
        let Some(entries) = optional(fs::read_dir(path)).map_err(io("list", path))? else {
            return Ok(None);
        };
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(io("list", path))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = entry.file_type().map_err(io("look at", &entry.path()))?;
            if kind.is_dir() {
                folders.push(name);
            } else if !name.ends_with(".lock") {
                // A link to a folder is not followed: it may lead round in a circle.
                let text = super::read(&entry.path())?;
                // Gone since it was listed: then it is not here.
                if let Some(text) = text {
                    let target = self.target(&entry.path(), &text);
                    files.push((name, target));
                }
            }
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        folders.sort();
        let settled = stamp.is_settled();
        let folder = Arc::new(Folder {
            stamp,
            settled,
            files,
            folders,
        });
        self.folders
            .lock()
            .expect(UNPOISONED)
            .insert(path.into(), folder.clone());
        Ok(Some(folder))
    }

    /// Differs whenever a name may have moved: what loose files say, the state of `packed-refs` and
    /// `HEAD`, and our own moves. Folders that did not change for a while cost one look each.
    pub(crate) fn generation(&self) -> Result<u64> {
        let mut hash = std::hash::DefaultHasher::new();
        self.walk("refs/", &mut |name, target| {
            name.hash(&mut hash);
            match target {
                Ok(Target::Id(id)) => id.hash(&mut hash),
                Ok(Target::Name(name)) => name.hash(&mut hash),
                Err(_) => {}
            }
            Ok(())
        })?;
        for path in [
            self.layout.common.join("packed-refs"),
            self.layout.git_dir.join("HEAD"),
        ] {
            Stamp::of(&path)?.hash(&mut hash);
        }
        self.moves.load(Ordering::Relaxed).hash(&mut hash);
        Ok(hash.finish())
    }

    /// A name that is in the way of making `name`: one that would be its folder, or in it as a folder.
    /// `stays` says which names count.
    pub(super) fn in_the_way(
        &self,
        name: &RefName,
        stays: &dyn Fn(&str) -> bool,
    ) -> Result<Option<RefName>> {
        for (at, _) in name.as_str().match_indices('/') {
            let Ok(above) = RefName::new(&name.as_str()[..at]) else {
                continue;
            };
            let there =
                self.loose(&above)?.is_some() || self.packed()?.get(above.as_str()).is_some();
            if there && stays(above.as_str()) {
                return Ok(Some(above));
            }
        }
        let inside = format!("{}/", name.as_str());
        let mut below = None;
        self.walk(&inside, &mut |found, _| {
            if below.is_none() && stays(found) {
                below = RefName::new(found).ok();
            }
            Ok(())
        })?;
        let packed = self.packed()?;
        let packed = packed.under(&inside).iter().find_map(|line| {
            let found = std::str::from_utf8(&line.name)
                .ok()
                .filter(|found| stays(found))?;
            RefName::new(found).ok()
        });
        Ok(below.or(packed))
    }
}

//! Looking at all of a repository (`fsck`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use irmin::raw::CommitData;
use irmin::{Backend, BackendError, CommitIndex, Format, Id, Kind, Object, check_object, links};

use crate::Git;
use crate::error::{Result, io};
use crate::file::checksum;
use crate::graph::Commits;
use crate::pack::Pack;

/// What a look at all of a repository found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many objects were looked at, each copy once.
    pub objects: u64,
    /// What is wrong, a sentence each, the first ten thousand; none if all is well.
    pub problems: Vec<String>,
}

/// More problems than anybody reads.
const MOST: usize = 10_000;

impl Git {
    /// Reads everything and reports what is wrong, as `git fsck --strict --full` does where both can
    /// judge: checksums of packs and indexes, the bytes of every object against its id, the rules of
    /// [`check_object`], that all that objects refer to is here and of the right kind, that every name
    /// leads to an object and every branch to a commit, and that the commit-graph says what the
    /// commits say. Objects that nothing refers to are no problem. Calls `progress` now and then with
    /// the number of objects so far.
    ///
    /// Changes nothing. What comes or moves meanwhile is no problem either.
    ///
    /// # Errors
    /// [`BackendError`] if it could not look; what is damaged is in the report.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<Report, BackendError> {
        let mut report = Report::default();
        let graph = report.or(self.graph.commits())?.flatten();
        let mut check = Check {
            git: self,
            graph,
            shallow: self.shallow()?.into_iter().collect(),
            report,
            progress,
            known: HashMap::new(),
            wanted: HashMap::new(),
        };
        check.objects()?;
        check.connections()?;
        check.names()?;
        Ok(check.report)
    }
}

impl Report {
    fn add(&mut self, problem: impl Into<String>) {
        if self.problems.len() < MOST {
            self.problems.push(problem.into());
        }
    }

    /// What was asked for; `None` if it is damaged, which is reported.
    fn or<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(BackendError::Corrupt { what }) => {
                self.add(format!("{what} is damaged"));
                Ok(None)
            }
            Err(BackendError::Refused { what }) => {
                self.add(what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

struct Check<'a> {
    git: &'a Git,
    graph: Option<Arc<Commits>>,
    shallow: HashSet<Id>,
    report: Report,
    progress: &'a mut dyn FnMut(u64),
    known: HashMap<Id, Kind>,
    /// What objects refer to: as what, and one that does.
    wanted: HashMap<Id, (Kind, Id)>,
}

impl Check<'_> {
    fn objects(&mut self) -> Result<()> {
        let (packs, loose) = self.git.odb.now()?;
        for pack in packs.iter() {
            match self.pack(pack) {
                // A repack beside us.
                Err(_) if !pack.path.exists() => {}
                result => drop(self.report.or(result)?),
            }
        }
        for id in loose {
            let found = self.git.odb.loose(&id);
            if let Some(Some((kind, data))) = self.report.or(found)? {
                self.object(id, kind, data)?;
            }
        }
        Ok(())
    }

    fn pack(&mut self, pack: &Arc<Pack>) -> Result<()> {
        for path in [&pack.path, &pack.path.with_extension("idx")] {
            if !self.is_whole(path)? {
                let text = format!("{}: its checksum is another", path.display());
                self.report.add(text);
            }
        }
        let mut places = pack.index()?.all().collect::<Result<Vec<_>>>()?;
        if !places.is_sorted_by_key(|(id, _)| *id) {
            let text = format!(
                "{}: the ids in its index are not in order",
                pack.path.display()
            );
            self.report.add(text);
        }
        places.sort_unstable_by_key(|(_, offset)| *offset);
        for (id, offset) in places {
            let found = self.git.odb.object(pack, offset, &id);
            if found.is_err() && !pack.path.exists() {
                return Ok(());
            }
            if let Some((kind, data)) = self.report.or(found)? {
                self.object(id, kind, data)?;
            }
        }
        Ok(())
    }

    /// Whether the file ends with the hash of what is before.
    fn is_whole(&self, path: &Path) -> Result<bool> {
        let file = File::open(path).map_err(io("open", path))?;
        let length = file.metadata().map_err(io("look at", path))?.len();
        let id_len = self.git.format().id_len();
        let Some(before) = length.checked_sub(id_len as u64) else {
            return Ok(false);
        };
        let mut told = vec![0; id_len];
        let sum = checksum(&file, before, self.git.format()).and_then(|sum| {
            file.read_exact_at(&mut told, before)?;
            Ok(sum)
        });
        match sum {
            Ok(sum) => Ok(told == sum.as_bytes()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(io("read", path)(error)),
        }
    }

    fn object(&mut self, id: Id, kind: Kind, data: Bytes) -> Result<()> {
        self.report.objects += 1;
        if self.report.objects.is_multiple_of(1024) {
            (self.progress)(self.report.objects);
        }
        if self.known.insert(id, kind).is_some() {
            return Ok(());
        }
        // What reads objects compares hashes without looking for collisions.
        if self.git.format() == Format::GitSha1
            && let Err(attack) = Format::GitSha1.id(kind, &data)
        {
            self.report.add(format!("{kind} {id}: {attack}"));
            return Ok(());
        }
        let object = Object { id, kind, data };
        if let Err(wrong) = check_object(self.git.format(), &object) {
            self.report.add(format!("{kind} {id}: {wrong}"));
            return Ok(());
        }
        let Check {
            shallow, wanted, ..
        } = self;
        let mut twice = None;
        let linked = links(
            self.git.format(),
            &object,
            &|id| shallow.contains(id),
            &mut |link| {
                let (kind, _) = wanted.entry(link.id).or_insert((link.kind, id));
                if *kind != link.kind {
                    twice = Some((link.id, *kind, link.kind));
                }
            },
        );
        if let Some((other, first, second)) = twice {
            let text = format!("{other} is a {first} to one object and a {second} to {id}");
            self.report.add(text);
        }
        self.report.or(linked)?;
        if kind == Kind::Commit {
            self.in_graph(&object)?;
        }
        Ok(())
    }

    /// Holds a commit against the commit-graph.
    fn in_graph(&mut self, commit: &Object) -> Result<()> {
        let Some(graph) = self.graph.clone() else {
            return Ok(());
        };
        let same = || -> Result<bool> {
            let Some(at) = graph.position(&commit.id)? else {
                return Ok(true);
            };
            let Ok(data) = CommitData::decode(self.git.format(), &commit.data) else {
                return Ok(true);
            };
            let mut parents = Vec::new();
            graph.parents(at, &mut parents)?;
            let mut same = parents.len() == data.parents.len()
                && graph.tree(at)? == data.tree
                && graph.time(at)? == data.committer.seconds() & 0x3_ffff_ffff;
            for (&parent, id) in parents.iter().zip(&data.parents) {
                same = same
                    && parent < graph.len()
                    && graph.id(parent)? == *id
                    && graph.generation(parent)? < graph.generation(at)?;
            }
            if !same || graph.filter_settings().is_none() {
                return Ok(same);
            }
            let before = parents.first().map(|parent| graph.tree(*parent));
            // What is wrong with trees is told of the trees.
            match self.git.changed_paths(before.transpose()?, data.tree) {
                Ok(paths) => graph.tells(at, paths.as_ref()),
                Err(_) => Ok(true),
            }
        };
        if self.report.or(same())? == Some(false) {
            let id = commit.id;
            self.report.add(format!(
                "the commit-graph says something else of {id} than the commit; write it anew (gc)"
            ));
        }
        Ok(())
    }

    /// All that is referred to is here.
    fn connections(&mut self) -> Result<()> {
        for (id, (kind, by)) in std::mem::take(&mut self.wanted) {
            let text = match self.kind(&id)? {
                Some(found) if found == kind => continue,
                Some(found) => format!("{by} refers to {id} as a {kind}, and it is a {found}"),
                None => format!("{kind} {id} is missing, to which {by} refers"),
            };
            self.report.add(text);
        }
        Ok(())
    }

    /// What an object is; `None` if it is missing, now too.
    fn kind(&mut self, id: &Id) -> Result<Option<Kind>> {
        if let Some(kind) = self.known.get(id) {
            return Ok(Some(*kind));
        }
        let found = self.git.odb.read(id);
        Ok(self.report.or(found)?.flatten().map(|(kind, _)| kind))
    }

    fn names(&mut self) -> Result<()> {
        let heads = self.git.heads("refs/");
        for (name, id) in self.report.or(heads)?.unwrap_or_default() {
            let branch = name.as_str().starts_with("refs/heads/");
            match self.kind(&id)? {
                Some(kind) if branch && kind != Kind::Commit => {
                    self.report.add(format!("{name} leads to a {kind}, {id}"));
                }
                Some(_) => {}
                None => self
                    .report
                    .add(format!("{name} leads to {id}, which is missing")),
            }
        }
        let head = self.git.default_branch();
        if let Some(name) = self.report.or(head)? {
            let head = self.git.head(&name);
            if let Some(Some(id)) = self.report.or(head)?
                && self.kind(&id)?.is_none()
            {
                self.report
                    .add(format!("{name} leads to {id}, which is missing"));
            }
        }
        Ok(())
    }
}

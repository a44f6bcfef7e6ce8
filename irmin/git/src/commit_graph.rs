//! Writing Git's index of commits (gitformat-commit-graph(5)), with both kinds of generation numbers and
//! the filters of changed paths.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, thread};

use bytes::Bytes;
use irmin::raw::{CommitData, TagData};
use irmin::{Backend, BackendError, CommitIndex as _, Format, Id, Kind};
use irmin_packfile::{Hasher, push_table};

use crate::Git;
use crate::config::Config;
use crate::error::{Result, corrupt, io, optional};
use crate::file::{self, Temporary, hash_number};
use crate::filter::{self, Settings};
use crate::graph::{MORE_PARENTS, NO_PARENT};

/// The greatest level that is told.
const LAST_LEVEL: u32 = 0x3fff_ffff;

/// So many commits at once are given to a thread: they lie near each other, and so do their trees.
const TOGETHER: usize = 256;
/// More threads would mostly wait for the disk.
const MOST_THREADS: usize = 8;

/// A commit, as far as the index tells of it.
struct Row {
    id: Id,
    tree: Id,
    parents: Vec<Id>,
    time: u64,
    /// Which paths it changed, if the index tells of that.
    filter: Box<[u8]>,
}

impl Git {
    /// Writes the index of all commits that names lead to into `objects/info/commit-graph`, in place of
    /// the one that is there; returns how many they are. Questions about history cost a fraction with
    /// it, to Git too. Commits that come later are read as before.
    ///
    /// It holds filters of changed paths, by which logs of paths pass over commits without reading their
    /// trees, unless the configuration says that they are not used (`commitGraph.readChangedPaths`,
    /// `commitGraph.changedPathsVersion`). What the old index has of them is taken from there; of other
    /// commits the trees are compared with those before, on several threads. That is what takes long:
    /// `progress` is called now and then, on the calling thread, with how many commits have theirs.
    ///
    /// Writes nothing and returns 0 where Git would not use it: while the history is cut off
    /// (`shallow`) or objects are replaced by others (`refs/replace`, `info/grafts`).
    ///
    /// # Errors
    /// [`BackendError`]; `Corrupt` if a commit is missing or broken.
    pub fn write_commit_graph(&self, progress: &mut dyn FnMut(u64)) -> Result<u32, BackendError> {
        let replaced = !self.heads("refs/replace/")?.is_empty();
        if replaced
            || !self.shallow()?.is_empty()
            || self.layout.common.join("info/grafts").exists()
        {
            return Ok(0);
        }
        let settings = self.filter_settings()?;
        let mut rows = self.rows()?;
        if let Some(settings) = settings {
            self.add_filters(&mut rows, settings, progress)?;
        }
        rows.sort_unstable_by_key(|row| row.id);
        if rows.len() >= NO_PARENT as usize {
            return Ok(0);
        }
        let bytes = encode(self.format(), &rows, settings);
        let info = self.layout.objects().join("info");
        fs::create_dir_all(&info).map_err(io("make", &info))?;
        let mut file = Temporary::new(&info, "tmp_graph_")?;
        file.put(&bytes)?;
        file::sync(&[file.path()])?;
        file.place(&info.join("commit-graph"))?;
        // A chain of graphs would be an older one.
        let chain = info.join("commit-graphs");
        let list = chain.join("commit-graph-chain");
        if optional(fs::remove_file(&list))
            .map_err(io("remove", &list))?
            .is_some()
        {
            for layer in fs::read_dir(&chain).into_iter().flatten().flatten() {
                if layer.path().extension().is_some_and(|last| last == "graph") {
                    let _ = fs::remove_file(layer.path());
                }
            }
        }
        Ok(rows.len() as u32)
    }

    /// All commits that names lead to.
    fn rows(&self) -> Result<Vec<Row>> {
        let format = self.format();
        let mut next = Vec::new();
        for mut id in self.named()? {
            // A name may lead to anything, by way of tags.
            for _ in 0..64 {
                match self.odb.read(&id)? {
                    Some((Kind::Commit, _)) => next.push(id),
                    Some((Kind::Tag, data)) => {
                        if let Ok(tag) = TagData::decode(format, &data) {
                            id = tag.target;
                            continue;
                        }
                    }
                    _ => {}
                }
                break;
            }
        }
        let (mut known, mut rows) = (HashSet::new(), Vec::new());
        while let Some(id) = next.pop() {
            if !known.insert(id) {
                continue;
            }
            let Some((Kind::Commit, data)) = self.odb.read(&id)? else {
                return Err(corrupt(self.path(), format_args!("commit {id} is missing")));
            };
            let commit = CommitData::decode(format, &data)
                .map_err(|wrong| corrupt(self.path(), format_args!("{id}: {wrong}")))?;
            next.extend(commit.parents.iter().filter(|id| !known.contains(*id)));
            rows.push(Row {
                id,
                tree: commit.tree,
                parents: commit.parents,
                time: commit.committer.seconds().max(0) as u64,
                filter: Box::default(),
            });
        }
        Ok(rows)
    }

    /// How filters are made: as those that are there, or as Git makes them; `None` for none at all.
    fn filter_settings(&self) -> Result<Option<Settings>> {
        let config = Config::read(&self.layout.common.join("config"))?;
        let wanted = filter::version_wanted(&config);
        if let Some(old) = self.graph.commits()?.and_then(|old| old.filter_settings())
            && wanted.is_none_or(|version| version == old.version)
        {
            return Ok(Some(old));
        }
        Ok(match wanted {
            None => Some(Settings::USUAL),
            Some(version @ (1 | 2)) => Some(Settings {
                version,
                ..Settings::USUAL
            }),
            Some(_) => None,
        })
    }

    /// Finds out which paths each commit changed.
    fn add_filters(
        &self,
        rows: &mut [Row],
        settings: Settings,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let trees: HashMap<Id, Id> = rows.iter().map(|row| (row.id, row.tree)).collect();
        let old = self.graph.commits()?;
        let old = old.filter(|old| old.filter_settings() == Some(settings));
        let known = |id: &Id| -> Result<Option<Bytes>> {
            let Some(old) = &old else { return Ok(None) };
            match old.position(id)? {
                Some(position) => old.filter(position),
                None => Ok(None),
            }
        };
        let fill = |rows: &mut [Row]| -> Result<()> {
            let mut made = Vec::new();
            for row in rows {
                if let Some(filter) = known(&row.id)? {
                    row.filter = filter[..].into();
                    continue;
                }
                let before = row.parents.first().map(|parent| trees[parent]);
                let paths = self.changed_paths(before, row.tree)?;
                made.clear();
                filter::push(paths.as_ref(), settings, &mut made);
                row.filter = made[..].into();
            }
            Ok(())
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(MOST_THREADS).min(rows.len().div_ceil(TOGETHER));
        let (next, done) = (Mutex::new(rows.chunks_mut(TOGETHER)), AtomicU64::new(0));
        let failed = AtomicBool::new(false);
        let work = |progress: &mut dyn FnMut(u64)| -> Result<()> {
            while !failed.load(Ordering::Relaxed) {
                let Some(rows) = next.lock().expect(UNPOISONED).next() else {
                    break;
                };
                let more = rows.len() as u64;
                fill(rows).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                progress(done.fetch_add(more, Ordering::Relaxed) + more);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let others = (1..threads).map(|_| scope.spawn(|| work(&mut |_| ())));
            let others: Vec<_> = others.collect();
            let own = work(progress);
            let others = others.into_iter();
            let mut results = others.map(|other| other.join().expect("it does not panic"));
            results.try_for_each(|result| result).and(own)
        })
    }
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

/// Level and corrected time of each commit: one more than the greatest of its parents', the time not
/// before its own.
fn generations(rows: &[Row], parents: &[Vec<u32>]) -> Vec<(u32, u64)> {
    let mut found = vec![(0u32, 0u64); rows.len()];
    let mut stack = Vec::new();
    for start in 0..rows.len() as u32 {
        stack.push((start, 0));
        while let Some((at, seen)) = stack.pop() {
            let row = at as usize;
            if found[row].0 != 0 {
                continue;
            }
            if let Some(unknown) =
                (seen..parents[row].len()).find(|&which| found[parents[row][which] as usize].0 == 0)
            {
                // No commit is its own ancestor: its id is a hash of theirs.
                stack.push((at, unknown + 1));
                stack.push((parents[row][unknown], 0));
                continue;
            }
            let before = parents[row].iter().map(|&parent| found[parent as usize]);
            let level = before.clone().map(|(level, _)| level).max().unwrap_or(0);
            let time = before.map(|(_, time)| time).max().unwrap_or(0);
            found[row] = ((level + 1).min(LAST_LEVEL), (time + 1).max(rows[row].time));
        }
    }
    found
}

fn encode(format: Format, rows: &[Row], settings: Option<Settings>) -> Vec<u8> {
    let position: HashMap<Id, u32> = rows.iter().map(|row| row.id).zip(0..).collect();
    let parents: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| row.parents.iter().map(|id| position[id]).collect())
        .collect();
    drop(position);
    let generations = generations(rows, &parents);
    let (mut data, mut edges) = (Vec::new(), Vec::new());
    let (mut times, mut far) = (Vec::new(), Vec::new());
    for ((row, parents), (level, corrected)) in rows.iter().zip(&parents).zip(generations) {
        data.extend_from_slice(row.tree.as_bytes());
        let first = parents.first().copied().unwrap_or(NO_PARENT);
        let second = match parents.len() {
            0 | 1 => NO_PARENT,
            2 => parents[1],
            _ => {
                let start = MORE_PARENTS | (edges.len() / 4) as u32;
                for (at, parent) in parents.iter().enumerate().skip(1) {
                    let last = u32::from(at + 1 == parents.len()) * MORE_PARENTS;
                    edges.extend_from_slice(&(parent | last).to_be_bytes());
                }
                start
            }
        };
        // Times have 34 bits.
        let high = level << 2 | (row.time >> 32) as u32 & 3;
        for number in [first, second, high, row.time as u32] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let ahead = corrected - row.time;
        let near = u32::try_from(ahead)
            .ok()
            .filter(|near| near & 0x8000_0000 == 0);
        let near = near.unwrap_or_else(|| {
            far.extend_from_slice(&ahead.to_be_bytes());
            0x8000_0000 | (far.len() / 8 - 1) as u32
        });
        times.extend_from_slice(&near.to_be_bytes());
    }
    let mut table = Vec::new();
    push_table(rows.iter().map(|row| row.id), &mut table);
    let ids = table.split_off(1024);
    let (mut ends, mut filters) = (Vec::new(), Vec::new());
    let bytes = rows.iter().map(|row| row.filter.len() as u64).sum::<u64>();
    if let Some(settings) = settings.filter(|_| u32::try_from(bytes).is_ok()) {
        for number in [settings.version, settings.hashes, settings.bits] {
            filters.extend_from_slice(&number.to_be_bytes());
        }
        let mut end = 0;
        for row in rows {
            end += row.filter.len() as u32;
            ends.extend_from_slice(&end.to_be_bytes());
            filters.extend_from_slice(&row.filter);
        }
    }
    let chunks = [
        (b"OIDF", table),
        (b"OIDL", ids),
        (b"CDAT", data),
        (b"GDA2", times),
        (b"GDO2", far),
        (b"EDGE", edges),
        (b"BIDX", ends),
        (b"BDAT", filters),
    ];
    let (needed, optional) = chunks.split_at(4);
    let optional = optional.iter().filter(|(_, bytes)| !bytes.is_empty());
    let chunks: Vec<_> = needed.iter().chain(optional).collect();
    let mut out = b"CGPH\x01".to_vec();
    out.extend_from_slice(&[hash_number(format), chunks.len() as u8, 0]);
    let mut at = 8 + 12 * (chunks.len() as u64 + 1);
    for (name, bytes) in &chunks {
        out.extend_from_slice(&name[..]);
        out.extend_from_slice(&at.to_be_bytes());
        at += bytes.len() as u64;
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&at.to_be_bytes());
    chunks
        .iter()
        .for_each(|(_, bytes)| out.extend_from_slice(bytes));
    Hasher::seal(format, &mut out);
    out
}

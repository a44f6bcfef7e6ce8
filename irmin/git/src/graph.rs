//! Git's index of commits (gitformat-commit-graph(5)): parents, generation, time and tree without
//! reading the commits.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use irmin::{BackendError, CommitIndex, Format, Id, PathKey};

use crate::config::Config;
use crate::error::{Result, corrupt, io};
use crate::file::{Stamp, hash_number};
use crate::filter::{self, Filters};
use crate::source::Source;
use crate::table::Table;

/// Where the commit-graph of a repository is.
pub(crate) struct Graph {
    format: Format,
    info: PathBuf,
    config: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    stamps: Option<[Option<Stamp>; 2]>,
    commits: Option<Arc<Commits>>,
}

/// One state of it: one file, or a chain of files each of which adds to the ones before it.
pub(crate) struct Commits {
    format: Format,
    layers: Vec<Layer>,
}

/// One file.
struct Layer {
    path: PathBuf,
    id_len: usize,
    source: Source,
    table: Table,
    /// Tree, parents, generation and time of each commit.
    data: Rows,
    /// Lists of parents after the first, of commits that have more than two.
    edges: Rows,
    /// What paths each commit may have changed.
    filters: Option<Filters>,
    /// How many commits the layers before it have.
    before: u32,
}

/// No chain is longer; Git merges layers long before.
const MAX_LAYERS: usize = 256;
/// Stands for a parent where there is none.
pub(crate) const NO_PARENT: u32 = 0x7000_0000;
/// Set in the number of a list of parents, and in the last number of such a list.
pub(crate) const MORE_PARENTS: u32 = 0x8000_0000;

impl Graph {
    pub(crate) fn new(objects: &Path, config: PathBuf, format: Format) -> Graph {
        Graph {
            format,
            info: objects.join("info"),
            config,
            loaded: Mutex::default(),
        }
    }

    /// The graph as it is now; the same value while its files are the same.
    pub(crate) fn commits(&self) -> Result<Option<Arc<Commits>>> {
        let (single, chain) = (
            self.info.join("commit-graph"),
            self.info.join("commit-graphs"),
        );
        let list = chain.join("commit-graph-chain");
        let stamps = [Stamp::of(&single)?, Stamp::of(&list)?];
        let mut loaded = self.loaded.lock().expect(UNPOISONED);
        if loaded.stamps == Some(stamps) {
            return Ok(loaded.commits.clone());
        }
        let mut layers = Vec::new();
        if stamps[0].is_some() {
            layers.extend(Layer::open(&single, self.format, 0)?);
        } else if let Some(text) = crate::layout::small_text(&list)? {
            for name in text.lines().take(MAX_LAYERS) {
                if Id::from_hex(name.as_bytes()).is_err() {
                    return Err(corrupt(&list, "a line is no checksum"));
                }
                let before = layers.last().map_or(Some(0), |last: &Layer| {
                    last.before.checked_add(last.table.count())
                });
                let path = chain.join(format!("graph-{name}.graph"));
                let before = before.filter(|before| *before < NO_PARENT);
                let before = before.ok_or_else(|| corrupt(&path, "there are too many commits"))?;
                // A layer that is gone: Git wrote the chain anew; the next look finds that.
                let Some(layer) = Layer::open(&path, self.format, before)? else {
                    break;
                };
                layers.push(layer);
            }
        }
        let mut commits = Commits {
            format: self.format,
            layers,
        };
        commits.choose_filters(&Config::read(&self.config)?);
        let is_whole = !commits.is_empty() && commits.has_generations()?;
        loaded.commits = is_whole.then(|| Arc::new(commits));
        loaded.stamps = Some(stamps);
        Ok(loaded.commits.clone())
    }
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

impl Commits {
    /// Whether it tells generations: Git before 2.19 wrote zeros.
    fn has_generations(&self) -> Result<bool> {
        for layer in &self.layers {
            if layer.table.count() > 0 && self.generation(layer.before)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leaves the filters of changed paths that Git would use: all of the kind that the last ones are
    /// of, and no others than the configuration allows.
    fn choose_filters(&mut self, config: &Config) {
        let settings = |layer: &Layer| layer.filters.as_ref().map(|filters| filters.settings);
        let version = filter::version_wanted(config);
        let last = self.layers.iter().rev().find_map(settings);
        let used = last.filter(|last| version.is_none_or(|version| version == last.version));
        for layer in &mut self.layers {
            layer
                .filters
                .take_if(|filters| Some(filters.settings) != used);
        }
    }

    /// The kind of filters of changed paths that are used.
    pub(crate) fn filter_settings(&self) -> Option<filter::Settings> {
        let mut layers = self.layers.iter();
        layers.find_map(|layer| Some(layer.filters.as_ref()?.settings))
    }

    /// The filter of changed paths of a commit, if there is one.
    pub(crate) fn filter(&self, position: u32) -> Result<Option<Bytes>> {
        let layer = self.layer(position);
        let Some(filters) = &layer.filters else {
            return Ok(None);
        };
        let filter = filters.get(position - layer.before);
        filter.map_err(io("read", &layer.path))
    }

    /// Whether a commit's filter, if there is one, tells of all these paths; `None` for any path.
    pub(crate) fn tells(&self, position: u32, paths: Option<&HashSet<Vec<u8>>>) -> Result<bool> {
        let (Some(filter), Some(settings)) = (self.filter(position)?, self.filter_settings())
        else {
            return Ok(true);
        };
        Ok(filter::tells(&filter, paths, settings))
    }

    fn layer(&self, position: u32) -> &Layer {
        let mut layers = self.layers.iter().rev();
        layers
            .find(|layer| position >= layer.before)
            .expect("the first layer begins with 0")
    }

    /// The layer of a commit and its row there.
    fn row(&self, position: u32) -> Result<(&Layer, &[u8])> {
        let layer = self.layer(position);
        Ok((layer, layer.data.row(layer, position - layer.before)?))
    }
}

impl CommitIndex for Commits {
    fn len(&self) -> u32 {
        self.layers
            .last()
            .map_or(0, |last| last.before + last.table.count())
    }

    fn position(&self, id: &Id) -> Result<Option<u32>, BackendError> {
        for layer in self.layers.iter().rev() {
            let found = layer.table.find(&layer.source, id);
            if let Some(at) = found.map_err(io("read", &layer.path))? {
                return Ok(Some(layer.before + at));
            }
        }
        Ok(None)
    }

    fn id(&self, position: u32) -> Result<Id, BackendError> {
        let layer = self.layer(position);
        let id = layer.table.id(&layer.source, position - layer.before);
        id.map_err(io("read", &layer.path))
    }

    fn generation(&self, position: u32) -> Result<u32, BackendError> {
        let (layer, row) = self.row(position)?;
        Ok(layer.generation(row))
    }

    fn parents(&self, position: u32, into: &mut Vec<u32>) -> Result<(), BackendError> {
        let (layer, row) = self.row(position)?;
        layer.parents(row, into)
    }

    fn all(&self, commit: &mut dyn FnMut(u32, &[u32])) -> Result<bool, BackendError> {
        let (mut parents, mut listed) = (Vec::new(), 0);
        for layer in &self.layers {
            layer.data.each(layer, &mut |row| {
                parents.clear();
                layer.parents(row, &mut parents)?;
                // Each list is for one commit: what comes is bounded by the size of the file.
                listed += parents.len().saturating_sub(2);
                if listed > layer.edges.count as usize {
                    return Err(corrupt(&layer.path, "lists of parents overlap"));
                }
                commit(layer.generation(row), &parents);
                Ok(())
            })?;
            listed = 0;
        }
        Ok(true)
    }

    fn time(&self, position: u32) -> Result<i64, BackendError> {
        let (_, row) = self.row(position)?;
        let id_len = self.format.id_len();
        let (high, low) = (number(row, id_len + 8), number(row, id_len + 12));
        Ok(i64::from(high & 3) << 32 | i64::from(low))
    }

    fn path_key(&self, path: &irmin::Path) -> Option<PathKey> {
        filter::key(path.as_bytes(), self.filter_settings()?.version)
    }

    fn may_change(&self, position: u32, path: &PathKey) -> Result<bool, BackendError> {
        let layer = self.layer(position);
        let Some(filters) = &layer.filters else {
            return Ok(true);
        };
        let may = filters.may_change(position - layer.before, path);
        may.map_err(io("read", &layer.path))
    }

    fn tree(&self, position: u32) -> Result<Id, BackendError> {
        let (_, row) = self.row(position)?;
        Ok(Id::from_bytes(&row[..self.format.id_len()]).expect("20 or 32 bytes"))
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Rows of one length in a file.
struct Rows {
    source: Source,
    row_len: usize,
    count: u32,
}

/// How many rows are read at once: about 10 KB. Commits that follow one another lie anywhere.
const BLOCK: u64 = 256;

impl Rows {
    fn new(file: &Source, (at, len): (u64, u64), row_len: usize) -> Rows {
        Rows {
            source: file.part(at, len, BLOCK * row_len as u64),
            row_len,
            count: u32::try_from(len / row_len as u64).unwrap_or(u32::MAX),
        }
    }

    /// A row below `count`.
    fn row(&self, layer: &Layer, at: u32) -> Result<&[u8]> {
        let row = self
            .source
            .borrow(u64::from(at) * self.row_len as u64, self.row_len);
        row.map_err(io("read", &layer.path))
    }

    /// All rows, one after the other. What was not read before is not kept.
    fn each(&self, layer: &Layer, row: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut spare = Vec::new();
        for block in 0..self.source.blocks() {
            let block = self.source.pass(block, &mut spare);
            let block = block.map_err(io("read", &layer.path))?;
            block.chunks_exact(self.row_len).try_for_each(&mut *row)?;
        }
        Ok(())
    }
}

impl Layer {
    fn open(path: &Path, format: Format, before: u32) -> Result<Option<Layer>> {
        let source = match Source::open(path) {
            Err(error) if crate::error::is_absent(&error) => return Ok(None),
            other => other.map_err(io("open", path))?,
        };
        let short = |_| corrupt(path, "it is cut off");
        let header = source.read(0, 8).map_err(short)?;
        if header[..6] != [b'C', b'G', b'P', b'H', 1, hash_number(format)] {
            return Err(corrupt(
                path,
                "it is no commit-graph of version 1 for this repository",
            ));
        }
        let chunks = u64::from(header[6]);
        let end = source.len().saturating_sub(format.id_len() as u64);
        let mut found = [None; 6];
        let mut last = 8 + 12 * (chunks + 1);
        for chunk in 0..chunks {
            let row = source.read(8 + 12 * chunk, 24).map_err(short)?;
            let from = u64::from_be_bytes(row[4..12].try_into().expect("eight bytes"));
            let to = u64::from_be_bytes(row[16..24].try_into().expect("eight bytes"));
            if from < last || to < from || to > end {
                return Err(corrupt(path, "its chunks overlap or lie outside"));
            }
            last = from;
            let names = [b"OIDF", b"OIDL", b"CDAT", b"EDGE", b"BIDX", b"BDAT"];
            if let Some(at) = names.iter().position(|name| row[..4] == name[..]) {
                found[at] = Some((from, to - from));
            }
        }
        let (Some(counts), Some(ids), Some(data)) = (found[0], found[1], found[2]) else {
            return Err(corrupt(path, "a chunk is missing"));
        };
        let id_len = format.id_len();
        let table = (counts.1 == 1024)
            .then(|| Table::new(&source, counts.0, ids.0, id_len).map_err(io("read", path)))
            .transpose()?
            .flatten()
            .filter(|table| {
                let count = u64::from(table.count());
                ids.1 == count * id_len as u64 && data.1 == count * (id_len as u64 + 16)
            })
            .ok_or_else(|| corrupt(path, "its chunks do not fit one another"))?;
        if u64::from(before) + u64::from(table.count()) > u64::from(NO_PARENT) {
            return Err(corrupt(path, "there are too many commits"));
        }
        let filters = found[4].zip(found[5]);
        let filters =
            filters.and_then(|(ends, data)| Filters::new(&source, ends, data, table.count()));
        Ok(Some(Layer {
            path: path.into(),
            filters,
            id_len,
            data: Rows::new(&source, data, id_len + 16),
            edges: Rows::new(&source, found[3].unwrap_or_default(), 4),
            source,
            table,
            before,
        }))
    }

    /// What the row of a commit says is its generation.
    fn generation(&self, row: &[u8]) -> u32 {
        number(row, self.id_len + 8) >> 2
    }

    /// The parents that the row of a commit tells.
    fn parents(&self, row: &[u8], into: &mut Vec<u32>) -> Result<()> {
        let (first, second) = (number(row, self.id_len), number(row, self.id_len + 4));
        if first != NO_PARENT {
            into.push(first);
        }
        if second & MORE_PARENTS == 0 {
            if second != NO_PARENT {
                into.push(second);
            }
            return Ok(());
        }
        for edge in second & !MORE_PARENTS.. {
            if edge >= self.edges.count {
                return Err(corrupt(&self.path, "a list of parents has no end"));
            }
            let parent = number(self.edges.row(self, edge)?, 0);
            into.push(parent & !MORE_PARENTS);
            if parent & MORE_PARENTS != 0 {
                break;
            }
        }
        Ok(())
    }
}

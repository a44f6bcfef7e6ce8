//! Git's index of commits (gitformat-commit-graph(5)): parents, generation and time without reading
//! the commits.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use irmin::{CommitNode, Format, Id};

use crate::error::{Result, corrupt, io};
use crate::file::Stamp;
use crate::source::Source;
use crate::table::Table;

/// The commit-graph of a repository: one file, or a chain of files each of which adds to the ones
/// before it.
pub(crate) struct Graph {
    format: Format,
    info: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    stamps: Option<[Option<Stamp>; 2]>,
    layers: Arc<Vec<Layer>>,
}

/// One file.
struct Layer {
    path: PathBuf,
    source: Source,
    table: Table,
    data_at: u64,
    edges: Option<(u64, u64)>,
    /// How many commits the layers before it have.
    before: u32,
}

/// No chain is longer; Git merges layers long before.
const MAX_LAYERS: usize = 256;
const NO_PARENT: u32 = 0x7000_0000;
const MORE_PARENTS: u32 = 0x8000_0000;
/// The greatest generation; it means this one or any greater.
const LAST_GENERATION: u32 = 0x3fff_ffff;

impl Graph {
    pub(crate) fn new(objects: &Path, format: Format) -> Graph {
        Graph {
            format,
            info: objects.join("info"),
            loaded: Mutex::default(),
        }
    }

    pub(crate) fn node(&self, id: &Id) -> Result<Option<CommitNode>> {
        let layers = self.loaded.lock().expect(UNPOISONED).layers.clone();
        if let Some(node) = self.find(&layers, id)? {
            return Ok(Some(node));
        }
        // What is in the graph never changes: only what is missing is worth a second look.
        match self.reload()? {
            Some(layers) => self.find(&layers, id),
            None => Ok(None),
        }
    }

    fn find(&self, layers: &[Layer], id: &Id) -> Result<Option<CommitNode>> {
        for layer in layers.iter().rev() {
            let found = layer
                .table
                .find(&layer.source, id)
                .map_err(io("read", &layer.path))?;
            if let Some(at) = found {
                return layer.node(at, layers, self.format);
            }
        }
        Ok(None)
    }

    /// The graph as it is now, if it is another than before.
    fn reload(&self) -> Result<Option<Arc<Vec<Layer>>>> {
        let (single, chain) = (
            self.info.join("commit-graph"),
            self.info.join("commit-graphs"),
        );
        let list = chain.join("commit-graph-chain");
        let stamps = [Stamp::of(&single)?, Stamp::of(&list)?];
        let mut loaded = self.loaded.lock().expect(UNPOISONED);
        if loaded.stamps == Some(stamps) {
            return Ok(None);
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
                let before = before.ok_or_else(|| corrupt(&path, "there are too many commits"))?;
                // A layer that is gone: Git wrote the chain anew; the next look finds that.
                let Some(layer) = Layer::open(&path, self.format, before)? else {
                    break;
                };
                layers.push(layer);
            }
        }
        loaded.layers = Arc::new(layers);
        loaded.stamps = Some(stamps);
        Ok(Some(loaded.layers.clone()))
    }
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

impl Layer {
    fn open(path: &Path, format: Format, before: u32) -> Result<Option<Layer>> {
        let source = match Source::open(path) {
            Err(error) if crate::error::is_absent(&error) => return Ok(None),
            other => other.map_err(io("open", path))?,
        };
        let short = |_| corrupt(path, "it is cut off");
        let header = source.read(0, 8).map_err(short)?;
        let hash = if format == Format::GitSha1 { 1 } else { 2 };
        if header[..6] != [b'C', b'G', b'P', b'H', 1, hash] {
            return Err(corrupt(
                path,
                "it is no commit-graph of version 1 for this repository",
            ));
        }
        let chunks = u64::from(header[6]);
        let end = source.len().saturating_sub(format.id_len() as u64);
        let mut found = [None; 4];
        let mut last = 8 + 12 * (chunks + 1);
        for chunk in 0..chunks {
            let row = source.read(8 + 12 * chunk, 24).map_err(short)?;
            let from = u64::from_be_bytes(row[4..12].try_into().expect("eight bytes"));
            let to = u64::from_be_bytes(row[16..24].try_into().expect("eight bytes"));
            if from < last || to < from || to > end {
                return Err(corrupt(path, "its chunks overlap or lie outside"));
            }
            last = from;
            let names = [b"OIDF", b"OIDL", b"CDAT", b"EDGE"];
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
        Ok(Some(Layer {
            path: path.into(),
            source,
            table,
            data_at: data.0,
            edges: found[3],
            before,
        }))
    }

    fn node(&self, at: u32, layers: &[Layer], format: Format) -> Result<Option<CommitNode>> {
        let id_len = format.id_len();
        let failed = || io("read", &self.path);
        let place = self.data_at + u64::from(at) * (id_len as u64 + 16);
        let row = self.source.read(place, id_len + 16).map_err(failed())?;
        let number =
            |at: usize| u32::from_be_bytes(row[at..at + 4].try_into().expect("four bytes"));
        let (first, second) = (number(id_len), number(id_len + 4));
        let (high, low) = (number(id_len + 8), number(id_len + 12));
        let generation = high >> 2;
        if generation == 0 || generation == LAST_GENERATION {
            return Ok(None);
        }
        let mut parents = Vec::new();
        if first != NO_PARENT {
            parents.push(parent(first, layers, &self.path)?);
        }
        if second & MORE_PARENTS != 0 {
            let mut edge = u64::from(second & !MORE_PARENTS);
            let (start, length) = self.edges.unwrap_or_default();
            loop {
                if edge >= length / 4 {
                    return Err(corrupt(&self.path, "a list of parents has no end"));
                }
                let found = self.source.u32(start + 4 * edge).map_err(failed())?;
                parents.push(parent(found & !MORE_PARENTS, layers, &self.path)?);
                if found & MORE_PARENTS != 0 {
                    break;
                }
                edge += 1;
            }
        } else if second != NO_PARENT {
            parents.push(parent(second, layers, &self.path)?);
        }
        Ok(Some(CommitNode {
            parents,
            generation,
            time: i64::from(high & 3) << 32 | i64::from(low),
        }))
    }
}

/// The commit of this number, counted through all layers.
fn parent(number: u32, layers: &[Layer], path: &Path) -> Result<Id> {
    let layer = layers.iter().rev().find(|layer| number >= layer.before);
    let layer = layer.filter(|layer| number - layer.before < layer.table.count());
    let layer = layer.ok_or_else(|| corrupt(path, "a parent is not in it"))?;
    layer
        .table
        .id(&layer.source, number - layer.before)
        .map_err(io("read", &layer.path))
}

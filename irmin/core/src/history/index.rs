//! Commits with their generations, in memory, as far as questions were asked.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::raw::{CommitData, Malformed};
use crate::{Backend, Id, Kind, ReadError};

/// An append-only graph of commits. A node is a number; its generation is one more than the
/// greatest of its parents', so that an ancestor's is always smaller.
#[derive(Default)]
pub(crate) struct Index {
    hasher: DefaultHashBuilder,
    by_id: HashTable<u32>,
    nodes: Vec<Node>,
    parents: Vec<u32>,
    shallow: Option<Vec<Id>>,
}

struct Node {
    id: Id,
    is_shallow: bool,
    /// 0 while it is not known.
    generation: u32,
    /// Where its parents stand.
    first: u32,
    /// `NOT_READ` while they are not known.
    count: u32,
}

const NOT_READ: u32 = u32::MAX;

impl Index {
    pub(super) fn id(&self, node: u32) -> Id {
        self.nodes[node as usize].id
    }

    pub(super) fn generation(&self, node: u32) -> u32 {
        self.nodes[node as usize].generation
    }

    pub(super) fn is_shallow(&self, node: u32) -> bool {
        self.nodes[node as usize].is_shallow
    }

    pub(super) fn parents(&self, node: u32) -> core::ops::Range<usize> {
        let Node { first, count, .. } = self.nodes[node as usize];
        first as usize..(first + count) as usize
    }

    pub(super) fn parent(&self, at: usize) -> u32 {
        self.parents[at]
    }

    /// The commit's node, with its generation.
    pub(super) fn load(&mut self, backend: &dyn Backend, id: &Id) -> Result<u32, ReadError> {
        let node = self.node(id);
        self.know(backend, node)?;
        Ok(node)
    }

    fn node(&mut self, id: &Id) -> u32 {
        let hash = self.hasher.hash_one(id);
        if let Some(node) = self
            .by_id
            .find(hash, |node| self.nodes[*node as usize].id == *id)
        {
            return *node;
        }
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            id: *id,
            is_shallow: false,
            generation: 0,
            first: 0,
            count: NOT_READ,
        });
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.by_id
            .insert_unique(hash, node, |node| hasher.hash_one(nodes[*node as usize].id));
        node
    }

    /// Finds a node's parents and generation. Where the backend has no index, all commits before it
    /// that are not known yet are read, once.
    pub(super) fn know(&mut self, backend: &dyn Backend, node: u32) -> Result<(), ReadError> {
        if self.generation(node) > 0 {
            return Ok(());
        }
        let mut open = alloc::vec![node];
        while let Some(&node) = open.last() {
            if self.generation(node) > 0 {
                open.pop();
                continue;
            }
            if self.nodes[node as usize].count == NOT_READ {
                self.read(backend, node)?;
                continue;
            }
            let mut generation = 1;
            let before = open.len();
            for at in self.parents(node) {
                let parent = self.parents[at];
                match self.generation(parent) {
                    0 => open.push(parent),
                    parent => generation = generation.max(parent.saturating_add(1)),
                }
            }
            if open.len() == before {
                self.nodes[node as usize].generation = generation;
                open.pop();
            }
        }
        Ok(())
    }

    fn read(&mut self, backend: &dyn Backend, node: u32) -> Result<(), ReadError> {
        let id = self.id(node);
        if self.shallow.is_none() {
            let mut shallow = backend.shallow()?;
            shallow.sort_unstable();
            self.shallow = Some(shallow);
        }
        let is_shallow = self
            .shallow
            .as_ref()
            .is_some_and(|shallow| shallow.binary_search(&id).is_ok());
        let (parents, generation) = if is_shallow {
            (Vec::new(), 1)
        } else if let Some(known) = backend.commit_node(&id)? {
            (known.parents, known.generation)
        } else {
            let object = backend.read(&id)?.ok_or(ReadError::Missing {
                id,
                kind: Kind::Commit,
            })?;
            if object.kind != Kind::Commit {
                return Err(ReadError::WrongKind {
                    id,
                    kind: Kind::Commit,
                    found: object.kind,
                });
            }
            let links = CommitData::decode_links(backend.format(), &object.data);
            let (_, parents) =
                links.map_err(|malformed: Malformed| ReadError::Malformed { id, malformed })?;
            (parents, 0)
        };
        let first = self.parents.len() as u32;
        for parent in &parents {
            let parent = self.node(parent);
            self.parents.push(parent);
        }
        let count = parents.len() as u32;
        let node = &mut self.nodes[node as usize];
        (node.first, node.count, node.generation, node.is_shallow) =
            (first, count, generation, is_shallow);
        Ok(())
    }
}

//! What we say that we have, so that the server sends only the rest.
//!
//! The commits of our names are told from the newest on; what the server has too, and all before it,
//! is not told again.

use std::collections::{BTreeSet, BinaryHeap};

use hashbrown::{HashMap, HashSet};
use irmin::raw::CommitData;
use irmin::{Backend, Id, Kind};

use crate::error::{SyncError, protocol};

/// After so many haves in a row that the server does not know, it is told to begin.
pub(super) const IN_VAIN: usize = 256;

/// What the server was told, and what it said to it.
#[derive(Default)]
pub(super) struct Told {
    all: HashSet<Id>,
    /// What it has too.
    pub common: BTreeSet<Id>,
    /// How many it was told since it last had something new.
    in_vain: usize,
}

impl Told {
    /// The next haves to tell, at most so many.
    pub fn round(&mut self, haves: &mut Haves<'_>, most: usize) -> Result<Vec<Id>, SyncError> {
        let mut new = Vec::new();
        while new.len() < most {
            match haves.next()? {
                Some(have) => new.push(have),
                None => break,
            }
        }
        self.in_vain += new.len();
        self.all.extend(new.iter().copied());
        Ok(new)
    }

    /// Whether to tell more is not worth it.
    pub fn is_in_vain(&self) -> bool {
        !self.common.is_empty() && self.in_vain >= IN_VAIN
    }

    /// Takes in what the server acknowledges: we have to have said it.
    pub fn acknowledged(&mut self, haves: &mut Haves<'_>, id: Id) -> Result<(), SyncError> {
        if !self.all.contains(&id) {
            return protocol(format!("it acknowledges {id}, of which it was not told"));
        }
        haves.common(id);
        if self.common.insert(id) {
            self.in_vain = 0;
        }
        Ok(())
    }
}

/// Commits to tell the server, best first.
pub(super) struct Haves<'a> {
    store: &'a dyn Backend,
    shallow: HashSet<Id>,
    nodes: HashMap<Id, Node>,
    queue: BinaryHeap<(i64, Id)>,
    /// How many in the queue the server is not known to have.
    open: usize,
}

struct Node {
    parents: Box<[Id]>,
    common: bool,
    /// To be told although the server has it: it does not know that we have it.
    told_first: bool,
    queued: bool,
}

impl<'a> Haves<'a> {
    /// Those of these tips, of which the server has `theirs`.
    pub fn new(store: &'a dyn Backend, tips: &[Id], theirs: &[Id]) -> Result<Haves<'a>, SyncError> {
        let mut haves = Haves {
            store,
            shallow: store.shallow()?.into_iter().collect(),
            nodes: HashMap::new(),
            queue: BinaryHeap::new(),
            open: 0,
        };
        let tips: HashSet<Id> = tips.iter().copied().collect();
        for id in theirs.iter().filter(|id| tips.contains(*id)) {
            haves.add(*id, false)?;
            if let Some(node) = haves.nodes.get_mut(id) {
                node.told_first = true;
            }
        }
        for id in tips {
            haves.add(id, false)?;
        }
        Ok(haves)
    }

    /// Adds a commit, or what a tag leads to.
    fn add(&mut self, mut id: Id, common: bool) -> Result<(), SyncError> {
        loop {
            if let Some(node) = self.nodes.get(&id) {
                if common && !node.common {
                    self.common(id);
                }
                return Ok(());
            }
            let Some(object) = self.store.read(&id)? else {
                return Ok(());
            };
            let format = self.store.format();
            match object.kind {
                Kind::Commit => {
                    let Ok(data) = CommitData::decode(format, &object.data) else {
                        return Ok(());
                    };
                    let cut = self.shallow.contains(&id);
                    self.queue.push((data.committer.seconds(), id));
                    self.open += usize::from(!common);
                    let node = Node {
                        parents: if cut {
                            Box::default()
                        } else {
                            data.parents.into()
                        },
                        common,
                        told_first: false,
                        queued: true,
                    };
                    self.nodes.insert(id, node);
                    return Ok(());
                }
                Kind::Tag => {
                    let mut next = None;
                    irmin::links(format, &object, &|_| false, &mut |link| {
                        next = Some(link.id)
                    })?;
                    match next {
                        Some(target) => id = target,
                        None => return Ok(()),
                    }
                }
                Kind::Tree | Kind::Blob => return Ok(()),
            }
        }
    }

    /// The server has this commit too, and so all before it.
    pub fn common(&mut self, id: Id) {
        let mut all = vec![id];
        while let Some(id) = all.pop() {
            if let Some(node) = self.nodes.get_mut(&id)
                && !node.common
            {
                node.common = true;
                self.open -= usize::from(node.queued);
                all.extend(&node.parents);
            }
        }
    }

    /// The next commit to tell; `None` when all that are left are known to the server.
    pub fn next(&mut self) -> Result<Option<Id>, SyncError> {
        while self.open > 0 {
            let Some((_, id)) = self.queue.pop() else {
                break;
            };
            let node = self.nodes.get_mut(&id).expect("what is queued is known");
            node.queued = false;
            self.open -= usize::from(!node.common);
            let parents_are_common = node.common || node.told_first;
            let tell = !node.common || node.told_first;
            for parent in node.parents.clone() {
                self.add(parent, parents_are_common)?;
            }
            if tell {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use irmin::{Format, Info, Memory, Repo, Signature};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_the_server_has_is_told_once_and_nothing_before_it() {
        let memory = Arc::new(Memory::new(Format::GitSha1));
        let repo = Repo::new(memory.clone());
        let main = repo.branch("main").unwrap();
        let ids: Vec<Id> = (0..20)
            .map(|n| {
                let info = Info::new(Signature::new("A", "a@b", n, 0), "m\n");
                main.change(&info, |edit| edit.set("n", n.to_string()))
                    .unwrap()
                    .id()
            })
            .collect();
        let all = |haves: &mut Haves<'_>| {
            let mut all = Vec::new();
            while let Some(id) = haves.next().unwrap() {
                all.push(ids.iter().position(|one| *one == id).unwrap());
            }
            all
        };
        let tips = [ids[19], ids[5]];
        let newest_first: Vec<usize> = (0..20).rev().collect();
        assert_eq!(
            all(&mut Haves::new(&*memory, &tips[..1], &[]).unwrap()),
            newest_first
        );
        assert_eq!(
            all(&mut Haves::new(&*memory, &tips[..1], &[ids[19]]).unwrap()),
            [19]
        );
        let mut some = Haves::new(&*memory, &tips, &[]).unwrap();
        assert_eq!(some.next().unwrap(), Some(ids[19]));
        some.common(ids[19]);
        assert_eq!(some.next().unwrap(), None);
        let mut later = Haves::new(&*memory, &tips, &[]).unwrap();
        for at in (16..20).rev() {
            assert_eq!(later.next().unwrap(), Some(ids[at]));
        }
        later.common(ids[17]);
        assert_eq!(all(&mut later), Vec::<usize>::new());
    }
}

//! Which commits both sides have.

use std::cell::OnceCell;

use hashbrown::HashSet;
use irmin::{Commit, Id, RefName};

use super::advertise::peeled;
use super::shallow::{Cut, Depth};
use super::{Host, ServerError, history, id, refused};

/// What a client asks for, line by line, and what is known of what it has.
pub(super) struct Request {
    pub(super) wants: Vec<Id>,
    pub(super) depth: Depth,
    pub(super) options: Vec<String>,
    /// What both have, in the order in which it was found.
    pub(super) commons: Vec<Id>,
    common_ids: HashSet<Id>,
    wanted_ids: HashSet<Id>,
    /// Whether all that is wanted follows from what is common, as found with so many commons.
    ready: Option<(usize, bool)>,
    /// What the client may read.
    pub(super) names: Vec<(RefName, Id)>,
    head: Option<Id>,
    heads: OnceCell<Vec<Commit>>,
}

/// So many common commits, and wanted ones, are looked at to say that enough is known.
const COMMONS_MAX: usize = 64;
const WANTS_MAX: usize = 256;

impl Request {
    pub(super) fn new(host: &Host<'_>) -> Result<Request, ServerError> {
        Ok(Request {
            wants: Vec::new(),
            depth: Depth::default(),
            options: Vec::new(),
            commons: Vec::new(),
            common_ids: HashSet::new(),
            wanted_ids: HashSet::new(),
            ready: None,
            names: host.names()?,
            head: host.head()?.id,
            heads: OnceCell::new(),
        })
    }

    pub(super) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }

    /// Reads a line that says what is wanted and how deep. `false`: it says something else.
    pub(super) fn line(&mut self, host: &Host<'_>, line: &str) -> Result<bool, ServerError> {
        let number = |text: &str| match text.parse::<i64>() {
            Ok(number) => Ok(number),
            Err(_) => refused(format!("{line:?} holds no number")),
        };
        match line.split_once(' ') {
            Some(("want", wanted)) => {
                let wanted = id(host, wanted)?;
                if self.wanted_ids.insert(wanted) {
                    self.wants.push(wanted);
                }
            }
            Some(("shallow", text)) => drop(self.depth.client.insert(id(host, text)?)),
            Some(("deepen", text)) => {
                let depth = u32::try_from(number(text)?).ok().filter(|depth| *depth > 0);
                let Some(depth) = depth else {
                    return refused(format!("{line:?} is no depth"));
                };
                self.depth.depth = Some(depth);
            }
            Some(("deepen-since", text)) => self.depth.since = Some(number(text)?),
            Some(("deepen-not", name)) => self.depth.not.push(name.into()),
            _ if line == "deepen-relative" => self.depth.is_relative = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses what this client may not be given.
    pub(super) fn check(&self, host: &Host<'_>) -> Result<(), ServerError> {
        let tips: HashSet<Id> = self.tips().collect();
        let mut others: Vec<Id> = Vec::new();
        others.extend(self.wants.iter().filter(|want| !tips.contains(*want)));
        if others.is_empty() {
            return Ok(());
        }
        // A client that was told what a tag means may ask for that.
        let mut told = HashSet::new();
        for (name, tip) in &self.names {
            told.extend(peeled(host, name, *tip)?);
        }
        others.retain(|want| !told.contains(want));
        // Only a commit can be in a history.
        let commits = others.iter().filter_map(|want| host.repo.commit(want).ok());
        let commits: Vec<Commit> = commits.collect();
        let found = history::among(host, self.heads(host), &commits)?;
        match others.iter().find(|want| !found.contains(*want)) {
            Some(want) => refused(format!("not our ref {want}")),
            None => Ok(()),
        }
    }

    fn tips(&self) -> impl Iterator<Item = Id> {
        self.names.iter().map(|(_, tip)| *tip).chain(self.head)
    }

    /// The commits that readable names lead to.
    fn heads(&self, host: &Host<'_>) -> &[Commit] {
        self.heads.get_or_init(|| {
            let tips: HashSet<Id> = self.tips().collect();
            // A name may point to a tree or a blob, which has no history.
            let heads = tips.iter().filter_map(|tip| host.repo.peel(tip).ok());
            heads.collect()
        })
    }

    /// Notes what the client has; gives those that we have too, in their order.
    pub(super) fn have(&mut self, host: &Host<'_>, haves: &[Id]) -> Result<Vec<Id>, ServerError> {
        let mut found = Vec::new();
        for have in haves {
            if self.common_ids.contains(have) || host.repo.backend().contains(have)? {
                found.push(*have);
            }
        }
        if !host.gate.reads_all() {
            let commits = found.iter().filter_map(|have| host.repo.commit(have).ok());
            let commits: Vec<Commit> = commits.collect();
            let readable = history::among(host, self.heads(host), &commits)?;
            found.retain(|have| readable.contains(have));
        }
        for have in &found {
            if self.common_ids.insert(*have) {
                self.commons.push(*have);
            }
        }
        Ok(found)
    }

    /// Whether each commit that is wanted has a common one in its history: then there is nothing more
    /// to find out. Where that costs too much it is not said: the client tells the rest.
    pub(super) fn is_ready(&mut self, host: &Host<'_>) -> Result<bool, ServerError> {
        if let Some((count, ready)) = self.ready
            && (ready || count == self.commons.len())
        {
            return Ok(ready);
        }
        let commons = self
            .commons
            .iter()
            .rev()
            .filter_map(|id| host.repo.commit(id).ok());
        let commons: Vec<Commit> = commons.take(COMMONS_MAX).collect();
        let mut ready = !commons.is_empty() && self.wants.len() <= WANTS_MAX;
        for want in self.wants.iter().take(WANTS_MAX) {
            let Ok(want) = host.repo.peel(want) else {
                continue;
            };
            let mut is_found = false;
            for common in &commons {
                is_found = is_found || want.has_ancestor(common)?;
            }
            ready &= is_found;
            if !ready {
                break;
            }
        }
        self.ready = Some((self.commons.len(), ready));
        Ok(ready)
    }

    /// Where the client's history ends, and what it is told of that.
    pub(super) fn cut(&self, host: &Host<'_>) -> Result<Cut, ServerError> {
        self.depth.cut(host, &self.wants, || self.heads(host))
    }
}

//! Which commits both sides have.

use hashbrown::HashSet;
use irmin::{Commit, Id, RefName};

use super::advertise::peeled;
use super::shallow::{Cut, Depth};
use super::{Host, ServerError, id, refused};

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
    names: Vec<(RefName, Id)>,
    head: Option<Id>,
}

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
        let tips: HashSet<Id> = self
            .names
            .iter()
            .map(|(_, tip)| *tip)
            .chain(self.head)
            .collect();
        for want in self.wants.iter().filter(|want| !tips.contains(*want)) {
            if !self.is_peeled(host, want)? && !self.is_in_history(host, want)? {
                return refused(format!("not our ref {want}"));
            }
        }
        Ok(())
    }

    /// Whether it is what a tag means: a client that was told so may ask for that.
    fn is_peeled(&self, host: &Host<'_>, id: &Id) -> Result<bool, ServerError> {
        for (name, tip) in &self.names {
            if peeled(host, name, *tip)? == Some(*id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a commit is in the history of a name that the client may read.
    fn is_in_history(&self, host: &Host<'_>, id: &Id) -> Result<bool, ServerError> {
        let Ok(commit) = host.repo.commit(id) else {
            return Ok(false);
        };
        let mut asked = HashSet::new();
        for tip in self.names.iter().map(|(_, tip)| *tip).chain(self.head) {
            // A name may point to a tree or a blob, which has no history.
            if asked.insert(tip)
                && let Ok(tip) = host.repo.resolve(&tip.to_string())
                && tip.has_ancestor(&commit)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what the client has; whether we have it too.
    pub(super) fn have(&mut self, host: &Host<'_>, have: Id) -> Result<bool, ServerError> {
        let is_common = self.common_ids.contains(&have)
            || (host.repo.backend().contains(&have)?
                && (host.gate.reads_all() || self.is_in_history(host, &have)?));
        if is_common && self.common_ids.insert(have) {
            self.commons.push(have);
        }
        Ok(is_common)
    }

    /// Whether each commit that is wanted has a common one in its history: then there is nothing more
    /// to find out.
    pub(super) fn is_ready(&mut self, host: &Host<'_>) -> Result<bool, ServerError> {
        if let Some((count, ready)) = self.ready
            && (ready || count == self.commons.len())
        {
            return Ok(ready);
        }
        let commons: Vec<Commit> = self
            .commons
            .iter()
            .rev()
            .filter_map(|id| host.repo.commit(id).ok())
            .collect();
        let mut ready = !commons.is_empty();
        for want in &self.wants {
            let Ok(want) = host.repo.resolve(&want.to_string()) else {
                continue;
            };
            let mut found = false;
            for common in &commons {
                found = want.has_ancestor(common)?;
                if found {
                    break;
                }
            }
            ready &= found;
            if !ready {
                break;
            }
        }
        self.ready = Some((self.commons.len(), ready));
        Ok(ready)
    }

    /// Where the client's history ends, and what it is told of that.
    pub(super) fn cut(&self, host: &Host<'_>) -> Result<Cut, ServerError> {
        self.depth.cut(host, &self.wants)
    }
}

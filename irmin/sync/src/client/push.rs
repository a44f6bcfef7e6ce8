//! Pushing: names of ours, and what they lead to, become names of theirs.

use hashbrown::{HashMap, HashSet};
use irmin::{Expect, Id, RefEdit, RefName, UpdateError};
use irmin_packfile::{GiveOptions, Given, PackStore};

use super::listing::{ByName, Listing, goodbye, introduction};
use super::report::{self, Report};
use super::update::goes_forwards;
use super::{OnProgress, Progress, Remote, Reporter};
use crate::advertisement::{Advertisement, RemoteRef};
use crate::capabilities::Capabilities;
use crate::error::{SyncError, protocol};
use crate::pktline::{Bands, Reader, Writer};
use crate::refspec::Refspec;
use crate::transport::Service;
use crate::walk;

/// What is pushed, and how.
#[derive(Default)]
pub struct PushOptions<'a> {
    /// Which names of ours become which of theirs; without a source a name of theirs is deleted.
    pub refspecs: Vec<Refspec>,
    /// Names of theirs that move, also backwards, only if they are here now (compare and swap; Git's
    /// `--force-with-lease`); `None`: only if there is no such name.
    pub leases: Vec<(RefName, Option<Id>)>,
    /// All names move, or none.
    pub atomic: bool,
    /// Refspecs of fetches: names of ours that follow theirs move with them.
    pub tracking: Vec<Refspec>,
    /// Who hears what goes on.
    pub progress: Option<OnProgress<'a>>,
}

/// What a push did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// What became of each name of theirs.
    pub names: Vec<PushedRef>,
    /// The pack that went; `None` if they had everything or nothing was tried.
    pub given: Option<Given>,
    /// Why names of ours that follow theirs did not move, if they did not.
    pub not_tracked: Option<UpdateError>,
}

impl Pushed {
    /// Whether every name is where it was to be.
    pub fn is_complete(&self) -> bool {
        self.names.iter().all(|one| !one.status.is_refused())
    }
}

/// A name of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedRef {
    /// Which name.
    pub name: RefName,
    /// The name of ours that was pushed; `None` for an id, and where one is deleted.
    pub source: Option<RefName>,
    /// What it pointed to before.
    pub old: Option<Id>,
    /// What it was to point to; `None` to be deleted.
    pub new: Option<Id>,
    /// What was done.
    pub status: PushStatus,
}

/// What was done with a name of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushStatus {
    /// Nothing: it is there already.
    UpToDate,
    /// It was made, moved or deleted.
    Done,
    /// Not tried: it would lose commits. Fetch and merge, or force it (`+`).
    NotForwards,
    /// Not tried: it is a tag, which does not move without force (`+`).
    TagStays,
    /// Not tried: it is not where the lease says.
    Stale,
    /// Not tried, because another name was refused and all were to move or none.
    NotTried,
    /// The other side refused, and says why.
    Rejected(String),
}

impl PushStatus {
    /// Whether the name is not where it was to be.
    pub fn is_refused(&self) -> bool {
        !matches!(self, PushStatus::UpToDate | PushStatus::Done)
    }
}

impl Remote {
    /// Sends what the other side lacks and has it move its names. Only what is missing there goes.
    /// Names that do not move are told in [`Pushed::names`].
    ///
    /// # Errors
    /// [`SyncError`]. Unless the connection failed after everything was sent, no name has moved there.
    pub fn push(
        &mut self,
        store: &dyn PackStore,
        mut options: PushOptions<'_>,
    ) -> Result<Pushed, SyncError> {
        let reporter = Reporter::new(options.progress.take());
        // There is no version 2 of this service.
        let mut connection = self.transport.connect(Service::ReceivePack, 0)?;
        let greeting = Advertisement::read(&mut Reader::new(connection.greeting()?))?;
        let format = greeting.format()?;
        let Advertisement::Names {
            capabilities,
            names,
            haves,
            shallow,
        } = greeting
        else {
            return protocol("it speaks a version of pushing that is not known here");
        };
        let waits = !connection.is_stateless();
        if format != store.format() {
            goodbye(connection, waits)?;
            return Err(SyncError::Format {
                there: format,
                here: store.format(),
            });
        }
        let listing = Listing { format, names };
        let mut names = plan(store, &listing, &options)?;
        if options.atomic && names.iter().any(|one| one.status.is_refused()) {
            for one in names
                .iter_mut()
                .filter(|one| one.status == PushStatus::Done)
            {
                one.status = PushStatus::NotTried;
            }
        }
        let tried = |one: &&PushedRef| one.status == PushStatus::Done;
        if !names.iter().any(|one| tried(&one)) {
            goodbye(connection, waits)?;
            return Ok(Pushed {
                names,
                given: None,
                not_tracked: None,
            });
        }
        let words = words(&capabilities, &names, &options, format)?;
        let mut theirs = super::listing::ids(&listing.names);
        theirs.extend(haves);
        let wants: Vec<Id> = names
            .iter()
            .filter(tried)
            .filter_map(|one| one.new)
            .collect();
        let cut: HashSet<Id> = shallow.into_iter().collect();
        let mut listed = |count| {
            reporter.say(Progress::Objects(count));
            true
        };
        let mut walk_options = walk::Options {
            have_cut: Some(&cut),
            progress: Some(&mut listed),
            ..walk::Options::default()
        };
        let mut found =
            walk::found(store, &wants, &theirs, &mut walk_options).map_err(SyncError::Walk)?;
        let mut bases = std::mem::take(&mut found.bases);
        if capabilities.has("no-thin") {
            bases.clear();
        }
        let objects = found.all();
        let own_shallow = store.shallow()?;
        let mut given = None;
        let answer = connection.request(&mut |out| {
            let mut out = Writer::new(out);
            for id in &own_shallow {
                out.line(format_args!("shallow {id}"))?;
            }
            for (at, one) in names.iter().filter(tried).enumerate() {
                let zero = "0".repeat(2 * format.id_len());
                let hex = |id: Option<Id>| id.map_or(zero.clone(), |id| id.to_string());
                let (old, new, name) = (hex(one.old), hex(one.new), &one.name);
                match at {
                    0 => out.line(format_args!("{old} {new} {name}\0{words}"))?,
                    _ => out.line(format_args!("{old} {new} {name}"))?,
                }
            }
            out.flush_packet()?;
            // What only deletes is followed by no pack.
            if !wants.is_empty() {
                let mut progress = |progress| reporter.say(Progress::Pack(progress));
                let options = GiveOptions {
                    bases: &bases,
                    offset_deltas: capabilities.has("ofs-delta"),
                    progress: Some(&mut progress),
                };
                given = Some(store.give_pack(&objects, out.get_mut(), options)?);
            }
            Ok(())
        })?;
        let mut reader = Reader::new(answer);
        let report = if capabilities.has("side-band-64k") {
            let mut said = |line: &str| reporter.say(Progress::Remote(line));
            report::read(&mut Reader::new(Bands::new(&mut reader, &mut said)))?
        } else {
            report::read(&mut reader)?
        };
        drop(reader);
        connection.finish()?;
        settle(&mut names, report);
        Ok(Pushed {
            not_tracked: track(store, &names, &options.tracking).err(),
            names,
            given,
        })
    }
}

/// The capabilities that we use.
fn words(
    offered: &Capabilities,
    names: &[PushedRef],
    options: &PushOptions<'_>,
    format: irmin::Format,
) -> Result<String, SyncError> {
    let needs = |word: &str, what: &str| {
        if offered.has(word) {
            return Ok(());
        }
        Err(SyncError::Invalid(format!(
            "the server cannot {what} ({word})"
        )))
    };
    needs("report-status", "say whether a push succeeded")?;
    let deletes = |one: &PushedRef| one.status == PushStatus::Done && one.new.is_none();
    if names.iter().any(deletes) {
        needs("delete-refs", "delete names")?;
    }
    if options.atomic {
        needs("atomic", "move all names or none")?;
    }
    let report = if offered.has("report-status-v2") {
        "report-status-v2"
    } else {
        "report-status"
    };
    let mut words = vec![report.to_string()];
    let optional = [("side-band-64k", true), ("atomic", options.atomic)];
    for (word, wanted) in optional {
        if wanted && offered.has(word) {
            words.push(word.into());
        }
    }
    words.extend(introduction(offered, format));
    Ok(words.join(" "))
}

/// What is to become of which name of theirs.
fn plan(
    store: &dyn PackStore,
    listing: &Listing,
    options: &PushOptions<'_>,
) -> Result<Vec<PushedRef>, SyncError> {
    let mut all: Vec<PushedRef> = Vec::new();
    let mut planned: HashMap<RefName, Option<Id>> = HashMap::new();
    let there = listing.by_name();
    // Of several leases of a name the first counts.
    let leases: HashMap<&RefName, Option<Id>> = options
        .leases
        .iter()
        .rev()
        .map(|(name, id)| (name, *id))
        .collect();
    for Target {
        name,
        source,
        new,
        force,
    } in targets(store, &there, &options.refspecs)?
    {
        match planned.insert(name.clone(), new) {
            None => {}
            Some(first) if first == new => continue,
            Some(_) => {
                return Err(SyncError::Invalid(format!(
                    "{name} would become two things at once"
                )));
            }
        }
        let old = there.find(name.as_str()).and_then(|one| one.id);
        let status = match (old, new, leases.get(&name)) {
            (old, _, Some(expected)) if old != *expected => PushStatus::Stale,
            (old, new, _) if old == new => PushStatus::UpToDate,
            (_, _, Some(_)) => PushStatus::Done,
            (Some(old), Some(new), None) if !force => {
                if name.as_str().starts_with("refs/tags/") {
                    PushStatus::TagStays
                } else if goes_forwards(store, old, new)? {
                    PushStatus::Done
                } else {
                    PushStatus::NotForwards
                }
            }
            _ => PushStatus::Done,
        };
        all.push(PushedRef {
            name,
            source,
            old,
            new,
            status,
        });
    }
    Ok(all)
}

/// A name of theirs, what it is to point to, and whether it may lose commits.
struct Target {
    name: RefName,
    source: Option<RefName>,
    new: Option<Id>,
    force: bool,
}

/// Each name of theirs that is to move.
fn targets(
    store: &dyn PackStore,
    there: &ByName<'_>,
    refspecs: &[Refspec],
) -> Result<Vec<Target>, SyncError> {
    let mut all = Vec::new();
    let (negative, positive): (Vec<&Refspec>, Vec<&Refspec>) =
        refspecs.iter().partition(|spec| spec.negative);
    let left_out = |name: &str| negative.iter().any(|spec| spec.fits(name).is_some());
    for spec in positive {
        let force = spec.force;
        if spec.is_pattern() {
            for (name, id) in store.heads("refs/")? {
                let Some(star) = spec
                    .fits(name.as_str())
                    .filter(|_| !left_out(name.as_str()))
                else {
                    continue;
                };
                let target = match spec.target {
                    None => Some(name.clone()),
                    Some(_) => spec.target_of(star),
                };
                let bad = || SyncError::Invalid(format!("{spec} makes no name of {name}"));
                all.push(Target {
                    name: target.ok_or_else(bad)?,
                    source: Some(name),
                    new: Some(id),
                    force,
                });
            }
            continue;
        }
        let target = spec.target.as_deref();
        let (source, new) = match &spec.source[..] {
            "" => (None, None),
            text => {
                let (source, id) = ours(store, text)?;
                (source, Some(id))
            }
        };
        let name = match (target, &source) {
            (Some(target), _) => theirs(there, target, (source.as_ref(), new))?,
            (None, Some(source)) => source.clone(),
            (None, None) => {
                return Err(SyncError::Invalid(format!(
                    "{0} is no branch or tag of ours: say which name of theirs it becomes \
                     ({0}:refs/heads/...)",
                    spec.source
                )));
            }
        };
        all.push(Target {
            name,
            source,
            new,
            force,
        });
    }
    Ok(all)
}

/// A name of ours, possibly a short one, or an id, of which the beginning is enough.
fn ours(store: &dyn PackStore, text: &str) -> Result<(Option<RefName>, Id), SyncError> {
    for name in RefName::meanings(text) {
        let Some(id) = store.head(&name)? else {
            continue;
        };
        if name.as_str() != "HEAD" {
            return Ok((Some(name), id));
        }
        // Unless it is detached, it is the branch that is pushed.
        let branch = store.default_branch()?;
        let is_there = store.head(&branch)? == Some(id);
        return Ok((is_there.then_some(branch), id));
    }
    if let Ok(id) = Id::from_hex(text.as_bytes())
        && store.contains(&id)?
    {
        return Ok((None, id));
    }
    let is_short = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = match is_short {
        true => store.ids(&text.to_ascii_lowercase(), 2)?,
        false => Vec::new(),
    };
    match found[..] {
        [only] => Ok((None, only)),
        [] => Err(SyncError::Invalid(format!(
            "{text} is no name and no object of ours"
        ))),
        _ => Err(SyncError::Invalid(format!(
            "{text} begins the ids of several objects; give more digits"
        ))),
    }
}

/// Git's shortest abbreviation of an id.
const SHORTEST: usize = 4;

/// A name of theirs, possibly a short one: one that there is, or of the kind of the source.
fn theirs(
    there: &ByName<'_>,
    text: &str,
    (source, new): (Option<&RefName>, Option<Id>),
) -> Result<RefName, SyncError> {
    let invalid = |error: irmin::RefNameError| SyncError::Invalid(error.to_string());
    if text.starts_with("refs/") {
        return RefName::new(text).map_err(invalid);
    }
    if let Some(RemoteRef { name, .. }) = there.resolve(text)
        && name.as_str() != "HEAD"
    {
        return Ok(name.clone());
    }
    if new.is_none() {
        // As in Git, a full name that is not there is gone already, and a short one is a mistake.
        return Err(SyncError::NoSuchName { name: text.into() });
    }
    let kinds = ["refs/heads/", "refs/tags/"].into_iter();
    let kind = source.and_then(|name| kinds.clone().find(|kind| name.as_str().starts_with(kind)));
    match kind {
        Some(kind) => RefName::new(&format!("{kind}{text}")).map_err(invalid),
        None => Err(SyncError::Invalid(format!(
            "there is no {text} on the other side, and what is pushed is no branch or tag: say in \
             full what it becomes (refs/heads/{text})"
        ))),
    }
}

/// Takes in what the server says of each name.
fn settle(names: &mut [PushedRef], report: Report) {
    for one in names
        .iter_mut()
        .filter(|one| one.status == PushStatus::Done)
    {
        match report.get(one.name.as_str()) {
            Some(None) => {}
            Some(Some(why)) => one.status = PushStatus::Rejected(why.clone()),
            None => one.status = PushStatus::Rejected("it was not reported".into()),
        }
    }
}

/// Moves the names of ours that follow theirs.
fn track(
    store: &dyn PackStore,
    names: &[PushedRef],
    tracking: &[Refspec],
) -> Result<(), UpdateError> {
    let mut edits: Vec<RefEdit> = Vec::new();
    let mut seen = HashSet::new();
    for one in names.iter().filter(|one| !one.status.is_refused()) {
        for spec in tracking.iter().filter(|spec| !spec.negative) {
            let Some(name) = spec
                .fits(one.name.as_str())
                .and_then(|star| spec.target_of(star))
            else {
                continue;
            };
            if store.head(&name)? != one.new && seen.insert(name.clone()) {
                edits.push(RefEdit {
                    name,
                    expect: Expect::Any,
                    new: one.new,
                });
            }
        }
    }
    if edits.is_empty() {
        Ok(())
    } else {
        store.update(&edits)
    }
}

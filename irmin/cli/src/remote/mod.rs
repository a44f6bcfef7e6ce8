//! Other stores: which there are, how they are reached, and what goes on while they are talked to.

mod clone;
mod fetch;
mod fetch_head;
mod push;
mod upstream;

use std::env;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use irmin::{Id, RefName};
use irmin_sync::transport::{Calls, Credentials, Settings};
use irmin_sync::{Refspec, Remote, SyncError};
use serde_json::json;

pub use clone::clone;
pub use fetch::{fetch, pull};
pub use push::push;
pub use upstream::expanded;

use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::{Output, harmless};
use crate::place::{self, Place};

/// A store somewhere else, as the configuration has it.
struct Known {
    /// Its name, or the URL that was typed.
    name: String,
    /// As it is written or was typed.
    written: String,
    url: String,
    push_url: String,
    /// What is fetched from it.
    fetch: Vec<Refspec>,
    is_mirror: bool,
    /// What is called there.
    calls: Calls,
}

impl Known {
    /// The remote of this name, or at this URL; `.` is the repository itself, as in Git.
    fn find(place: &Place, config: &Config, typed: &str) -> Result<Known> {
        let key = |key: &str| format!("remote.{typed}.{key}");
        let Some(url) = config.get(&key("url")) else {
            let is_path = Path::new(typed).exists();
            if !is_path && !typed.contains(':') {
                return Err(Failure::broken_with(
                    format!("there is no remote {typed}"),
                    format!("git remote add {typed} URL makes one; or give the URL itself"),
                ));
            }
            let url = match typed {
                "." => address(&place.folder.to_string_lossy()),
                url => address(url),
            };
            return Ok(Known {
                name: typed.into(),
                written: typed.into(),
                push_url: url.clone(),
                url,
                fetch: Vec::new(),
                is_mirror: false,
                calls: Calls::default(),
            });
        };
        let specs = key("fetch");
        let fetch = config.all(&specs).map(|spec| Ok(spec.parse()?));
        let fetch = fetch.collect::<Result<_>>()?;
        Ok(Known {
            name: typed.into(),
            written: url.into(),
            url: address(url),
            push_url: address(config.get(&key("pushurl")).unwrap_or(url)),
            fetch,
            is_mirror: config.is_true(&key("mirror")),
            calls: Calls {
                upload_pack: config.get(&key("uploadpack")).map(Into::into),
                receive_pack: config.get(&key("receivepack")).map(Into::into),
            },
        })
    }

    /// The remote that is meant where none is named: that of the branch, or `origin`.
    fn usual<'a>(config: &'a Config, branch: &RefName) -> &'a str {
        let key = format!("branch.{}.remote", branch.short());
        config.get(&key).unwrap_or("origin")
    }

    /// Where a branch is pushed if nothing is said: a remote, and a name there.
    fn pushed<'a>(config: &'a Config, branch: &RefName) -> (&'a str, String) {
        let usual = Known::usual(config, branch);
        let own = format!("branch.{}.pushremote", branch.short());
        let other = config.get(&own).or(config.get("remote.pushdefault"));
        let remote = other.unwrap_or(usual);
        let theirs = Known::merged(config, branch).filter(|_| remote == usual);
        (remote, theirs.map_or(branch.to_string(), Into::into))
    }

    /// The name on the usual remote that is merged into a branch, if that is configured.
    fn merged<'a>(config: &'a Config, branch: &RefName) -> Option<&'a str> {
        config.get(&format!("branch.{}.merge", branch.short()))
    }

    /// Ours that follows this name of theirs.
    fn tracking(&self, theirs: &str) -> Option<RefName> {
        let specs = self.fetch.iter().filter(|spec| !spec.negative);
        specs
            .filter_map(|spec| spec.target_of(spec.fits(theirs)?))
            .next()
    }
}

/// A folder of this machine is told by where the store itself is; all else is a URL.
fn address(url: &str) -> String {
    let path = Path::new(url);
    if !path.is_dir() {
        return url.into();
    }
    let found = match place::repository(path) {
        Some(place::Found::Native(folder)) => folder,
        _ => path.into(),
    };
    let full = fs::canonicalize(&found).unwrap_or(found);
    full.to_string_lossy().into_owned()
}

/// The way to a store, and what is called there.
fn at(url: &str, calls: &Calls, config: &Config) -> Result<Remote> {
    let mut settings = Settings::from_env();
    settings.calls = calls.clone();
    if settings.ssh_command.is_none() {
        settings.ssh_command = config.get("core.sshcommand").map(Into::into);
    }
    settings.ask = Some(Arc::new(credentials));
    Remote::at(url, &settings).map_err(mistyped)
}

/// A refspec as it was typed.
fn refspec(typed: &str) -> Result<Refspec> {
    typed.parse().map_err(mistyped)
}

/// A refspec of names, as a fetch takes.
fn refspec_of_names(typed: &str) -> Result<Refspec> {
    let spec = refspec(typed)?;
    if !spec.is_of_names() {
        let what = format!("{typed:?} is no refspec: what is fetched is a name");
        return Err(Failure::Usage { what, help: None });
    }
    Ok(spec)
}

/// A text that is wrong in itself is the fault of who typed it.
fn mistyped(error: SyncError) -> Failure {
    match error {
        SyncError::Invalid(what) => Failure::Usage { what, help: None },
        error => error.into(),
    }
}

/// `IRMIN_TOKEN`, or what `git credential` knows.
fn credentials(url: &str, user: Option<&str>) -> Option<Credentials> {
    if let Some(token) = env::var("IRMIN_TOKEN").ok().filter(|text| !text.is_empty()) {
        return Some(Credentials::Bearer(token));
    }
    if url.contains(['\n', '\0']) || user.is_some_and(|user| user.contains(['\n', '\0'])) {
        return None;
    }
    let mut git = Command::new("git");
    git.args(["credential", "fill"]);
    if !std::io::stderr().is_terminal() {
        git.env("GIT_TERMINAL_PROMPT", "0").stderr(Stdio::null());
    }
    let mut git = git
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut question = format!("url={url}\n");
    if let Some(user) = user {
        question += &format!("username={user}\n");
    }
    git.stdin
        .take()?
        .write_all((question + "\n").as_bytes())
        .ok()?;
    let answer = git.wait_with_output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let value = |key: &str| {
        let mut lines = answer.lines();
        lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_string()))
    };
    Some(Credentials::Basic {
        user: value("username")?,
        password: value("password")?,
    })
}

/// A line on what became of a name.
pub fn tell(
    out: &mut Output,
    what: &str,
    name: &RefName,
    (old, new): (Option<Id>, Option<Id>),
    why: Option<&str>,
) -> Result<()> {
    if out.json {
        out.value(&json!({
            "name": name.as_str(),
            "status": what,
            "old": old.map(|id| id.to_string()),
            "new": new.map(|id| id.to_string()),
            "why": why,
        }))?;
        return Ok(());
    }
    let shown = |id: Option<Id>| id.map_or("-".into(), |id| id.to_string());
    let why = why.map_or(String::new(), |why| format!(": {}", harmless(why)));
    let name = harmless(name.as_str());
    out.line(format_args!(
        "{what} {name} {} {}{why}",
        shown(old),
        shown(new)
    ))?;
    Ok(())
}

/// The configuration of a place, and the current branch.
fn here(place: &Place) -> Result<(Config, RefName)> {
    let config = Config::read(&place.folder)?;
    Ok((config, place.repo.backend().default_branch()?))
}

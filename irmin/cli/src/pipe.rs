//! `irmin upload-pack`, `receive-pack`: Git's protocol on standard input and output, for ssh.

use std::env;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;

use irmin_sync::server::{Host, Open, Policy, Service, Veil, Version, converse};
use irmin_sync::transport::Taker;

use crate::cli::Pipe;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::place::{Kind, Place};

/// `irmin upload-pack`.
pub fn upload_pack(pipe: &Pipe) -> Result<u8> {
    answer(pipe, Service::UploadPack)
}

/// `irmin receive-pack`.
pub fn receive_pack(pipe: &Pipe) -> Result<u8> {
    answer(pipe, Service::ReceivePack)
}

fn answer(pipe: &Pipe, service: Service) -> Result<u8> {
    let folder = there(&pipe.folder);
    let place = match service {
        // Others may fetch at the same time, and one may write.
        Service::UploadPack => Place::at_to_read(&folder)?,
        Service::ReceivePack => Place::at(&folder)?,
    };
    if let (Service::ReceivePack, Kind::Git(git)) = (service, &place.kind) {
        match Taker::of(git.path()) {
            Taker::Git => return by_git(&folder),
            Taker::Nobody(why) => return Err(Failure::broken_with(why, "install git there")),
            _ => {}
        }
    }
    let rules = match service {
        Service::UploadPack => Config::read(&place.folder)?.hidden("uploadpack"),
        Service::ReceivePack => Vec::new(),
    };
    let host = Host {
        repo: &place.repo,
        store: &*place.store,
        gate: &Veil {
            gate: &Open,
            rules: &rules,
        },
        policy: Policy {
            has_work_tree: place.has_work_tree()?,
            ..Policy::default()
        },
    };
    let version = match place.kind {
        // An ssh server hands the variable on only if it is told to, and no other version will do.
        Kind::Native(_) => Version::V2,
        Kind::Git(_) => Version::from_text(&env::var("GIT_PROTOCOL").unwrap_or_default()),
    };
    let mut from = BufReader::new(io::stdin().lock());
    let mut to = BufWriter::new(io::stdout().lock());
    converse(&host, service, version, &mut from, &mut to).map_err(Failure::broken)?;
    Ok(0)
}

/// The folder that is meant: over ssh no shell sees a `~`, and `.git` may be left out, as in Git.
fn there(folder: &Path) -> PathBuf {
    let mut there = match (folder.strip_prefix("~"), env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => folder.into(),
    };
    if !there.exists() {
        let mut longer = there.clone().into_os_string();
        longer.push(".git");
        if Path::new(&longer).exists() {
            there = longer.into();
        }
    }
    there
}

/// Has git's own `receive-pack` take the push: hooks are run and the settings `receive.*` hold.
fn by_git(folder: &Path) -> Result<u8> {
    let mut git = Command::new("git");
    git.args(["receive-pack", "--"]).arg(folder);
    let ended = git
        .status()
        .map_err(|error| Failure::broken(format_args!("git does not start: {error}")))?;
    match ended.success() {
        true => Ok(0),
        false => Err(Failure::broken(format_args!(
            "git receive-pack ended with {ended}"
        ))),
    }
}

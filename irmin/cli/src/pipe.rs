//! `irmin upload-pack`, `receive-pack`: Git's protocol on standard input and output, for ssh.

use std::io::{self, BufReader, BufWriter};

use irmin_sync::server::{Host, Open, Policy, Service, Version, converse};

use crate::cli::Pipe;
use crate::failure::{Failure, Result};
use crate::place::Place;

/// `irmin upload-pack`.
pub fn upload_pack(pipe: &Pipe) -> Result<u8> {
    answer(pipe, Service::UploadPack)
}

/// `irmin receive-pack`.
pub fn receive_pack(pipe: &Pipe) -> Result<u8> {
    answer(pipe, Service::ReceivePack)
}

fn answer(pipe: &Pipe, service: Service) -> Result<u8> {
    let place = Place::at(&pipe.folder)?;
    let host = Host {
        repo: &place.repo,
        store: &*place.store,
        gate: &Open,
        policy: Policy {
            has_work_tree: place.has_work_tree()?,
            ..Policy::default()
        },
    };
    let version = std::env::var("GIT_PROTOCOL").unwrap_or_default();
    let version = Version::from_text(&version);
    let mut from = BufReader::new(io::stdin().lock());
    let mut to = BufWriter::new(io::stdout().lock());
    converse(&host, service, version, &mut from, &mut to).map_err(Failure::broken)?;
    Ok(0)
}

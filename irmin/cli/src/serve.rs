//! `irmin serve`, `token`: the repository over HTTP.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use irmin_serve::{Hidden, Options, Receiver, Server, Tls, Tokens};
use irmin_sync::transport::{Taker, git_elsewhere};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::{Serve, Token};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output::{Output, note};
use crate::place::{Kind, Place, shown};

/// `irmin serve`.
pub fn serve(place: Place, serve: &Serve, out: &mut Output) -> Result<u8> {
    let is_loopback = serve.listen.ip().is_loopback();
    if !is_loopback && serve.tokens.is_none() && !serve.open_to_all {
        return Err(Failure::usage(
            format!(
                "{} can be reached from other machines, and everybody there could do everything",
                serve.listen
            ),
            "say who may do what with --tokens FILE (`irmin token` makes one), or that it is meant so with --open-to-all",
        ));
    }
    let tokens = serve.tokens.as_deref().map(tokens).transpose()?;
    let tls = match (&serve.tls_cert, &serve.tls_key) {
        (Some(certificate), Some(key)) => {
            let tls = Tls::new(&read(certificate)?, &read(key)?);
            Some(tls.map_err(|error| {
                Failure::broken_with(
                    error.to_string(),
                    "give the certificate's file and that of its key, both in PEM",
                )
            })?)
        }
        _ => None,
    };
    if !is_loopback && tokens.is_some() && tls.is_none() {
        note("note: without --tls-cert and --tls-key, tokens go over the network for all to read");
    }
    let config = Config::read(&place.folder)?;
    let options = Options {
        listen: serve.listen,
        name: match &serve.name {
            Some(name) => name.clone(),
            None => name(&place.folder),
        },
        tokens,
        tls,
        read_only: serve.read_only,
        origins: serve.allow_origin.clone(),
        hosts: serve.allow_host.clone(),
        has_work_tree: place.has_work_tree()?,
        only_forwards: serve.only_forwards,
        hidden: Hidden {
            from_fetches: config.hidden("uploadpack"),
            from_pushes: config.hidden("receive"),
        },
        receiver: receiver(&place, serve.only_forwards),
        ..Options::default()
    };
    let name = options.name.clone();
    let is_git = place.repo.format().is_git();
    let server = Server::bind(place.store, options)
        .map_err(|error| Failure::broken_with(error.to_string(), "give --listen ADDRESS:PORT"))?;
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::broken(format_args!("signals cannot be taken: {error}")))?;
    let stop = server.stop();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stop.stop();
        }
    });
    let url = server.url();
    match out.json {
        true => out.value(&json!({
            "url": url,
            "git": format!("{url}/{name}.git"),
            "api": format!("{url}/api/v1"),
        }))?,
        false => {
            out.line(format_args!("serving {}", shown(&place.folder)))?;
            let clone = match is_git {
                true => "git clone",
                false => "irmin clone",
            };
            out.line(format_args!("  {clone} {url}/{name}.git"))?;
            out.line(format_args!("  JSON at   {url}/api/v1"))?;
        }
    }
    out.flush()?;
    server.run().map_err(Failure::broken)?;
    Ok(0)
}

/// Who takes pushes to a Git repository: git's own `receive-pack`, where hooks or settings have a say.
fn receiver(place: &Place, only_forwards: bool) -> Option<Receiver> {
    let Kind::Git(_) = place.kind else {
        return None;
    };
    // The server may be started from another folder than hooks are run in.
    let folder = fs::canonicalize(&place.folder).unwrap_or(place.folder.clone());
    Some(Receiver(Arc::new(move || {
        let config = Config::read(&folder).map_err(|failure| failure.to_string())?;
        match Taker::asked(&folder, config.first_about_pushes()) {
            Taker::Ours => Ok(None),
            Taker::Nobody(why) => Err(why),
            Taker::Git => {
                let mut git = git_elsewhere();
                if only_forwards {
                    git.args(["-c", "receive.denyNonFastForwards=true"]);
                }
                git.args(["receive-pack", "--stateless-rpc"]).arg(&folder);
                Ok(Some(git))
            }
        }
    })))
}

/// What a repository is called: its folder without `.git`, as far as a URL holds it.
fn name(folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap_or(folder.into());
    let is_inside = |name: &std::ffi::OsStr| name == ".git" || name == ".irmin";
    let named = match folder.file_name() {
        Some(name) if is_inside(name) => folder.parent().and_then(Path::file_name),
        name => name,
    };
    let name = named.unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".git").unwrap_or(&name);
    let kept = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = name.chars().filter(kept).collect();
    match name.trim_matches('.').is_empty() || name == "api" {
        true => "store".into(),
        false => name,
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Failure::broken_with(
            format!("{} cannot be read: {error}", shown(path)),
            "give a file that is there and may be read",
        )
    })
}

/// The tokens in a file that nobody else may read.
fn tokens(path: &Path) -> Result<Tokens> {
    let text = read(path)?;
    let mode = fs::metadata(path).map_or(0, |found| found.mode());
    if mode & 0o077 != 0 {
        return Err(Failure::broken_with(
            format!("others may read or change the tokens in {}", shown(path)),
            format!("chmod 600 {}", shown(path)),
        ));
    }
    Tokens::parse(&String::from_utf8_lossy(&text)).map_err(|error| {
        Failure::broken_with(
            format!("{}: {error}", shown(path)),
            "a line is TOKEN read=PATTERN,PATTERN write=PATTERN; `irmin token` makes them",
        )
    })
}

/// `irmin token`.
pub fn token(token: &Token, out: &mut Output) -> Result<u8> {
    let mut random = [0; 24];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(|error| Failure::broken(format_args!("no randomness is to be had: {error}")))?;
    let made: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut line = made.clone();
    for (key, patterns) in [("read", &token.read), ("write", &token.write)] {
        if !patterns.is_empty() {
            line += &format!(" {key}={}", patterns.join(","));
        }
    }
    // Also that no pattern brings a line of its own.
    let is_one_line = !line.contains(['\n', '\r']);
    Tokens::parse(&line)
        .ok()
        .filter(|_| is_one_line)
        .ok_or_else(|| {
            Failure::usage(
                "a pattern stands for no names",
                "patterns are like main, ada/*, refs/tags/* and *",
            )
        })?;
    if token.file.exists() {
        // That it is no other file, and nobody else's.
        tokens(&token.file)?;
    }
    let broken = |error: io::Error| {
        Failure::broken(format_args!(
            "{} cannot be written: {error}",
            shown(&token.file)
        ))
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&token.file)
        .map_err(broken)?;
    file.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(broken)?;
    match out.json {
        true => out.value(&json!({ "token": made }))?,
        false => out.line(made)?,
    }
    Ok(0)
}

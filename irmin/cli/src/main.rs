//! `irmin`: a store that branches, merges and watches, at the shell.
//!
//! The store is a Git repository, so that `git` itself can read, check and clone all that is made
//! here, or one of irmin's own engine ([`place`] finds either). Names are resolved as Git resolves them, commits are signed
//! with the names that Git would use ([`identity`]), and whatever comes from a repository is made
//! harmless before it reaches a terminal ([`output`]).
//!
//! Exit codes: 0 for what is done; 1 where the answer is no; 2 for a command line that is wrong
//! whatever the repository holds; 3 for what could not be found out or done ([`failure`]).

#![forbid(unsafe_code)]

mod branches;
mod bundle;
mod cli;
mod config;
mod convert;
mod failure;
mod fsck;
mod gc;
mod graph;
mod history;
mod identity;
mod merge;
mod output;
mod pipe;
mod place;
mod progress;
mod remote;
mod serve;
mod signals;
mod svg;
mod tree;
mod watch;
mod write;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use cli::{Cli, Command, Completion};
use failure::{Failure, Result};
use output::Output;
use place::Place;

fn main() -> ExitCode {
    signals::ignore_file_limit();
    let cli = Cli::parse();
    let mut out = match Output::new(cli.json) {
        Ok(out) => out,
        Err(error) => return failed(error.into()),
    };
    let result = run(&cli, &mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => ExitCode::from(code),
        // Nobody reads any more: there is nobody to tell that either.
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was found before goes first.
            let _ = out.flush();
            failed(failure)
        }
    }
}

/// Says what went wrong; the exit code.
fn failed(failure: Failure) -> ExitCode {
    signals::let_end();
    let code = failure.code();
    failure::print(failure);
    ExitCode::from(code)
}

/// Does what was asked for; the exit code.
fn run(cli: &Cli, out: &mut Output) -> Result<u8> {
    let repo = cli.repo.as_deref();
    // What makes, checks or answers with a repository finds it in a way of its own.
    match &cli.command {
        Command::Init(init) => return place::init(init, repo, out),
        Command::Fsck(fsck) => return fsck::fsck(repo, fsck, out),
        Command::Convert(convert) => return convert::convert(convert, out),
        Command::Clone(clone) => return remote::clone(clone, out),
        Command::Token(token) => return serve::token(token, out),
        Command::Completion(completion) => return complete(completion, out),
        Command::UploadPack(pipe) => return pipe::upload_pack(pipe),
        Command::ReceivePack(pipe) => return pipe::receive_pack(pipe),
        _ => {}
    }
    let place = match cli.command.reads_only() {
        true => Place::find_to_read(repo)?,
        false => Place::find(repo)?,
    };
    let _begun = match &cli.command {
        // It ends in its own way.
        Command::Serve(_) => None,
        command if command.reads_only() => None,
        _ => place.begin(),
    };
    match &cli.command {
        Command::Get(get) => tree::get(&place, get, out),
        Command::Ls(ls) => tree::ls(&place, ls, out),
        Command::Tree(list) => tree::tree(&place, list, out),
        Command::Diff(diff) => tree::diff(&place, diff, out),
        Command::Set(set) => write::set(&place, set, out),
        Command::Rm(rm) => write::rm(&place, rm, out),
        Command::Log(log) => history::log(&place, log, out),
        Command::Branches(branches) => branches::branches(&place, branches, out),
        Command::Lcas(lcas) => history::lcas(&place, lcas, out),
        Command::Merge(merge) => merge::merge(&place, merge, out),
        Command::Watch(watch) => watch::watch(&place, watch, out),
        Command::Dot(graph) => graph::dot(&place, graph, out),
        Command::Svg(graph) => svg::svg(&place, graph, out),
        Command::Gc(_) => gc::gc(&place, out),
        Command::Serve(serve) => serve::serve(place, serve, out),
        Command::Export(export) => bundle::export(&place, export, out),
        Command::Import(import) => bundle::import(&place, import, out),
        Command::Fetch(fetch) => remote::fetch(&place, fetch, out),
        Command::Pull(pull) => remote::pull(&place, pull, out),
        Command::Push(push) => remote::push(&place, push, out),
        Command::Init(_)
        | Command::Clone(_)
        | Command::Convert(_)
        | Command::Fsck(_)
        | Command::Token(_)
        | Command::Completion(_)
        | Command::UploadPack(_)
        | Command::ReceivePack(_) => Ok(0),
    }
}

/// `irmin completion`.
fn complete(completion: &Completion, out: &mut Output) -> Result<u8> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(completion.shell, &mut command, "irmin", &mut script);
    out.contents(&script)?;
    Ok(0)
}

//! Pushes that a program takes: git's own `receive-pack`, so that hooks are run and settings hold.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::receive::{Asked, commands, keep_out, refuse, report};
use super::upload::Lines;
use super::{Host, Out, ServerError, tell};
use crate::pktline::Writer;

/// So many pieces of what the program says wait while it is still told.
const WAITING: usize = 1024;

/// As [`receive_pack`](super::receive_pack), but `program` takes the push, which is called with what
/// the client sends after it was told the names (`git receive-pack --stateless-rpc PATH`). What the gate
/// does not allow it never sees: then nothing of the push is done. Waits for the client and the program.
///
/// # Errors
/// [`ServerError`]; that a name did not move is none.
pub fn pass_on(
    host: &Host<'_>,
    program: Command,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let mut out = Writer::new(out);
    let result = passed(host, program, &mut Lines::new(input), &mut out);
    tell(result, &mut out)
}

/// As [`receive_pack`](super::receive_pack), but nothing of the push is done, for this reason.
///
/// # Errors
/// [`ServerError`], if the client is gone or says what is no push.
pub fn decline(
    host: &Host<'_>,
    why: String,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let mut out = Writer::new(out);
    let mut lines = Lines::new(input);
    let declined = commands(host, &mut lines, false)
        .and_then(|asked| turn_down(asked, &why, &mut lines, &mut out));
    tell(declined, &mut out)
}

/// Refuses all that is not refused yet, and says so.
fn turn_down(
    mut asked: Asked,
    why: &str,
    lines: &mut Lines<'_>,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    asked.moves.iter_mut().for_each(|one| refuse(one, why));
    // So that the client hears the report.
    io::copy(lines.rest(), &mut io::sink())?;
    report(&Ok(()), &asked, out)
}

fn passed(
    host: &Host<'_>,
    mut program: Command,
    lines: &mut Lines<'_>,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let mut asked = commands(host, lines, true)?;
    if asked.moves.is_empty() {
        return Ok(());
    }
    keep_out(host, &mut asked.moves);
    if asked.moves.iter().any(|one| one.name.is_err()) {
        let why = "not tried, because another name may not be moved";
        return turn_down(asked, why, lines, out);
    }
    program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_remove("GIT_PROTOCOL");
    let child = program.spawn().map_err(|error| ServerError::Request {
        what: format!("what takes pushes here does not start: {error}"),
    })?;
    let mut running = Running(child);
    let mut stdin = running.0.stdin.take().expect("it is a pipe");
    let said = listen(&mut running.0);
    let mut first = Writer::new(Vec::new());
    for line in &asked.lines {
        first.line(format_args!("{line}"))?;
    }
    first.flush_packet()?;
    feed(&mut stdin, &first.into_inner(), lines.rest(), &said, out)?;
    drop(stdin);
    while let Ok(piece) = said.recv() {
        out.get_mut().write_all(&piece)?;
    }
    out.flush()?;
    match running.0.wait()?.code() {
        // 1 is for what it has reported: the client has it.
        Some(0 | 1) => Ok(()),
        _ => Err(ServerError::Request {
            what: "what takes pushes here gave up; its server's log may say why".into(),
        }),
    }
}

/// Hands on what the client sends, and what is said meanwhile.
fn feed(
    stdin: &mut ChildStdin,
    first: &[u8],
    rest: &mut dyn Read,
    said: &Receiver<Vec<u8>>,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let mut buffer = vec![0; 64 << 10];
    let mut part = first.len();
    let mut is_open = stdin.write_all(first).is_ok();
    while part > 0 {
        part = rest.read(&mut buffer)?;
        // It may have heard enough, and says why.
        is_open = is_open && stdin.write_all(&buffer[..part]).is_ok();
        while let Ok(piece) = said.try_recv() {
            out.get_mut().write_all(&piece)?;
        }
    }
    Ok(())
}

/// What a program says, piece by piece, until it ends.
fn listen(child: &mut Child) -> Receiver<Vec<u8>> {
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let (to, said) = sync_channel(WAITING);
    thread::spawn(move || {
        let mut buffer = [0; 8 << 10];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            if to.send(buffer[..length].into()).is_err() {
                return;
            }
        }
    });
    said
}

/// A program that is ended where it is not waited for.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

//! Version 2: commands (gitprotocol-v2(5)).

use super::negotiate::Request;
use super::shallow::Cut;
use super::upload::{Line, Lines};
use super::{Bands, Host, Out, ServerError, Session, advertise, id, refused, send};

use crate::capabilities::format_name;

/// Answers commands until the client ends the conversation, or of a single request the one in it.
pub(super) fn commands(
    host: &Host<'_>,
    session: Session,
    lines: &mut Lines<'_>,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    loop {
        lines.restart();
        let Some((command, arguments)) = command(host, lines)? else {
            return Ok(());
        };
        match command.as_str() {
            "ls-refs" => advertise::ls_refs(host, &arguments, out)?,
            "fetch" => fetch(host, &arguments, out)?,
            other => return refused(format!("unknown command {other:?}")),
        }
        out.flush()?;
        if session == Session::Stateless {
            return Ok(());
        }
    }
}

/// The next command and its arguments; `None` if there are no more.
fn command(
    host: &Host<'_>,
    lines: &mut Lines<'_>,
) -> Result<Option<(String, Vec<String>)>, ServerError> {
    let (mut command, mut arguments) = (None, Vec::new());
    let mut is_behind = false;
    loop {
        match lines.packet()? {
            None if command.is_none() => return Ok(None),
            None => return Err(ServerError::Ended),
            Some(Line::Flush) => {
                let Some(command) = command else {
                    return Ok(None);
                };
                return Ok(Some((command, arguments)));
            }
            Some(Line::Delimiter) if !is_behind => is_behind = true,
            Some(Line::Text(line)) => {
                match line.split_once('=') {
                    _ if is_behind => arguments.push(line),
                    Some(("command", name)) => command = Some(name.to_string()),
                    Some(("object-format", name)) if name != format_name(host.format()) => {
                        return refused(format!(
                            "this store's object format is {}, and not {name}",
                            format_name(host.format())
                        ));
                    }
                    // The client's name, and what else it tells of itself.
                    _ => {}
                }
            }
            Some(Line::Delimiter) => return refused("a second delimiter has no meaning here"),
        }
    }
}

fn fetch(host: &Host<'_>, arguments: &[String], out: &mut Out<'_>) -> Result<(), ServerError> {
    let mut request = Request::new(host)?;
    let (mut is_done, mut haves) = (false, Vec::new());
    for line in arguments {
        match line.as_str() {
            "done" => is_done = true,
            "thin-pack" | "no-progress" | "include-tag" | "ofs-delta" | "wait-for-done" => {
                request.options.push(line.clone());
            }
            line => match line.strip_prefix("have ") {
                Some(have) => haves.push(id(host, have)?),
                None if request.line(host, line)? => {}
                None => return refused(format!("{line:?} is not understood here")),
            },
        }
    }
    let acknowledged = request.have(host, &haves)?;
    request.check(host)?;
    if !is_done && !haves.is_empty() {
        out.line(format_args!("acknowledgments"))?;
        if acknowledged.is_empty() {
            out.line(format_args!("NAK"))?;
        }
        for id in &acknowledged {
            out.line(format_args!("ACK {id}"))?;
        }
        if request.has("wait-for-done") || !request.is_ready(host)? {
            out.flush_packet()?;
            return Ok(());
        }
        out.line(format_args!("ready"))?;
        out.delimiter()?;
    }
    if request.wants.is_empty() {
        return refused("nothing is wanted");
    }
    let cut = request.cut(host)?;
    if request.depth.is_asked() || !cut.shallow.is_empty() {
        out.line(format_args!("shallow-info"))?;
        write_cut(&cut, out)?;
        out.delimiter()?;
    }
    out.line(format_args!("packfile"))?;
    send::send(host, &request, &cut, Bands::Large, out)
}

/// Tells the client where its history will end.
pub(super) fn write_cut(cut: &Cut, out: &mut Out<'_>) -> Result<(), ServerError> {
    for id in &cut.shallow {
        out.line(format_args!("shallow {id}"))?;
    }
    for id in &cut.unshallow {
        out.line(format_args!("unshallow {id}"))?;
    }
    Ok(())
}

//! `mirage backtrace`: names the return addresses in what an image wrote when it panicked on its
//! own, without a tool that watched.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use miette::{Diagnostic, IntoDiagnostic as _, Report};
use thiserror::Error;

use crate::cli::Backtrace;
use crate::descriptor::Artifact;
use crate::generate::Layout;
use crate::launch::{Symbols, Twin};
use crate::metadata;
use crate::report::short;

/// There is no twin to look names up in.
#[derive(Debug, Error, Diagnostic)]
#[error("{file} could not be read: {why}")]
#[diagnostic(help("`mirage build` makes an image and beside it this file, which has the names"))]
struct NoTwin {
    file: String,
    why: io::Error,
}

/// Copies a log from standard input to standard output; behind each return address of an image
/// stands the function and its place. Waits for the log's end.
pub fn backtrace(command: &Backtrace) -> Result<(), Report> {
    let path = twin(command.path.as_deref())?;
    let twin = Twin::read(&path).map_err(|why| NoTwin {
        file: short(&path),
        why,
    })?;
    let symbols = twin.symbols().into_diagnostic()?;
    match copy(io::stdin().lock(), io::stdout().lock(), &symbols) {
        // A pipe that closes early (`| head`) ends it quietly.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.into_diagnostic(),
    }
}

/// The twin meant by `path`: the file itself, or that of the application there.
fn twin(path: Option<&Path>) -> Result<PathBuf, Report> {
    if let Some(path) = path
        && path.extension().is_some_and(|end| end == "debug")
    {
        return Ok(path.into());
    }
    let model = metadata::load(&metadata::manifest(path)?)?;
    let layout = Layout::new(&model.target, &model.app().name, Artifact::Image);
    Ok(layout.product.with_added_extension("debug"))
}

fn copy(log: impl BufRead, mut to: impl Write, symbols: &Symbols<'_>) -> io::Result<()> {
    for line in log.split(b'\n') {
        let line = line?;
        to.write_all(&line)?;
        match address(&line).filter(|address| symbols.is_code(*address)) {
            Some(address) => {
                let mut space = " ".to_string();
                // The call is before the address to return to.
                for frame in symbols.frames(address, address - 1) {
                    let function = frame.function.as_deref().unwrap_or("?");
                    let place = frame.place().map(|place| format!(" at {place}"));
                    writeln!(to, "{space}{function}{}", place.unwrap_or_default())?;
                    space = " ".repeat(line.len() + 1);
                }
            }
            None => to.write_all(b"\n")?,
        }
    }
    Ok(())
}

/// The address that a line consists of: `  0x102b4c`.
fn address(line: &[u8]) -> Option<u64> {
    let word = str::from_utf8(line).ok()?.trim();
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_alone_in_its_line() {
        assert_eq!(address(b"  0x102b4c"), Some(0x10_2b4c));
        assert_eq!(address(b"0x102b4c\r"), Some(0x10_2b4c));
        for line in [
            &b""[..],
            b"0x",
            b"at 0x102b4c",
            b"102b4c",
            b"0x10 0x20",
            b"\xff",
        ] {
            assert_eq!(address(line), None);
        }
    }
}

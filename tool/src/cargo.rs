//! Cargo, run on a generated crate: progress while it works, the compiler's own words when it
//! fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{BuildScript, Message, TargetKind};
use miette::{Diagnostic, IntoDiagnostic as _, Report, WrapErr as _};
use thiserror::Error;

use crate::descriptor::Artifact;
use crate::generate::Layout;
use crate::metadata::TARGET;
use crate::ui::Ui;

/// What Cargo shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Make the product.
    Build,
    /// Type-check only.
    Check,
}

/// What Cargo did.
#[derive(Debug, Default)]
pub struct Done {
    /// The file that it made.
    pub executable: Option<PathBuf>,
    /// The files and folders that went into it.
    pub inputs: Vec<PathBuf>,
    /// The environment variables that build scripts read.
    pub variables: BTreeSet<String>,
}

/// Why there is no product.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// The compiler refused.
    #[error("{name} could not be built")]
    #[diagnostic(help("the compiler says why above"))]
    Compiler { name: String },
    /// Cargo, or a build step, refused.
    #[error("{name} could not be built")]
    #[diagnostic(help("cargo says:\n{said}"))]
    Cargo { name: String, said: String },
    /// There is no Cargo.
    #[error("cargo could not be started: {why}")]
    #[diagnostic(help("install Rust from https://rustup.rs, or put cargo into PATH"))]
    NoCargo { why: std::io::Error },
}

/// What to build.
pub struct Order<'a> {
    /// What to do.
    pub verb: Verb,
    /// The application's name.
    pub name: &'a str,
    /// The application's folder: Cargo's configuration is looked up from there.
    pub folder: &'a Path,
    /// Where things are.
    pub layout: &'a Layout,
    /// How many packages there are.
    pub packages: usize,
    /// What is made.
    pub artifact: Artifact,
    /// What panic messages call these folders.
    pub shown: &'a BTreeMap<PathBuf, String>,
}

/// Cargo as this process was given it.
pub fn command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// An image lies at a fixed address in the lowest 2 GiB: its code may name addresses in four bytes.
/// The compiler's jump tables cost more than the comparisons that they save.
const SMALL: [&str; 2] = ["-Crelocation-model=static", "-Cjump-tables=no"];

/// The compiler's options, as a setting for Cargo. They rename folders in panic messages, and
/// nowhere else: debuggers and the compiler's own messages need the real ones.
fn flags(artifact: Artifact, shown: &BTreeMap<PathBuf, String>) -> String {
    let small: &[&str] = match artifact {
        Artifact::Image => &SMALL,
        Artifact::Program => &[],
    };
    let renamed = shown
        .iter()
        .map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()));
    let flags: toml_edit::Array = ["--remap-path-scope=macro"]
        .iter()
        .chain(small)
        .map(|flag| String::from(*flag))
        .chain(renamed)
        .collect();
    format!("target.{TARGET}.rustflags={flags}")
}

/// Runs Cargo. Waits for it.
pub fn run(order: &Order<'_>, ui: &Ui) -> Result<Done, Report> {
    let verb = match order.verb {
        Verb::Build => "build",
        Verb::Check => "check",
    };
    let format = if ui.color {
        "json-diagnostic-rendered-ansi"
    } else {
        "json"
    };
    let mut child = command()
        .args([verb, "--release", "--target", TARGET])
        .args(["--message-format", format])
        .arg("--manifest-path")
        .arg(order.layout.folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&order.layout.build)
        .arg("--config")
        .arg(flags(order.artifact, order.shown))
        .current_dir(order.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| Error::NoCargo { why })?;
    let stderr = child.stderr.take();
    let said = thread::spawn(move || {
        let mut said = String::new();
        // What is not UTF-8 is not shown.
        let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut said));
        said
    });
    let progress = ui.progress(order.name, order.packages);
    let mut done = Done::default();
    let mut packages = BTreeSet::new();
    let mut errors = 0;
    let stdout = child.stdout.take();
    for message in stdout
        .into_iter()
        .flat_map(|s| Message::parse_stream(BufReader::new(s)))
    {
        match message
            .into_diagnostic()
            .wrap_err("cargo's messages could not be read")?
        {
            Message::CompilerArtifact(artifact) => {
                if !artifact.target.kind.contains(&TargetKind::CustomBuild) {
                    packages.insert(artifact.package_id.repr.clone());
                    progress.advance(packages.len(), &artifact.target.name);
                }
                if let Some(executable) = artifact.executable {
                    done.executable = Some(executable.into());
                }
            }
            Message::CompilerMessage(message) => {
                let error = matches!(
                    message.message.level,
                    DiagnosticLevel::Error | DiagnosticLevel::Ice
                );
                errors += usize::from(error);
                if let Some(text) = &message.message.rendered {
                    progress.print(text);
                }
            }
            Message::BuildScriptExecuted(script) => script_inputs(&script, &mut done),
            _ => {}
        }
    }
    let status = child.wait().into_diagnostic()?;
    let said = said.join().unwrap_or_default();
    progress.finish();
    if !status.success() {
        let name = order.name.to_string();
        return Err(if errors > 0 {
            Error::Compiler { name }.into()
        } else {
            let said = essence(&said);
            Error::Cargo { name, said }.into()
        });
    }
    if let Some(executable) = &done.executable {
        let list = fs::read_to_string(executable.with_extension("d")).unwrap_or_default();
        // What build scripts made is no input.
        let inputs = dependencies(&list);
        done.inputs.extend(
            inputs
                .into_iter()
                .filter(|path| !path.starts_with(&order.layout.build)),
        );
    }
    Ok(done)
}

/// Cargo's words without its progress.
fn essence(said: &str) -> String {
    const PROGRESS: [&str; 7] = [
        "Compiling ",
        "Checking ",
        "Downloading ",
        "Downloaded ",
        "Updating ",
        "Locking ",
        "Blocking ",
    ];
    let lines = said.lines().filter(|line| {
        let line = line.trim_start();
        !PROGRESS.iter().any(|word| line.starts_with(word))
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_string()
}

/// What a build script said that it reads. The files it names stand in the dependency list too.
fn script_inputs(script: &BuildScript, done: &mut Done) {
    let Some(folder) = script.out_dir.parent() else {
        return;
    };
    let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
    let mut named = false;
    for line in output.lines() {
        let line = line
            .strip_prefix("cargo::")
            .or_else(|| line.strip_prefix("cargo:"));
        let line = line.unwrap_or_default();
        if let Some(variable) = line.strip_prefix("rerun-if-env-changed=") {
            done.variables.insert(variable.into());
        }
        named |= line.starts_with("rerun-if-");
    }
    // Cargo then takes the whole package for its input.
    if !named
        && let Some(package) = script.package_id.repr.strip_prefix("path+file://")
        && let Some((folder, _)) = package.split_once('#')
    {
        done.inputs.push(folder.into());
    }
}

/// The paths in a dependency list as `make` would read it: `target: a b\ c`.
fn dependencies(list: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in list.lines() {
        let Some((_, rest)) = line.split_once(": ") else {
            continue;
        };
        let mut path = String::new();
        let mut characters = rest.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if characters.peek() == Some(&' ') => {
                    path.push(' ');
                    characters.next();
                }
                ' ' => paths.push(std::mem::take(&mut path)),
                other => path.push(other),
            }
        }
        paths.push(path);
    }
    let paths = paths.into_iter().filter(|path| !path.is_empty());
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_list_is_read_with_its_escapes() {
        assert_eq!(
            dependencies("/t/a: /s/main.rs /s/my\\ site\n\n/t/b:\n"),
            [PathBuf::from("/s/main.rs"), PathBuf::from("/s/my site")]
        );
    }

    #[test]
    fn cargos_words_are_kept_and_its_progress_is_not() {
        assert_eq!(
            essence("   Compiling a v1\nerror: no\n\nCaused by:\n  that\n"),
            "error: no\n\nCaused by:\n  that"
        );
    }
}

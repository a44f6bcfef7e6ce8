//! What is tested and measured: the tool, the tender, and images made with the tool.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("this crate is a folder of the workspace")
}

/// A command of the Cargo that runs us, in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The programs, built from this workspace in release mode.
pub struct Product {
    /// The root of the workspace.
    pub root: PathBuf,
    /// The tool.
    pub mirage: PathBuf,
}

impl Product {
    /// Builds the tool, with Cargo's progress shown.
    pub fn build() -> Result<Self> {
        Ok(Self {
            root: root().into(),
            mirage: executable("mirage", "mirage")?,
        })
    }

    /// Builds the tender alone; the tool carries its own copy.
    pub fn tender(&self) -> Result<PathBuf> {
        executable("mirage-tender-process", "mirage-tender-process")
    }

    /// The target folder that Cargo uses here.
    pub fn target(&self) -> Result<PathBuf> {
        // TARGET/release/mirage
        let target = self.mirage.ancestors().nth(2);
        target
            .map(PathBuf::from)
            .context("the tool lies outside a target folder")
    }

    /// A command of the tool, run in the workspace.
    pub fn mirage(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.mirage);
        command.args(words).current_dir(&self.root);
        command
    }

    /// Builds the application at `path` with the tool; `keys` are build-time keys, `KEY=VALUE`.
    pub fn image(&self, path: &str, keys: &[String]) -> Result<PathBuf> {
        let mut command = self.mirage(&["build", path, "--json"]);
        for key in keys {
            command.args(["--set", key]);
        }
        built(command)
    }
}

/// Runs a command `mirage build ... --json` and returns the image it names.
pub fn built(mut command: Command) -> Result<PathBuf> {
    let output = command.output().context("cannot start mirage")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{text}{error}", output.status);
    }
    let image = text.lines().rev().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let built = value["event"] == "built";
        built
            .then(|| value["path"].as_str().map(PathBuf::from))
            .flatten()
    });
    image.with_context(|| format!("{command:?} names no image:\n{text}"))
}

/// Builds a binary in release mode and asks Cargo where it lies.
pub fn executable(package: &str, name: &str) -> Result<PathBuf> {
    let output = cargo()
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            package,
            "--bin",
            name,
        ])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cannot build {package}");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.lines().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let ours = value["target"]["name"] == name;
        ours.then(|| value["executable"].as_str().map(PathBuf::from))
            .flatten()
    });
    path.with_context(|| format!("cargo does not say where {name} lies"))
}

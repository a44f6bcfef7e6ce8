//! Whether what was built last is still what would be built now, answered without Cargo.
//!
//! After a build the tool notes everything that went into it: its own version, the command's
//! settings, the environment that Cargo heeds, and each file with its time and size. When all
//! of that is as it was, `mirage run` starts the image at once. Any doubt means no, and then
//! Cargo is asked, who knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::descriptor::Artifact;
use crate::generate::Layout;
use crate::summary::Summary;

/// What is noted of a file or folder; `None` when it is not there.
pub type Mark = Option<(i64, i64, u64)>;

/// What went into a build.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    request: Request,
    inputs: BTreeMap<PathBuf, Mark>,
    /// What build scripts read from the environment.
    variables: BTreeMap<String, Option<String>>,
    /// What was built.
    pub summary: Summary,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The application's Cargo.toml.
    pub manifest: PathBuf,
    /// What it is to run on.
    pub on: String,
    /// The build-time settings.
    pub settings: Vec<String>,
    /// The current folder, when a setting may count from it.
    folder: Option<PathBuf>,
    tool: String,
    environment: BTreeMap<String, String>,
}

impl Request {
    /// What this process was asked for.
    pub fn new(manifest: &Path, on: &str, settings: &[String]) -> Self {
        Self {
            manifest: manifest.into(),
            on: on.into(),
            settings: settings.to_vec(),
            folder: (!settings.is_empty())
                .then(|| std::env::current_dir().ok())
                .flatten(),
            tool: tool(),
            environment: environment(),
        }
    }
}

/// The tool itself: another build of it may build otherwise.
fn tool() -> String {
    let file = std::env::current_exe().ok();
    let mark = file.and_then(|file| mark(&file));
    format!("{} {mark:?}", env!("CARGO_PKG_VERSION"))
}

/// The variables that Cargo, rustup or rustc heed, and what PATH makes of the programs that they
/// run. What Cargo sets for a program of its own (`cargo run`) is not among them.
fn environment() -> BTreeMap<String, String> {
    const NAMES: [&str; 13] = [
        "HOME",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "RUSTC_BOOTSTRAP",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_HOME",
        "CARGO_TARGET_DIR",
        "CARGO_INCREMENTAL",
        "SOURCE_DATE_EPOCH",
    ];
    const PREFIXES: [&str; 5] = [
        "CARGO_BUILD_",
        "CARGO_TARGET_",
        "CARGO_PROFILE_",
        "CARGO_UNSTABLE_",
        "CARGO_CFG_",
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = ["cargo", "rustc", "cc"].map(|program| {
        let files = std::env::split_paths(&path).map(|folder| folder.join(program));
        let found = files
            .filter(|file| file.is_file())
            .map(PathBuf::into_os_string);
        (format!("PATH: {program}"), found.take(1).collect())
    });
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| {
            NAMES.contains(&name.as_str()) || PREFIXES.iter().any(|p| name.starts_with(p))
        })
        .chain(programs)
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// What is noted of the file or folder at `path`.
pub fn mark(path: &Path) -> Mark {
    fs::metadata(path).ok().map(|data| note(&data))
}

fn note(data: &Metadata) -> (i64, i64, u64) {
    // A folder's size says nothing that its time does not.
    let size = if data.is_dir() { 0 } else { data.len() };
    (data.mtime(), data.mtime_nsec(), size)
}

/// Adds `path` and, when it is a folder, all below it.
pub fn walk(path: &Path, inputs: &mut BTreeMap<PathBuf, Mark>) {
    let data = fs::metadata(path).ok();
    inputs.insert(path.into(), data.as_ref().map(note));
    // A link to a folder is noted, and not followed: it may lead back up.
    let folder = data.is_some_and(|data| data.is_dir());
    let link = fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
    if folder && !link {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), inputs);
        }
    }
}

/// The state of the last build, if it answers `request` and all is still as it was.
///
/// Returns at once: it looks at files only.
pub fn find(request: &Request, name: &str) -> Option<Summary> {
    let folder = request.manifest.parent()?;
    let layouts = targets(folder).into_iter().flat_map(|target| {
        let artifacts = [Artifact::Image, Artifact::Program];
        artifacts.map(|artifact| Layout::new(&target, name, artifact))
    });
    let mut states = layouts.filter_map(|layout| {
        let text = fs::read_to_string(file(&layout)).ok()?;
        serde_json::from_str::<State>(&text).ok()
    });
    let state = states.find(|state| state.request == *request)?;
    let same = state.inputs.iter().all(|(path, then)| mark(path) == *then)
        && state
            .variables
            .iter()
            .all(|(name, then)| variable(name) == *then);
    same.then_some(state.summary)
}

fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

fn file(layout: &Layout) -> PathBuf {
    layout.folder.join("state.json")
}

/// Where the target folder may be, without asking Cargo: wrong guesses hold no state for this
/// application.
fn targets(folder: &Path) -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        if let Some(target) = std::env::var_os(name) {
            return vec![here.join(target)];
        }
    }
    let mut targets = Vec::new();
    for config in configs(folder) {
        let text = fs::read_to_string(&config).unwrap_or_default();
        let document = text.parse::<toml_edit::DocumentMut>().ok();
        let target = document
            .as_ref()
            .and_then(|d| d.get("build")?.get("target-dir")?.as_str());
        if let (Some(target), Some(base)) = (target, config.parent().and_then(Path::parent)) {
            targets.push(base.join(target));
        }
    }
    targets.extend(folder.ancestors().map(|folder| folder.join("target")));
    targets
}

/// The configuration files that Cargo would read for a package in `folder`, there or not.
fn configs(folder: &Path) -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = folder.ancestors().map(|f| f.join(".cargo")).collect();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    homes.extend(home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))));
    homes
        .iter()
        .flat_map(|home| ["config.toml", "config"].map(|name| home.join(name)))
        .collect()
}

/// The toolchain: what chooses it, and the compiler it stands for.
fn toolchain(folder: &Path) -> Vec<PathBuf> {
    let names = ["rust-toolchain.toml", "rust-toolchain"];
    let mut files: Vec<PathBuf> = folder
        .ancestors()
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .collect();
    let home = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".rustup")));
    files.extend(home.map(|home| home.join("settings.toml")));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let root = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(folder)
        .output();
    if let Ok(root) = root {
        let root = String::from_utf8_lossy(&root.stdout);
        files.push(Path::new(root.trim()).join("bin/rustc"));
    }
    files
}

fn nanoseconds(time: SystemTime) -> i128 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i128)
}

/// Everything that went into a build.
pub struct Inputs<'a> {
    /// Where things are.
    pub layout: &'a Layout,
    /// Manifests of the local packages.
    pub manifests: &'a [PathBuf],
    /// The folder of the application's workspace.
    pub workspace: &'a Path,
    /// What Cargo and the build scripts name.
    pub named: Vec<PathBuf>,
    /// The environment variables that build scripts read.
    pub variables: BTreeSet<String>,
    /// When this tool began.
    pub began: SystemTime,
    /// When Cargo had read the packages, and written its lock file where it had to.
    pub loaded: SystemTime,
}

/// Notes what went into a build that has just ended well.
///
/// Notes nothing when something changed meanwhile: it is then unknown what was built.
pub fn save(request: Request, inputs: Inputs<'_>, summary: Summary) -> io::Result<()> {
    let path = file(inputs.layout);
    let mut marks = BTreeMap::new();
    for named in &inputs.named {
        walk(named, &mut marks);
    }
    for manifest in inputs.manifests {
        marks.insert(manifest.clone(), mark(manifest));
        if let Some(folder) = manifest.parent() {
            walk(&folder.join("src"), &mut marks);
            let build = folder.join("build.rs");
            marks.insert(build.clone(), mark(&build));
        }
    }
    let folder = request.manifest.parent().unwrap_or(Path::new("/"));
    let workspace = ["Cargo.toml", "Cargo.lock"].map(|name| inputs.workspace.join(name));
    for file in workspace
        .into_iter()
        .chain(configs(folder))
        .chain(toolchain(folder))
    {
        marks.insert(file.clone(), mark(&file));
    }
    let lock = inputs.workspace.join("Cargo.lock");
    let [began, loaded] = [inputs.began, inputs.loaded].map(nanoseconds);
    let changed = |(path, mark): (&PathBuf, &Mark)| {
        let time = mark.map_or(0, |(s, ns, _)| {
            i128::from(s) * 1_000_000_000 + i128::from(ns)
        });
        let since = if *path == lock { loaded } else { began };
        // The generated crate is written after the beginning, by this tool.
        time >= since && !path.starts_with(&inputs.layout.folder)
    };
    if marks.iter().any(changed) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
    // The product is younger than the build's beginning, of course.
    let product = &inputs.layout.product;
    marks.insert(product.clone(), mark(product));
    let state = State {
        request,
        inputs: marks,
        variables: inputs
            .variables
            .into_iter()
            .map(|name| (name.clone(), variable(&name)))
            .collect(),
        summary,
    };
    fs::write(path, serde_json::to_string(&state)?)
}

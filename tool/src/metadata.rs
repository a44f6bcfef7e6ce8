//! From `cargo metadata` to what the wiring needs: the packages in the application's resolved
//! graph, what they say of themselves, and how far from the application they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId, TargetKind};
use miette::{Diagnostic, Report};
use thiserror::Error;

use crate::descriptor::Descriptor;
use crate::report::{Place, short};

/// The only target there is.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The application and the packages around it.
#[derive(Debug, Clone)]
pub struct Model {
    /// The application's place in `packages`.
    pub app: usize,
    /// The packages that say something, and the application.
    pub packages: Vec<Package>,
    /// Manifests of the local packages around the application.
    pub local: Vec<PathBuf>,
    /// What the panic messages of a product call the folders of this machine: a package in a
    /// folder goes by its name, one from elsewhere by its name and version. So a product does not
    /// depend on where it was built.
    pub shown: BTreeMap<PathBuf, String>,
    /// What each package is compiled with, by their ids.
    pub compiled: BTreeMap<String, Vec<String>>,
    /// The folder of the application's workspace.
    pub workspace: PathBuf,
    /// The folder for what is built.
    pub target: PathBuf,
}

/// One package.
#[derive(Debug, Clone)]
pub struct Package {
    /// What Cargo calls it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its library's name in Rust sources; `None` when it has no library.
    pub krate: Option<String>,
    /// Its Cargo.toml.
    pub manifest: PathBuf,
    /// Its `links` name.
    pub links: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Steps from the application; `None` for a package of the workspace it does not use.
    pub distance: Option<usize>,
    /// Its features, as the packages that depend on it ask for them.
    pub features: Features,
    /// What it says of itself.
    pub descriptor: Descriptor,
}

impl Package {
    /// A place in what it says of itself.
    pub fn place<S: Into<String>>(&self, keys: impl IntoIterator<Item = S>) -> Place {
        Place::new(&self.manifest, keys)
    }

    /// The folder of its Cargo.toml.
    pub fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("."))
    }
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder.
    Path(PathBuf),
    /// crates.io.
    CratesIo,
    /// Another registry, by the address of its index.
    Registry(String),
    /// A Git repository, and what was asked for in it (`branch`, `tag` or `rev`).
    Git(String, Option<(String, String)>),
}

/// The features asked for of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// The default ones too.
    pub default: bool,
    /// By name.
    pub named: BTreeSet<String>,
}

impl Model {
    /// The application's package.
    pub fn app(&self) -> &Package {
        &self.packages[self.app]
    }

    /// How many packages are compiled for these, themselves included.
    pub fn closure(&self, packages: impl IntoIterator<Item = usize>) -> usize {
        let mut waiting: Vec<&str> = packages
            .into_iter()
            .map(|at| self.packages[at].id.as_str())
            .collect();
        let mut found = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if found.insert(id) {
                let below = self.compiled.get(id).into_iter().flatten();
                waiting.extend(below.map(String::as_str));
            }
        }
        found.len()
    }
}

/// Why the application's packages could not be read.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// Cargo refused.
    #[error("cargo could not read the packages of {folder}")]
    #[diagnostic(help("cargo says:\n{said}"))]
    Cargo { folder: String, said: String },
    /// There is no package.
    #[error("there is no Cargo.toml in {folder}")]
    #[diagnostic(help(
        "name the folder of an application, or make a new one with `mirage new NAME`"
    ))]
    NoManifest { folder: String },
    /// A virtual workspace was named.
    #[error("{manifest} is a workspace, not an application")]
    #[diagnostic(help("{members}"))]
    Workspace { manifest: String, members: String },
    /// The package has no library.
    #[error("package `{package}` has no library")]
    #[diagnostic(help("a unikernel is a library crate: put its main function into src/lib.rs"))]
    NoLibrary { package: String },
    /// The package is no application.
    #[error("package `{package}` does not say what its main function is")]
    #[diagnostic(help(
        "add to its Cargo.toml:\n[package.metadata.mirage]\nmain = \"{krate}::main(console)\""
    ))]
    NoMain { package: String, krate: String },
    /// What a package says of itself is not understood.
    #[error("package `{package}`: {key}: {why}")]
    #[diagnostic(help("correct this entry of its Cargo.toml"))]
    Descriptor {
        package: String,
        key: String,
        why: String,
    },
}

/// The Cargo.toml meant by `path`, a folder or the file itself.
pub fn manifest(path: Option<&Path>) -> Result<PathBuf, Report> {
    let start = path.unwrap_or(Path::new("."));
    let none = || Error::NoManifest {
        folder: short(start),
    };
    let start = start.canonicalize().map_err(|_| none())?;
    if start.is_file() {
        return Ok(start);
    }
    let mut folder = Some(start.as_path());
    while let Some(here) = folder {
        let manifest = here.join("Cargo.toml");
        if manifest.is_file() {
            return Ok(manifest);
        }
        // Only the current folder stands for the package around it, as it does for Cargo.
        folder = here.parent().filter(|_| path.is_none());
    }
    Err(none().into())
}

/// Asks Cargo for the graph of the application at `manifest`.
///
/// Waits for Cargo, which may fetch packages.
pub fn load(manifest: &Path) -> Result<Model, Report> {
    let folder = manifest.parent().unwrap_or(Path::new("."));
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .current_dir(folder)
        .other_options(["--filter-platform".to_string(), TARGET.to_string()])
        // Dependencies under `cfg(mirage)` are part of the graph for this question only.
        .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=mirage")
        .exec()
        .map_err(|error| Error::Cargo {
            folder: short(folder),
            said: match error {
                cargo_metadata::Error::CargoMetadata { stderr } => stderr.trim().to_string(),
                other => other.to_string(),
            },
        })?;
    read(&metadata, manifest)
}

fn read(metadata: &Metadata, manifest: &Path) -> Result<Model, Report> {
    let Some(app) = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest)
    else {
        return Err(Error::Workspace {
            manifest: short(manifest),
            members: members(metadata),
        }
        .into());
    };
    let distances = distances(metadata, &app.id);
    let mut packages = Vec::new();
    for package in &metadata.packages {
        let said = package.metadata.get("mirage");
        if said.is_none() && package.id != app.id {
            continue;
        }
        packages.push(Package {
            id: package.id.repr.clone(),
            name: package.name.to_string(),
            version: package.version.to_string(),
            krate: library(package),
            manifest: package.manifest_path.clone().into(),
            links: package.links.clone(),
            source: source(package),
            distance: distances.get(&package.id).copied(),
            features: features(metadata, &distances, package, package.id == app.id),
            descriptor: match said {
                Some(said) => descriptor(package, said)?,
                None => Descriptor::default(),
            },
        });
    }
    let local = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none())
        .map(|package| package.manifest_path.clone().into())
        .collect();
    let app = packages
        .iter()
        .position(|package| package.manifest == manifest)
        .unwrap_or_default();
    let model = Model {
        app,
        packages,
        local,
        shown: shown(metadata, &distances),
        compiled: compiled(metadata),
        workspace: metadata.workspace_root.clone().into(),
        target: metadata.target_directory.clone().into(),
    };
    let package = model.app();
    let Some(krate) = package.krate.clone() else {
        return Err(Error::NoLibrary {
            package: package.name.clone(),
        }
        .into());
    };
    if package.descriptor.main.is_none() {
        return Err(Error::NoMain {
            package: package.name.clone(),
            krate,
        }
        .into());
    }
    Ok(model)
}

/// See [`Model::shown`].
fn shown(metadata: &Metadata, used: &BTreeMap<PackageId, usize>) -> BTreeMap<PathBuf, String> {
    metadata
        .packages
        .iter()
        .filter(|package| used.contains_key(&package.id))
        .filter_map(|package| {
            let folder = package.manifest_path.parent()?;
            Some(match package.source {
                None => (folder.into(), package.name.to_string()),
                Some(_) => (folder.parent()?.into(), String::new()),
            })
        })
        .collect()
}

fn members(metadata: &Metadata) -> String {
    let applications: Vec<String> = metadata
        .workspace_packages()
        .iter()
        .filter(|package| package.metadata.pointer("/mirage/main").is_some())
        .filter_map(|package| package.manifest_path.parent())
        .map(|folder| format!("`{}`", short(folder.as_std_path())))
        .collect();
    if applications.is_empty() {
        "none of its packages is an application; make one with `mirage new NAME`".into()
    } else {
        format!("name one of its applications: {}", applications.join(", "))
    }
}

fn library(package: &cargo_metadata::Package) -> Option<String> {
    let library = package.targets.iter().find(|target| {
        target.kind.contains(&TargetKind::Lib) || target.kind.contains(&TargetKind::RLib)
    })?;
    Some(library.name.replace('-', "_"))
}

fn source(package: &cargo_metadata::Package) -> Source {
    let Some(source) = &package.source else {
        let folder = package.manifest_path.parent();
        return Source::Path(folder.map_or_else(PathBuf::new, |folder| folder.into()));
    };
    if source.is_crates_io() {
        return Source::CratesIo;
    }
    if let Some(git) = source.repr.strip_prefix("git+") {
        let address = git.split_once('#').map_or(git, |(address, _)| address);
        let (address, query) = address.split_once('?').unwrap_or((address, ""));
        let asked = query.split_once('=').map(|(k, v)| (k.into(), v.into()));
        return Source::Git(address.into(), asked);
    }
    let index = source.repr.strip_prefix("registry+");
    Source::Registry(index.unwrap_or(&source.repr).into())
}

/// Steps from `app` over ordinary dependencies; those for tests and build scripts do not count.
fn distances(metadata: &Metadata, app: &PackageId) -> BTreeMap<PackageId, usize> {
    let nodes: BTreeMap<_, _> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, node))
        .collect();
    let mut distances = BTreeMap::from([(app.clone(), 0)]);
    let mut waiting = VecDeque::from([(app, 0)]);
    while let Some((id, distance)) = waiting.pop_front() {
        for dependency in nodes.get(id).iter().flat_map(|node| &node.deps) {
            let ordinary = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if ordinary && !distances.contains_key(&dependency.pkg) {
                distances.insert(dependency.pkg.clone(), distance + 1);
                waiting.push_back((&dependency.pkg, distance + 1));
            }
        }
    }
    distances
}

/// The dependencies that are compiled with each package: those under `cfg(mirage)` never are.
fn compiled(metadata: &Metadata) -> BTreeMap<String, Vec<String>> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    nodes
        .map(|node| {
            let below = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| {
                    let target = kind.target.as_ref().map(ToString::to_string);
                    kind.kind != DependencyKind::Development
                        && target.as_deref() != Some("cfg(mirage)")
                })
            });
            let below = below.map(|dependency| dependency.pkg.repr.clone());
            (node.id.repr.clone(), below.collect())
        })
        .collect()
}

/// What the application's graph asks of `package`. The resolver's own answer is of no use here:
/// it is the union over the whole workspace.
fn features(
    metadata: &Metadata,
    distances: &BTreeMap<PackageId, usize>,
    package: &cargo_metadata::Package,
    is_app: bool,
) -> Features {
    let mut features = Features {
        default: is_app,
        ..Features::default()
    };
    let askers = metadata
        .packages
        .iter()
        .filter(|asker| distances.contains_key(&asker.id));
    for dependency in askers.flat_map(|asker| &asker.dependencies) {
        let same = dependency.name == package.name.as_str()
            && dependency.kind == DependencyKind::Normal
            && dependency.req.matches(&package.version);
        if same {
            features.default |= dependency.uses_default_features;
            features.named.extend(dependency.features.iter().cloned());
        }
    }
    features
}

fn descriptor(
    package: &cargo_metadata::Package,
    said: &serde_json::Value,
) -> Result<Descriptor, Report> {
    serde_path_to_error::deserialize(said).map_err(|error| {
        let mut keys: Vec<String> = Vec::new();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Map { key } => keys.push(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => keys.push(variant.clone()),
                _ => break,
            }
        }
        let problem = Error::Descriptor {
            package: package.name.to_string(),
            key: if keys.is_empty() {
                "[package.metadata.mirage]".into()
            } else {
                format!("`{}`", keys.join("."))
            },
            why: error.inner().to_string(),
        };
        Place::new(package.manifest_path.as_std_path(), keys).show(problem)
    })
}

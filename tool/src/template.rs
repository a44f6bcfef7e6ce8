//! `mirage new`: an application of one's own, copied from one that works.
//!
//! The copy stands alone: what it inherited from its workspace is written out, and dependencies
//! on folders name those folders by their whole paths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report};
use thiserror::Error;
use toml_edit::{DocumentMut, InlineTable, Item, TableLike, value};

use crate::cli::New;
use crate::report::short;
use crate::ui::{Ui, say};

/// Why nothing was made.
#[derive(Debug, Error, Diagnostic)]
enum Error {
    #[error("`{name}` cannot be the name of an application: {why}")]
    #[diagnostic(help("use letters, digits, `-` and `_`, and begin with a letter"))]
    Name { name: String, why: &'static str },
    #[error("{folder} exists already")]
    #[diagnostic(help("choose another name, or remove it"))]
    Exists { folder: String },
    #[error("there is no application `{from}` to copy")]
    #[diagnostic(help("{hint}"))]
    NoTemplate { from: String, hint: String },
    #[error("{path} could not be {what}: {why}")]
    #[diagnostic(help("nothing was made, or only a part: remove the new folder and try again"))]
    Io {
        path: String,
        what: &'static str,
        why: io::Error,
    },
    #[error("{manifest} is no package that could be copied: {why}")]
    #[diagnostic(help("name an application with --from, for example --from hello"))]
    Manifest { manifest: String, why: String },
}

/// The project's checkout: the one that this tool was built from, unless `MIRAGE_HOME` names
/// another.
fn home() -> PathBuf {
    std::env::var_os("MIRAGE_HOME").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        PathBuf::from,
    )
}

/// Makes the new application and says what to do with it.
pub fn new(command: &New, ui: &Ui) -> Result<(), Report> {
    let folder = &command.path;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    check(name)?;
    let template = template(&command.from)?;
    if folder.symlink_metadata().is_ok() {
        return Err(Error::Exists {
            folder: short(folder),
        }
        .into());
    }
    let original = Original::read(&template)?;
    copy(&template, folder, &|text| {
        rename(text, &original.krate, name)
    })?;
    let manifest = original.manifest(name, nested(folder));
    write(&folder.join("Cargo.toml"), &manifest)?;
    // The versions that the original was tested with; Cargo leaves out what is not used.
    let lock = original
        .workspace
        .as_ref()
        .map_or(&original.folder, |(_, folder)| folder);
    if let Ok(lock) = fs::read_to_string(lock.join("Cargo.lock")) {
        write(&folder.join("Cargo.lock"), &lock)?;
    }

    ui.line("Created", &format!("{name}, in {}", short(folder)));
    say(&format!(
        "
  cd {}
  mirage run          build it, and run it as a unikernel
  cargo test          its tests run on this machine, as any crate's do
  mirage describe     show its devices, their providers and its keys
",
        short(folder)
    ));
    Ok(())
}

/// Cargo's own rules for a package, and those of Rust for a crate.
fn check(name: &str) -> Result<(), Error> {
    const RESERVED: [&str; 8] = [
        "test",
        "core",
        "std",
        "alloc",
        "proc_macro",
        "deps",
        "build",
        "examples",
    ];
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let krate = name.replace('-', "_");
    let why = if name.is_empty() {
        "it is empty"
    } else if !name.chars().all(allowed) {
        "it has other characters than letters, digits, `-` and `_`"
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "it does not begin with a letter"
    } else if RESERVED.contains(&krate.as_str()) {
        "Cargo keeps that name for itself"
    } else if syn::parse_str::<syn::Ident>(&krate).is_err() {
        "it is a word of the language"
    } else {
        return Ok(());
    };
    Err(Error::Name {
        name: name.into(),
        why,
    })
}

/// The folder of the application to copy.
fn template(from: &str) -> Result<PathBuf, Error> {
    let examples = home().join("examples");
    let is_package = |folder: &Path| folder.join("Cargo.toml").is_file();
    let plain = !from.contains('/') && from != "." && from != "..";
    let candidates = [
        plain.then(|| examples.join(from)),
        Some(PathBuf::from(from)),
    ];
    for folder in candidates.into_iter().flatten() {
        if let Ok(folder) = folder.canonicalize()
            && is_package(&folder)
        {
            return Ok(folder);
        }
    }
    let names = fs::read_dir(&examples).into_iter().flatten().flatten();
    let names = names.filter(|entry| is_package(&entry.path()));
    let mut names: Vec<String> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    let hint = if names.is_empty() {
        format!(
            "there are no examples in {}; set MIRAGE_HOME to a checkout of the project, or name \
             a folder with --from",
            short(&examples)
        )
    } else {
        let names = crate::graph::list(names.iter().map(String::as_str));
        format!("the examples are {names}; a folder will do as well")
    };
    Err(Error::NoTemplate {
        from: from.into(),
        hint,
    })
}

/// The application that is copied.
struct Original {
    folder: PathBuf,
    package: DocumentMut,
    /// Its workspace's manifest, and the folder of that.
    workspace: Option<(DocumentMut, PathBuf)>,
    krate: String,
}

impl Original {
    fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("Cargo.toml");
        let package = parse(&path)?;
        let name = package.get("package").and_then(|p| p.get("name")?.as_str());
        let name = name.ok_or_else(|| Error::Manifest {
            manifest: short(&path),
            why: "it has no [package] with a name".into(),
        })?;
        let krate = name.replace('-', "_");
        let mut workspace = None;
        for above in folder.ancestors() {
            let path = above.join("Cargo.toml");
            if path.is_file() {
                let document = parse(&path)?;
                if document.contains_key("workspace") {
                    workspace = Some((document, above.to_path_buf()));
                    break;
                }
            }
        }
        Ok(Self {
            folder: folder.into(),
            package,
            workspace,
            krate,
        })
    }

    /// The copy's manifest. `nested`: it lies inside another workspace, which must not claim it.
    fn manifest(&self, name: &str, nested: bool) -> String {
        let mut copy = self.package.clone();
        let root = copy.as_table_mut();
        if let Some(package) = root.get_mut("package").and_then(Item::as_table_like_mut) {
            let inherited = self.inherited("package");
            inherit(package, inherited);
            package.insert("name", value(name));
            package.insert("version", value("0.1.0"));
            // What is true of the example only.
            for key in [
                "description",
                "repository",
                "readme",
                "license",
                "license-file",
                "publish",
            ] {
                package.remove(key);
            }
        }
        if root
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .is_some()
        {
            root.remove("lints");
        }
        self.dependencies(root);
        if let Some(targets) = root.get_mut("target").and_then(Item::as_table_like_mut) {
            for (_, target) in targets.iter_mut() {
                if let Some(target) = target.as_table_like_mut() {
                    self.dependencies(target);
                }
            }
        }
        let metadata = root.get_mut("package").and_then(|p| p.get_mut("metadata"));
        if let Some(mirage) = metadata.and_then(|metadata| metadata.get_mut("mirage")) {
            self.description(mirage, name);
        }
        let mut text = copy.to_string();
        // Without it Cargo takes the package for a member of the workspace around it.
        if nested && !copy.contains_key("workspace") {
            text += "\n[workspace]\n";
        }
        text
    }

    fn description(&self, mirage: &mut Item, name: &str) {
        if let Some(main) = mirage.get_mut("main")
            && let Some(text) = main.as_str()
        {
            let renamed = rename(text, &self.krate, name);
            *main = value(renamed);
        }
        // A value that leads out of the folder leads to the same place from the copy.
        let devices = mirage.get_mut("devices").and_then(Item::as_table_like_mut);
        for (_, device) in devices.into_iter().flat_map(|devices| devices.iter_mut()) {
            let values = device.as_table_like_mut().into_iter();
            for (_, entry) in values.flat_map(|values| values.iter_mut()) {
                let outside = entry.as_str().filter(|text| text.starts_with("../"));
                if let Some(path) =
                    outside.and_then(|text| self.folder.join(text).canonicalize().ok())
                {
                    *entry = value(path.to_string_lossy().as_ref());
                }
            }
        }
    }

    fn inherited(&self, what: &str) -> Option<&dyn TableLike> {
        let (document, _) = self.workspace.as_ref()?;
        document.get("workspace")?.get(what)?.as_table_like()
    }

    /// Writes dependencies out, with their folders' whole paths.
    fn dependencies(&self, table: &mut dyn TableLike) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get_mut(kind).and_then(Item::as_table_like_mut) else {
                continue;
            };
            for (mut name, entry) in dependencies.iter_mut() {
                self.dependency(name.get(), entry);
                name.fmt();
            }
        }
    }

    fn dependency(&self, name: &str, entry: &mut Item) {
        let Some(own) = entry.as_table_like_mut() else {
            return;
        };
        if own.get("workspace").and_then(Item::as_bool) != Some(true) {
            crate::generate::absolute(&self.folder, own);
            return;
        }
        own.remove("workspace");
        let inherited = self.inherited("dependencies").and_then(|all| all.get(name));
        let base = self
            .workspace
            .as_ref()
            .map_or(&self.folder, |(_, folder)| folder);
        match inherited {
            Some(Item::Value(toml_edit::Value::String(version))) => {
                own.insert("version", value(version.value()));
            }
            Some(inherited) => {
                let Some(inherited) = inherited.as_table_like() else {
                    return;
                };
                for (key, item) in inherited.iter() {
                    if key == "features" {
                        add_features(own, item);
                    } else if !own.contains_key(key) {
                        own.insert(key, item.clone());
                    }
                }
                crate::generate::absolute(base, own);
                // A folder says which version it is.
                if own.contains_key("path") {
                    own.remove("version");
                }
            }
            None => {}
        }
        // Written as it would be by hand, on one line; `a.workspace = true` was dotted.
        let pairs = own
            .iter()
            .filter_map(|(k, v)| Some((k.to_string(), v.as_value()?.clone())));
        let mut table: InlineTable = pairs.collect();
        table.fmt();
        *entry = value(table);
    }
}

/// Cargo adds the features of both places.
fn add_features(own: &mut dyn TableLike, inherited: &Item) {
    let mut features = inherited.as_array().cloned().unwrap_or_default();
    let mine = own.get("features").and_then(Item::as_array);
    for feature in mine.into_iter().flatten() {
        features.push(feature.clone());
    }
    own.insert("features", value(features));
}

/// Replaces each `key.workspace = true` by the workspace's own value.
fn inherit(table: &mut dyn TableLike, inherited: Option<&dyn TableLike>) {
    let keys: Vec<String> = table.iter().map(|(key, _)| key.to_string()).collect();
    for key in keys {
        let item = table.get(&key).and_then(Item::as_table_like);
        if item.and_then(|item| item.get("workspace")?.as_bool()) == Some(true) {
            match inherited.and_then(|inherited| inherited.get(&key)) {
                Some(item) => table.insert(&key, item.clone()),
                None => table.remove(&key),
            };
        }
    }
}

/// `text` with the crate's name replaced where it stands as a word.
fn rename(text: &str, from: &str, name: &str) -> String {
    let to = name.replace('-', "_");
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut renamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = rest.split_at(at);
        let after = after.get(from.len()..).unwrap_or_default();
        renamed.push_str(before);
        // A path in it, and nothing else: `hello::main`, not "hello" and not `say_hello`.
        let word = !renamed.ends_with(part) && after.starts_with("::");
        renamed.push_str(if word { &to } else { from });
        rest = after;
    }
    renamed + rest
}

/// Whether `folder` lies inside a workspace that does not name it as a member: Cargo then wants
/// it to be a workspace of its own.
fn nested(folder: &Path) -> bool {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    for above in whole.ancestors().skip(1) {
        let Ok(document) = parse(&above.join("Cargo.toml")) else {
            continue;
        };
        let Some(workspace) = document.get("workspace") else {
            continue;
        };
        let members = workspace.get("members").and_then(Item::as_array);
        let member = |pattern: &str| match pattern.strip_suffix("/*") {
            Some(parent) => whole.parent() == Some(&above.join(parent)),
            None => whole == above.join(pattern),
        };
        let mut members = members.into_iter().flatten().filter_map(|m| m.as_str());
        return !members.any(member);
    }
    false
}

fn parse(path: &Path) -> Result<DocumentMut, Error> {
    let text = fs::read_to_string(path).map_err(io_error(path, "read"))?;
    text.parse()
        .map_err(|error: toml_edit::TomlError| Error::Manifest {
            manifest: short(path),
            why: error.message().to_string(),
        })
}

fn io_error(path: &Path, what: &'static str) -> impl Fn(io::Error) -> Error {
    let path = short(path);
    move |why| Error::Io {
        path: path.clone(),
        what,
        why,
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(io_error(path, "written"))
}

/// Copies a folder: Rust sources through `change`, everything else as it is. What was built, what
/// is hidden and the manifest stay behind.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(io_error(to, "made"))?;
    for entry in fs::read_dir(from).map_err(io_error(from, "read"))? {
        let path = entry.map_err(io_error(from, "read"))?.path();
        let Some(name) = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            continue;
        };
        if name.starts_with('.')
            || matches!(
                name.as_str(),
                "target" | "Cargo.toml" | "Cargo.lock" | "README.md"
            )
        {
            continue;
        }
        let new = to.join(&name);
        if path.is_dir() {
            copy(&path, &new, change)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(io_error(&path, "read"))?;
            write(&new, &change(&text))?;
        } else {
            fs::copy(&path, &new).map_err(io_error(&path, "copied"))?;
        }
    }
    Ok(())
}

//! Build-time values: what `--set` gives to the keys that are read while the image is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use mirage_keys::KeyType;
use thiserror::Error;

use crate::descriptor::Time;
use crate::graph::{Graph, KeyEntry};
use crate::metadata::Model;

/// The build step of one device, with what it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The device's place in the graph.
    pub device: usize,
    /// The values of its build-time keys, in the order of their names.
    pub values: Vec<Value>,
}

/// The value of a build-time key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// How the key is addressed.
    pub address: String,
    /// Its type.
    pub kind: KeyType,
    /// The value; absolute where it is a path.
    pub text: Option<String>,
    /// There may be no value: the build step takes an `Option`.
    pub optional: bool,
}

/// Why a `--set` is refused.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum Error {
    /// Not `KEY=VALUE`.
    #[error("--set: `{word}` is not of the form KEY=VALUE")]
    #[diagnostic(help("for example --set KEY=VALUE; `mirage describe` lists the keys"))]
    Shape { word: String },
    /// There is no such key.
    #[error("--set: unknown key `{key}`")]
    #[diagnostic(help("{hint}"))]
    Unknown { key: String, hint: String },
    /// The key is read when the image boots.
    #[error("--set: `{key}` is read when the unikernel boots, not when it is built")]
    #[diagnostic(help("give it to `mirage run` after two dashes: -- {key}={value}"))]
    RunTime { key: String, value: String },
    /// The key is given twice.
    #[error("--set: `{key}` is given twice")]
    #[diagnostic(help("leave one of them out"))]
    Twice { key: String },
    /// The value is of another type.
    #[error("--set: `{key}`: `{value}` is not {wrong}")]
    #[diagnostic(help("correct the value"))]
    WrongType {
        key: String,
        value: String,
        wrong: String,
    },
    /// A required key is not given.
    #[error("the key `{key}` needs a value before `{app}` can be built{doc}")]
    #[diagnostic(help("give it with --set {key}={example}, or in the application's Cargo.toml"))]
    Missing {
        key: String,
        app: String,
        doc: String,
        example: &'static str,
    },
    /// The path does not exist.
    #[error("`{key}`: there is no file or folder {path}")]
    #[diagnostic(help("{hint}"))]
    NoPath {
        key: String,
        path: String,
        hint: String,
    },
}

impl Error {
    /// The command line is wrong by itself or for this application, whatever the machine has.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::NoPath { .. })
    }
}

/// Which steps the build takes, with every value checked. Looks whether paths exist.
pub fn steps(model: &Model, graph: &Graph, given: &[String]) -> Result<Vec<Step>, Error> {
    let own = &model.app().descriptor.keys;
    let keys = graph.keys(own);
    let given = read(graph, &keys, given)?;
    let mut steps = Vec::new();
    for (at, device) in graph.devices.iter().enumerate() {
        if device.provider.build.is_none() {
            continue;
        }
        let mine = keys
            .iter()
            .filter(|entry| entry.device == Some(at) && entry.key.at == Time::Build);
        let mut values = Vec::new();
        for entry in mine {
            let set = given.get(entry.address.as_str()).copied();
            let text = match set.or(entry.default) {
                Some(text) if entry.key.kind == KeyType::Path => {
                    Some(path(model, entry, text, set.is_some())?)
                }
                Some(text) => Some(text.to_string()),
                None if entry.key.required => return Err(missing(model, entry)),
                None => None,
            };
            values.push(Value {
                address: entry.address.clone(),
                kind: entry.key.kind,
                text,
                optional: entry.optional(),
            });
        }
        steps.push(Step { device: at, values });
    }
    Ok(steps)
}

fn read<'a>(
    graph: &Graph,
    keys: &[KeyEntry<'_>],
    words: &'a [String],
) -> Result<BTreeMap<String, &'a str>, Error> {
    let mut given = BTreeMap::new();
    for word in words {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::Shape { word: word.clone() });
        };
        let primary = graph.devices.iter().find(|device| device.name == name);
        let primary = primary.and_then(|device| device.provider.primary.as_ref());
        let address = match primary {
            Some(key) => format!("{name}.{key}"),
            None => name.to_string(),
        };
        let Some(entry) = keys.iter().find(|entry| entry.address == address) else {
            return Err(Error::Unknown {
                key: name.into(),
                hint: hint(graph, keys, name),
            });
        };
        if entry.key.at == Time::Run {
            return Err(Error::RunTime {
                key: address,
                value: value.into(),
            });
        }
        if let Err(wrong) = entry.key.kind.check(value) {
            return Err(Error::WrongType {
                key: address,
                value: value.into(),
                wrong: wrong.to_string(),
            });
        }
        if given.insert(address.clone(), value).is_some() {
            return Err(Error::Twice { key: address });
        }
    }
    Ok(given)
}

fn hint(graph: &Graph, keys: &[KeyEntry<'_>], name: &str) -> String {
    let settable = keys.iter().filter(|entry| entry.key.at == Time::Build);
    let mut names: Vec<&str> = settable.map(|entry| entry.address.as_str()).collect();
    let devices = graph.devices.iter();
    names.extend(
        devices
            .filter(|device| device.provider.primary.is_some())
            .map(|device| device.name.as_str()),
    );
    match crate::graph::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "this application has no build-time keys".into(),
        None => format!("the build-time keys are {}", crate::graph::list(names)),
    }
}

fn missing(model: &Model, entry: &KeyEntry<'_>) -> Error {
    Error::Missing {
        key: entry.address.clone(),
        app: model.app().name.clone(),
        doc: match entry.key.doc.as_str() {
            "" => String::new(),
            doc => format!(": {doc}"),
        },
        example: entry.key.kind.example(),
    }
}

/// A relative path counts from the current folder when the command line gives it, from the
/// application's when its Cargo.toml does.
fn path(model: &Model, entry: &KeyEntry<'_>, text: &str, set: bool) -> Result<String, Error> {
    let base = if set {
        std::env::current_dir().unwrap_or_default()
    } else {
        model.app().folder().to_path_buf()
    };
    let whole: PathBuf = base.join(text);
    let found = whole.canonicalize().ok();
    let text = found.as_deref().and_then(Path::to_str);
    text.map(String::from).ok_or_else(|| Error::NoPath {
        key: entry.address.clone(),
        path: whole.display().to_string(),
        hint: if set {
            "a relative path counts from the current folder".into()
        } else {
            format!(
                "it is named in the application's Cargo.toml; name another with --set {}=PATH",
                entry.address
            )
        },
    })
}

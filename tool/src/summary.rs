//! What the rest of the tool must know of something that was built, to run it.

use std::path::PathBuf;

use mirage_keys::{KeySpec, Keys};
use serde::{Deserialize, Serialize};

use crate::descriptor::{Artifact, Attached, Time};
use crate::generate::Layout;
use crate::graph::Graph;
use crate::metadata::Model;

/// A finished product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The application's name.
    pub name: String,
    /// What it runs on.
    pub on: String,
    /// What was made.
    pub artifact: Artifact,
    /// The file.
    pub product: PathBuf,
    /// The host resources it takes.
    pub devices: Vec<(String, Attached)>,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// A key of a product's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// How it is addressed.
    pub address: String,
    /// Its type's name.
    pub kind: String,
    /// Its value where none is given.
    pub default: Option<String>,
    /// A value must be given.
    pub required: bool,
    /// What it is for.
    pub doc: String,
    /// When it is read.
    pub build: bool,
}

impl Summary {
    /// What will be built of this.
    pub fn new(model: &Model, graph: &Graph, layout: &Layout) -> Self {
        let app = model.app();
        let devices = graph.attached();
        let keys = graph.keys(&app.descriptor.keys);
        Self {
            name: app.name.clone(),
            on: graph.on.clone(),
            artifact: graph.artifact,
            product: layout.product.clone(),
            devices: devices.map(|(d, kind)| (d.name.clone(), kind)).collect(),
            keys: keys
                .into_iter()
                .map(|entry| Key {
                    kind: entry.key.kind.name().into(),
                    default: entry.default.map(String::from),
                    required: entry.key.required,
                    doc: entry.key.doc.clone(),
                    build: entry.key.at == Time::Build,
                    address: entry.address,
                })
                .collect(),
        }
    }

    /// Judges a command line by the keys, in the words of the product itself.
    pub fn check(&self, words: &[String]) -> Result<(), KeyFault> {
        for word in words {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            if self.keys.iter().any(|key| key.build && key.address == name) {
                return Err(KeyFault::Build { key: name.into() });
            }
        }
        let run = self.keys.iter().filter(|key| !key.build);
        let specs: Vec<KeySpec<'_>> = run
            .filter_map(|key| {
                Some(KeySpec {
                    name: &key.address,
                    kind: key.kind.parse().ok()?,
                    default: key.default.as_deref(),
                    required: key.required,
                    doc: &key.doc,
                })
            })
            .collect();
        Keys::parse(&specs, words.iter().map(String::as_str))
            .map(drop)
            .map_err(|error| KeyFault::Wrong {
                message: error.to_string(),
            })
    }
}

/// Why a unikernel's command line is refused.
#[derive(Debug, thiserror::Error, miette::Diagnostic, PartialEq, Eq)]
pub enum KeyFault {
    /// A key is read at build time.
    #[error("`{key}` is read when the unikernel is built, not when it boots")]
    #[diagnostic(help("give it as --set {key}=VALUE, before the two dashes"))]
    Build {
        /// The key.
        key: String,
    },
    /// In the words of the image.
    #[error("{message}")]
    #[diagnostic(help("keys stand after two dashes: -- NAME=VALUE; `mirage describe` lists them"))]
    Wrong {
        /// What is wrong.
        message: String,
    },
}

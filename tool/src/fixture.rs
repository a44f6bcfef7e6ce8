//! Packages for tests: what Cargo would tell of them, without Cargo.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::metadata::{Features, Model, Package, Source};

/// A package `name` so many steps from the application, which says `said` of itself.
pub fn package(name: &str, distance: Option<usize>, said: Value) -> Package {
    Package {
        id: name.into(),
        name: name.into(),
        version: "1.0.0".into(),
        krate: Some(name.replace('-', "_")),
        manifest: PathBuf::from("/none").join(name).join("Cargo.toml"),
        links: None,
        source: Source::CratesIo,
        distance,
        features: Features::default(),
        descriptor: serde_json::from_value(said).unwrap(),
    }
}

/// A graph whose first package is the application.
pub fn model(packages: Vec<Package>) -> Model {
    Model {
        shown: BTreeMap::new(),
        app: 0,
        packages,
        local: Vec::new(),
        compiled: BTreeMap::new(),
        workspace: PathBuf::new(),
        target: PathBuf::new(),
    }
}

//! The crate that connects an application with its devices: three readable files.

mod build_rs;
mod cargo_toml;
mod main_rs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mirage_keys::KeyType;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::descriptor::{Artifact, FnPath};
use crate::fresh;
use crate::graph::Graph;
use crate::metadata::Model;
use crate::settings::Step;

pub use cargo_toml::absolute;

/// The generated crate's files, by name.
pub type Files = BTreeMap<String, String>;

/// Where things are: all below the workspace's target folder.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The generated crate.
    pub folder: PathBuf,
    /// Cargo's target folder for all generated crates.
    pub build: PathBuf,
    /// The finished file.
    pub product: PathBuf,
}

impl Layout {
    /// For the application called `name`, in the target folder `target`.
    pub fn new(target: &Path, name: &str, artifact: Artifact) -> Self {
        let root = target.join("mirage");
        Self {
            folder: root.join(format!("{name}-{artifact}")),
            build: root.join("build"),
            product: match artifact {
                Artifact::Image => root.join(name),
                Artifact::Program => root.join(format!("{name}-{artifact}.run")),
            },
        }
    }
}

/// The files for an application on a platform.
pub fn files(model: &Model, graph: &Graph, steps: &[Step]) -> Files {
    let mut files = Files::from([
        ("Cargo.toml".into(), cargo_toml::generate(model, graph)),
        ("main.rs".into(), main_rs::generate(model, graph)),
    ]);
    if let Some(build) = build_rs::generate(model, graph, steps) {
        files.insert("build.rs".into(), build);
    }
    for step in steps {
        let name = build_rs::inputs_file(&graph.devices[step.device].name);
        files.insert(name, inputs(step));
    }
    files
}

/// What a build step reads: each file with its time and size.
fn inputs(step: &Step) -> String {
    let mut marks = BTreeMap::new();
    for value in step.values.iter().filter(|v| v.kind == KeyType::Path) {
        if let Some(path) = &value.text {
            fresh::walk(Path::new(path), &mut marks);
        }
    }
    let lines = marks
        .iter()
        .map(|(path, mark)| format!("{} {mark:?}\n", path.display()));
    lines.collect()
}

/// Writes what differs from what is there, so that Cargo builds again only what it must.
pub fn write(model: &Model, layout: &Layout, files: &Files) -> io::Result<()> {
    fs::create_dir_all(&layout.folder)?;
    for (name, text) in files {
        let path = layout.folder.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(&path, text)?;
        }
    }
    if !files.contains_key("build.rs") {
        match fs::remove_file(layout.folder.join("build.rs")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // The very versions that were resolved for the application: its lock file, which Cargo then
    // shortens to what is used. Taken anew only when it has changed.
    let lock = fs::read_to_string(model.workspace.join("Cargo.lock"))?;
    let taken = layout.folder.join("Cargo.lock.application");
    if fs::read_to_string(&taken).ok().as_ref() != Some(&lock) {
        fs::write(layout.folder.join("Cargo.lock"), &lock)?;
        fs::write(taken, &lock)?;
    }
    Ok(())
}

fn ident(name: &str) -> Ident {
    let word: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    syn::parse_str(&word).unwrap_or_else(|_| Ident::new(&format!("_{word}"), Span::call_site()))
}

fn path(path: &FnPath) -> TokenStream {
    let segments = path.0.iter().map(|segment| ident(segment));
    quote!(#(#segments)::*)
}

/// The variable of each device: its name, made an identifier that nothing else has.
fn variables(graph: &Graph) -> Vec<Ident> {
    let mut taken = BTreeSet::from(["runtime".to_string(), "keys".to_string()]);
    let names = graph.devices.iter().map(|device| {
        let mut name = ident(&device.name).to_string();
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        ident(&name)
    });
    names.collect()
}

/// The file that a device's build step makes.
fn sealed(graph: &Graph, device: usize) -> String {
    format!("{}.sealed", graph.devices[device].name)
}

/// Formats one file.
fn format(tokens: TokenStream) -> String {
    match syn::parse2::<syn::File>(tokens.clone()) {
        Ok(file) => prettyplease::unparse(&file),
        // Not reached: everything that is put together here is Rust.
        Err(_) => tokens.to_string(),
    }
}

#[cfg(test)]
mod tests;

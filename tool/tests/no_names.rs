//! The tool knows no library: whatever provides an interface describes itself.

use std::fs;
use std::path::{Path, PathBuf};

/// What the tool links: formats, which are the same on both sides.
const LINKED: [&str; 5] = [
    "mirage-counters",
    "mirage-keys",
    "mirage-manifest",
    "mirage-pcap",
    "mirage-record",
];

/// The names of the packages below `folder`, in a Cargo.toml's and in Rust's spelling.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else {
            continue;
        };
        let document: toml_edit::DocumentMut = text.parse().unwrap();
        let name = document["package"]["name"].as_str().unwrap().to_string();
        names.push(name.replace('-', "_"));
        names.push(name);
    }
    names
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn the_tools_source_holds_no_librarys_name() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = tool.parent().unwrap();
    let mut names: Vec<String> = ["lib", "platform"]
        .iter()
        .flat_map(|folder| names(&home.join(folder)))
        .filter(|name| !LINKED.contains(&&*name.replace('_', "-")))
        .collect();
    // What the libraries themselves stand on, and are known by.
    names.extend(["smoltcp", "httparse", "talc", "edge-nal", "edge_nal"].map(String::from));
    assert!(names.len() > 10, "the libraries were found: {names:?}");
    let mut files = vec![tool.join("build.rs")];
    sources(&tool.join("src"), &mut files);
    assert!(files.len() > 20, "the sources were found: {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in &names {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
    }
}

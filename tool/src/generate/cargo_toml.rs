use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use crate::descriptor::Artifact;
use crate::graph::Graph;
use crate::metadata::{Model, Package, Source};

/// `Cargo.toml`: the application, the providers chosen and the platform, by the very versions
/// that were resolved.
pub(super) fn generate(model: &Model, graph: &Graph) -> String {
    let app = &model.app().name;
    let mut document = DocumentMut::new();
    document.decor_mut().set_prefix(format!(
        "# {app} for `--on {}`: its devices, connected. Made by `mirage`; changes are lost.\n",
        graph.on
    ));
    let root = document.as_table_mut();
    root["package"] = table([
        ("name", value(format!("{app}-{}", graph.artifact))),
        ("version", value("0.0.0")),
        ("edition", value("2024")),
        ("publish", value(false)),
    ]);
    let mut bin = Table::new();
    bin["name"] = value(format!("{app}-{}", graph.artifact));
    bin["path"] = value("main.rs");
    root["bin"] = Item::ArrayOfTables([bin].into_iter().collect());

    let mut used: BTreeSet<usize> = graph.devices.iter().map(|device| device.package).collect();
    used.extend([model.app, graph.platform]);
    let mut dependencies = Table::new();
    for at in used {
        let mut package = model.packages[at].clone();
        if let Some(platform) = package
            .descriptor
            .platform
            .as_ref()
            .filter(|_| at == graph.platform)
        {
            package
                .features
                .named
                .extend(platform.features.iter().cloned());
        }
        dependencies[&package.name] = dependency(&package);
    }
    root["dependencies"] = Item::Table(dependencies);

    let mut steps = Table::new();
    for device in &graph.devices {
        if let Some(build) = &device.provider.build {
            let package = &model.packages[device.package];
            let mut asked = package.clone();
            asked.features.named.extend(build.features.iter().cloned());
            steps[&package.name] = dependency(&asked);
        }
    }
    if !steps.is_empty() {
        root["build-dependencies"] = Item::Table(steps);
    }
    let mut profiles = Table::new();
    profiles.set_implicit(true);
    profiles["release"] = profile(graph.artifact);
    root["profile"] = Item::Table(profiles);
    // A workspace of its own: the application's does not know of it.
    root["workspace"] = table([("resolver", value("3"))]);
    patches(&model.workspace, root);
    document.to_string()
}

fn profile(artifact: Artifact) -> Item {
    match artifact {
        Artifact::Image => table([
            // As fast as level 3 where the kernel does most of the work, and a third smaller.
            ("opt-level", value("s")),
            ("lto", value("fat")),
            ("codegen-units", value(1)),
            ("panic", value("abort")),
            // Kept in the unstripped twin of the image: names, lines and variables for a debugger.
            ("debug", value(true)),
        ]),
        Artifact::Program => table([("opt-level", value(1)), ("debug", value(true))]),
    }
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Item)>) -> Item {
    let mut table = Table::new();
    for (key, item) in entries {
        table[key] = item;
    }
    Item::Table(table)
}

fn dependency(package: &Package) -> Item {
    let mut entry = InlineTable::new();
    let mut put = |key: &str, text: &str| {
        entry.insert(key, text.into());
    };
    match &package.source {
        Source::Path(folder) => put("path", &folder.to_string_lossy()),
        Source::CratesIo => put("version", &format!("={}", package.version)),
        Source::Registry(index) => {
            put("version", &format!("={}", package.version));
            put("registry-index", index);
        }
        Source::Git(address, asked) => {
            put("git", address);
            if let Some((what, which)) = asked {
                put(what, which);
            }
        }
    }
    if !package.features.default {
        entry.insert("default-features", false.into());
    }
    if !package.features.named.is_empty() {
        let features: Array = package.features.named.iter().map(String::as_str).collect();
        entry.insert("features", Value::Array(features));
    }
    value(entry)
}

/// The workspace's `[patch]` sections hold here too; their relative paths are made absolute.
fn patches(workspace: &Path, root: &mut Table) {
    let text = fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    let Ok(document) = text.parse::<DocumentMut>() else {
        return;
    };
    let Some(mut patch) = document.get("patch").cloned() else {
        return;
    };
    for (_, source) in patch
        .as_table_like_mut()
        .into_iter()
        .flat_map(|p| p.iter_mut())
    {
        for (_, entry) in source
            .as_table_like_mut()
            .into_iter()
            .flat_map(|s| s.iter_mut())
        {
            if let Some(entry) = entry.as_table_like_mut() {
                absolute(workspace, entry);
            }
        }
    }
    root["patch"] = patch;
}

/// Makes the `path` of a dependency absolute.
pub fn absolute(base: &Path, dependency: &mut dyn TableLike) {
    if let Some(path) = dependency.get("path").and_then(Item::as_str) {
        let whole = base.join(path);
        let whole = whole.canonicalize().unwrap_or(whole);
        dependency.insert("path", value(whole.to_string_lossy().as_ref()));
    }
}

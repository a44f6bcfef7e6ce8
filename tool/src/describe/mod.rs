//! `mirage describe`: an application's devices, their providers and its keys. Builds nothing.

mod dot;
mod svg;
mod text;

use std::io::Write as _;

use miette::{IntoDiagnostic as _, Report};
use mirage_keys::RUNTIME;
use serde::Serialize;

use crate::cli::{Describe, Format};
use crate::descriptor::{Artifact, Attached, Time};
use crate::graph::{self, Argument, Graph};
use crate::metadata::{self, Model, Source};

/// What is shown; its fields are the keys of the JSON form.
#[derive(Debug, Serialize)]
pub struct Description {
    application: Package,
    /// The function, with its parameters.
    main: String,
    /// The devices it takes, in order.
    takes: Vec<String>,
    on: String,
    artifact: Artifact,
    platform: Package,
    /// Each after those it takes.
    devices: Vec<Device>,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Package {
    name: String,
    version: String,
    source: String,
}

#[derive(Debug, Serialize)]
struct Device {
    name: String,
    interface: String,
    provider: Package,
    /// One instance serves everybody who asks.
    shared: bool,
    attached: Option<Attached>,
    takes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Key {
    name: String,
    r#type: String,
    default: Option<String>,
    required: bool,
    /// `build` or `run`.
    at: &'static str,
    doc: String,
    /// A shorter name for `--set`.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
}

impl Description {
    fn new(model: &Model, graph: &Graph) -> Self {
        let app = model.app();
        let takes = |arguments: &[Argument]| {
            let devices = arguments.iter().filter_map(|argument| match argument {
                Argument::Device(at) => Some(graph.devices[*at].name.clone()),
                _ => None,
            });
            devices.collect::<Vec<_>>()
        };
        let devices = graph.devices.iter().map(|device| Device {
            name: device.name.clone(),
            interface: device.interface.clone(),
            provider: package(&model.packages[device.package]),
            shared: device.shared,
            attached: device.attached,
            takes: takes(&device.arguments),
        });
        Self {
            application: package(app),
            main: graph.main.to_string(),
            takes: takes(&graph.arguments),
            on: graph.on.clone(),
            artifact: graph.artifact,
            platform: package(&model.packages[graph.platform]),
            devices: devices.collect(),
            keys: keys(model, graph),
        }
    }

    fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

fn package(package: &metadata::Package) -> Package {
    Package {
        name: package.name.clone(),
        version: package.version.clone(),
        source: match &package.source {
            Source::Path(folder) => folder.display().to_string(),
            Source::CratesIo => "crates.io".into(),
            Source::Registry(index) => index.clone(),
            Source::Git(address, _) => address.clone(),
        },
    }
}

fn keys(model: &Model, graph: &Graph) -> Vec<Key> {
    let all = graph.keys(&model.app().descriptor.keys);
    let mut keys: Vec<Key> = all
        .into_iter()
        .map(|entry| {
            let device = entry.device.map(|at| &graph.devices[at]);
            let primary = device.filter(|d| d.provider.primary.as_deref() == Some(entry.field));
            Key {
                r#type: entry.key.kind.name().into(),
                default: entry.default.map(String::from),
                required: entry.key.required,
                at: match entry.key.at {
                    Time::Build => "build",
                    Time::Run => "run",
                },
                doc: entry.key.doc.clone(),
                alias: primary.map(|device| device.name.clone()),
                name: entry.address,
            }
        })
        .collect();
    keys.extend(RUNTIME.map(|key| Key {
        name: key.name.into(),
        r#type: key.kind.name().into(),
        default: key.default.map(String::from),
        required: key.required,
        at: "run",
        doc: key.doc.into(),
        alias: None,
    }));
    keys
}

/// Shows the description on standard output.
pub fn describe(command: &Describe) -> Result<(), Report> {
    let manifest = metadata::manifest(command.application.path.as_deref())?;
    let model = metadata::load(&manifest)?;
    let graph = graph::wire(&model, command.application.on.name()).map_err(graph::Fault::report)?;
    let description = Description::new(&model, &graph);
    let format = if command.json {
        Format::Json
    } else {
        command.format
    };
    let text = match format {
        Format::Text => text::render(&description),
        Format::Json => serde_json::to_string_pretty(&description).into_diagnostic()? + "\n",
        Format::Dot => dot::render(&description),
        Format::Svg => svg::render(&description),
    };
    // A pipe that closes early (`| head`) is no error of ours.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;

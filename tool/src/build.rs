//! `mirage build` and `mirage check`: wire, generate, and let Cargo do the rest.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use miette::{Diagnostic, IntoDiagnostic as _, Report, WrapErr as _};
use thiserror::Error;

use crate::cargo::{self, Order, Verb};
use crate::cli::{Application, Settings};
use crate::descriptor::Artifact;
use crate::fresh::{self, Inputs, Request};
use crate::generate::{self, Files, Layout};
use crate::graph::{self, Graph};
use crate::metadata::{self, Model};
use crate::report::short;
use crate::settings;
use crate::strip;
use crate::summary::Summary;
use crate::ui::{self, Event, Ui};

/// Why a build that compiled is no good.
#[derive(Debug, Error, Diagnostic)]
enum Error {
    #[error("cargo made no executable of {name}")]
    #[diagnostic(help("this is a defect of the platform's macro, or of this tool"))]
    NoExecutable { name: String },
    #[error("{name} could not be written")]
    #[diagnostic(help("{why}"))]
    Write { name: String, why: std::io::Error },
}

/// What is to be generated, before anything is written.
struct Plan {
    model: Model,
    graph: Graph,
    layout: Layout,
    files: Files,
}

fn plan(manifest: &Path, on: &str, settings: &Settings) -> Result<Plan, Report> {
    let model = metadata::load(manifest)?;
    let graph = graph::wire(&model, on).map_err(graph::Fault::report)?;
    let steps = settings::steps(&model, &graph, &settings.set)?;
    let layout = Layout::new(&model.target, &model.app().name, graph.artifact);
    let files = generate::files(&model, &graph, &steps);
    Ok(Plan {
        model,
        graph,
        layout,
        files,
    })
}

/// Writes the generated crate and runs Cargo on it.
fn carry_out(plan: &Plan, verb: Verb, ui: &Ui) -> Result<cargo::Done, Report> {
    let name = plan.model.app().name.as_str();
    generate::write(&plan.model, &plan.layout, &plan.files).map_err(|why| Error::Write {
        name: short(&plan.layout.folder),
        why,
    })?;
    let used = plan.graph.devices.iter().map(|device| device.package);
    let order = Order {
        verb,
        name,
        folder: plan.model.app().folder(),
        layout: &plan.layout,
        packages: plan
            .model
            .closure(used.chain([plan.model.app, plan.graph.platform]))
            + 1,
        artifact: plan.graph.artifact,
        shown: &plan.model.shown,
    };
    // On a terminal the progress bar says so.
    if ui.json || !ui.terminal {
        ui.tell(&Event::Building { name }, "Building", name);
    }
    cargo::run(&order, ui)
}

/// `mirage check`.
pub fn check(application: &Application, settings: &Settings, ui: &Ui) -> Result<(), Report> {
    let began = Instant::now();
    let manifest = metadata::manifest(application.path.as_deref())?;
    let plan = plan(&manifest, application.on.name(), settings)?;
    carry_out(&plan, Verb::Check, ui)?;
    let name = plan.model.app().name.as_str();
    let event = Event::Checked {
        name,
        seconds: began.elapsed().as_secs_f64(),
    };
    let text = format!("{name}, in {}", ui::seconds(began));
    ui.tell(&event, "Checked", &text);
    Ok(())
}

/// `mirage build`: what there is now, made anew only when something has changed.
pub fn build(application: &Application, settings: &Settings, ui: &Ui) -> Result<Summary, Report> {
    let began = Instant::now();
    let manifest = metadata::manifest(application.path.as_deref())?;
    let on = application.on.name();
    let request = Request::new(&manifest, on, &settings.set);
    let found = name(&manifest).and_then(|name| fresh::find(&request, &name));
    if let Some(summary) = found {
        tell(&summary, None, ui);
        return Ok(summary);
    }
    let start = SystemTime::now();
    let plan = plan(&manifest, on, settings)?;
    let loaded = SystemTime::now();
    let done = carry_out(&plan, Verb::Build, ui)?;
    let summary = Summary::new(&plan.model, &plan.graph, &plan.layout);
    let executable = done.executable.ok_or_else(|| Error::NoExecutable {
        name: summary.name.clone(),
    })?;
    finish(&executable, &plan.layout, summary.artifact).map_err(|why| Error::Write {
        name: short(&plan.layout.product),
        why,
    })?;
    let inputs = Inputs {
        layout: &plan.layout,
        manifests: &plan.model.local,
        workspace: &plan.model.workspace,
        named: done.inputs,
        variables: done.variables,
        began: start,
        loaded,
    };
    fresh::save(request, inputs, summary.clone())
        .into_diagnostic()
        .wrap_err("what was built could not be noted")?;
    tell(&summary, Some(began), ui);
    Ok(summary)
}

/// Puts the finished file where it belongs.
fn finish(executable: &Path, layout: &Layout, artifact: Artifact) -> std::io::Result<()> {
    let copy = |to: &Path| strip::replace(to, |new| fs::copy(executable, new).map(drop));
    match artifact {
        Artifact::Image => {
            copy(&layout.product.with_added_extension("debug"))?;
            strip::strip(executable, &layout.product)
        }
        Artifact::Program => copy(&layout.product),
    }
}

fn tell(summary: &Summary, began: Option<Instant>, ui: &Ui) {
    let bytes = fs::metadata(&summary.product).map_or(0, |data| data.len());
    let event = Event::Built {
        name: &summary.name,
        path: &summary.product.to_string_lossy(),
        bytes,
        seconds: began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
        fresh: began.is_none(),
    };
    let size = ui::size(bytes);
    let path = short(&summary.product);
    match began {
        Some(began) => {
            let text = format!(
                "{}, {size}, in {}: {path}",
                summary.name,
                ui::seconds(began)
            );
            ui.tell(&event, "Built", &text);
        }
        None => ui.tell(
            &event,
            "Fresh",
            &format!("{}, {size}: {path}", summary.name),
        ),
    }
}

/// The package's name, read without Cargo.
fn name(manifest: &Path) -> Option<String> {
    let text = fs::read_to_string(manifest).ok()?;
    let document = toml_edit::Document::parse(text).ok()?;
    let name = document.as_table().get("package")?.get("name")?.as_str()?;
    Some(name.into())
}

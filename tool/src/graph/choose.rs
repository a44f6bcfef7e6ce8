use crate::descriptor::Artifact;
use crate::metadata::{Model, Package};

use super::error::Error;

/// The package that gives `interface` to `device`: the one named, else the nearest.
pub(super) fn provider(
    model: &Model,
    artifact: Artifact,
    interface: &str,
    device: &str,
    asker: &str,
    named: Option<&str>,
) -> Result<usize, Error> {
    let works = |package: &Package| {
        package
            .descriptor
            .provides
            .get(interface)
            .is_some_and(|provider| {
                provider
                    .platforms
                    .as_ref()
                    .is_none_or(|works| works.contains(&artifact))
            })
    };
    let candidates: Vec<(usize, usize)> = model
        .packages
        .iter()
        .enumerate()
        .filter(|(_, package)| works(package))
        .filter_map(|(at, package)| Some((package.distance?, at)))
        .collect();
    let name = |at: usize| model.packages[at].name.as_str();
    if let Some(named) = named {
        let found = candidates.iter().filter(|(_, at)| name(*at) == named).min();
        return found.map(|(_, at)| *at).ok_or_else(|| Error::NotAProvider {
            provider: named.into(),
            interface: interface.into(),
            device: device.into(),
            hint: if candidates.is_empty() {
                missing(model, artifact, interface)
            } else {
                let names = list(candidates.iter().map(|(_, at)| name(*at)));
                format!("packages that provide it: {names}")
            },
        });
    }
    let Some(&(nearest, first)) = candidates.iter().min() else {
        return Err(Error::NoProvider {
            interface: interface.into(),
            asker: asker.into(),
            device: device.into(),
            hint: missing(model, artifact, interface),
        });
    };
    let equal = candidates
        .iter()
        .filter(|(distance, _)| *distance == nearest);
    let equal: Vec<&str> = equal.map(|(_, at)| name(*at)).collect();
    if equal.len() == 1 {
        return Ok(first);
    }
    Err(Error::Ambiguous {
        interface: interface.into(),
        device: device.into(),
        candidates: list(equal),
        entry: toml_key(device),
        first: name(first).into(),
    })
}

/// The platform that serves `on`: the nearest.
pub(super) fn platform(model: &Model, on: &str) -> Result<usize, Error> {
    let offers = |package: &Package| {
        package
            .descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.runs_on.iter().any(|runs| runs == on))
    };
    let mut candidates: Vec<(usize, usize)> = model
        .packages
        .iter()
        .enumerate()
        .filter(|(_, package)| offers(package))
        .filter_map(|(at, package)| Some((package.distance?, at)))
        .collect();
    candidates.sort_unstable();
    match candidates[..] {
        [] => Err(Error::NoPlatform {
            on: on.into(),
            hint: no_platform(model, &offers),
        }),
        [(nearest, at), (next, other), ..] if nearest == next => Err(Error::PlatformTwice {
            on: on.into(),
            candidates: list([at, other].map(|at| model.packages[at].name.as_str())),
        }),
        [(_, at), ..] => Ok(at),
    }
}

fn no_platform(model: &Model, offers: &impl Fn(&Package) -> bool) -> String {
    let elsewhere = model.packages.iter().filter(|p| offers(p));
    let elsewhere = list(elsewhere.map(|package| package.name.as_str()));
    if !elsewhere.is_empty() {
        return add(model, &elsewhere);
    }
    let served = model
        .packages
        .iter()
        .filter(|package| package.distance.is_some())
        .filter_map(|package| package.descriptor.platform.as_ref())
        .flat_map(|platform| platform.runs_on.iter().map(String::as_str));
    let served = list(served);
    if served.is_empty() {
        "none of its dependencies is a platform; depend on one under \
         [target.'cfg(mirage)'.dependencies]"
            .into()
    } else {
        format!("its platforms serve: {served}")
    }
}

/// What could be done when nobody in the graph provides `interface`.
fn missing(model: &Model, artifact: Artifact, interface: &str) -> String {
    let provides = |package: &&Package| package.descriptor.provides.contains_key(interface);
    let here = model
        .packages
        .iter()
        .filter(|package| package.distance.is_some())
        .filter(provides);
    let here = list(here.map(|package| package.name.as_str()));
    if !here.is_empty() {
        return format!(
            "{here} would, but not in an artifact of the kind `{artifact}`; try another `--on`"
        );
    }
    let elsewhere = list(
        model
            .packages
            .iter()
            .filter(provides)
            .map(|package| package.name.as_str()),
    );
    if elsewhere.is_empty() {
        format!(
            "add a package that provides `{interface}` to the application's \
             [target.'cfg(mirage)'.dependencies]"
        )
    } else {
        add(model, &elsewhere)
    }
}

fn add(model: &Model, packages: &str) -> String {
    let app = &model.app().name;
    format!(
        "{packages} in this workspace would: add it to the \
         [target.'cfg(mirage)'.dependencies] of `{app}`"
    )
}

/// Names in backticks, with commas.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A key as it must be written in a TOML file.
pub(super) fn toml_key(name: &str) -> String {
    if name.contains('.') {
        format!("\"{name}\"")
    } else {
        name.into()
    }
}

/// The name most like `word`.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::osa_distance(word, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

use std::collections::{BTreeMap, BTreeSet};

use crate::descriptor::{Artifact, Attached, Call, Device as Entry, Interface};
use crate::metadata::Model;
use crate::report::Place;

use super::choose::{self, list, nearest, toml_key};
use super::error::{Error, Fault};
use super::{Argument, Device, Graph, verify};

/// Connects the application's devices for a run on `on`.
///
/// Returns at once; does no I/O.
pub fn wire(model: &Model, on: &str) -> Result<Graph, Fault> {
    let app = model.app();
    let platform =
        choose::platform(model, on).map_err(|error| Fault::new(error, app.place::<&str>([])))?;
    let descriptor = &model.packages[platform].descriptor;
    let artifact = descriptor.platform.as_ref().map(|p| p.artifact);
    let artifact = artifact.unwrap_or(Artifact::Image);
    let interfaces = interfaces(model)?;
    verify::application(app)?;
    verify::platform(&model.packages[platform])?;

    // A device is called by its parameter's name where that is unique, and whether it is shows
    // only when all is wired: wire again until no new clash appears.
    let mut clashing = BTreeSet::new();
    loop {
        let mut wiring = Wiring {
            model,
            artifact,
            interfaces: &interfaces,
            clashing: &clashing,
            names: BTreeMap::new(),
            path: Vec::new(),
            devices: Vec::new(),
        };
        let result = wiring.main();
        let clashes = wiring.names.iter().filter(|(_, count)| **count > 1);
        let found: BTreeSet<String> = clashes.map(|(name, _)| name.clone()).collect();
        if !found.is_subset(&clashing) {
            clashing.extend(found);
            continue;
        }
        let arguments = result?;
        unique(model, &wiring.devices)?;
        unused(model, &wiring.devices)?;
        let main = app.descriptor.main.clone();
        return Ok(Graph {
            on: on.into(),
            platform,
            artifact,
            devices: wiring.devices,
            main: main.ok_or_else(|| {
                Fault::new(
                    Error::Description {
                        package: app.name.clone(),
                        what: "there is no `main`".into(),
                        hint: "say what its main function is".into(),
                    },
                    app.place::<&str>([]),
                )
            })?,
            arguments,
        });
    }
}

fn interfaces(model: &Model) -> Result<BTreeMap<&str, &Interface>, Fault> {
    let mut found: BTreeMap<&str, (usize, &Interface)> = BTreeMap::new();
    for (at, package) in model.packages.iter().enumerate() {
        if package.distance.is_none() {
            continue;
        }
        for (name, interface) in &package.descriptor.interfaces {
            if let Some((first, _)) = found.insert(name, (at, interface)) {
                return Err(Fault::new(
                    Error::InterfaceTwice {
                        interface: name.clone(),
                        first: model.packages[first].name.clone(),
                        second: package.name.clone(),
                    },
                    package.place(["interfaces", name]),
                ));
            }
        }
    }
    Ok(found.into_iter().map(|(name, (_, i))| (name, i)).collect())
}

/// The application's own devices keep their names, whatever else is called so.
fn unique(model: &Model, devices: &[Device]) -> Result<(), Fault> {
    for (at, device) in devices.iter().enumerate() {
        let mut before = devices[..at].iter();
        if let Some(other) = before.find(|other| other.name == device.name) {
            let error = Error::NameTaken {
                device: device.name.clone(),
                taken: device.interface.clone(),
                asker: "another device".into(),
                interface: other.interface.clone(),
            };
            return Err(Fault::new(
                error,
                model.app().place(["devices", &device.name]),
            ));
        }
    }
    Ok(())
}

fn unused(model: &Model, devices: &[Device]) -> Result<(), Fault> {
    let app = model.app();
    let names = || devices.iter().map(|device| device.name.as_str());
    let Some(entry) = app
        .descriptor
        .devices
        .keys()
        .find(|entry| !names().any(|name| name == entry.as_str()))
    else {
        return Ok(());
    };
    let hint = match nearest(entry, names()) {
        Some(name) => format!("did you mean `{name}`? Otherwise leave the entry out"),
        None => format!("the devices are {}; leave the entry out", list(names())),
    };
    Err(Fault::new(
        Error::UnusedEntry {
            entry: entry.clone(),
            hint,
        },
        app.place(["devices", entry]),
    ))
}

/// One pass over the graph.
struct Wiring<'a> {
    model: &'a Model,
    artifact: Artifact,
    interfaces: &'a BTreeMap<&'a str, &'a Interface>,
    clashing: &'a BTreeSet<String>,
    /// How many devices there are for each parameter's name.
    names: BTreeMap<String, usize>,
    /// The devices being made, outermost first: name, interface and package.
    path: Vec<(String, String, usize)>,
    devices: Vec<Device>,
}

impl Wiring<'_> {
    fn main(&mut self) -> Result<Vec<Argument>, Fault> {
        let main = self.model.app().descriptor.main.as_ref();
        main.iter()
            .flat_map(|main| &main.parameters)
            .map(|name| match name.as_str() {
                "keys" => Ok(Argument::Keys),
                _ => self.device(None, name).map(Argument::Device),
            })
            .collect()
    }

    /// The device that the parameter `parameter` of `parent` stands for.
    fn device(&mut self, parent: Option<&Parent>, parameter: &str) -> Result<usize, Fault> {
        let app = self.model.app();
        let asker =
            parent.map_or_else(|| format!("`{}`", app.name), |p| format!("`{}`", p.package));
        let own = app
            .descriptor
            .devices
            .get(parameter)
            .filter(|_| parent.is_none());
        let interface = own
            .and_then(|entry| entry.interface.as_deref())
            .unwrap_or(parameter);
        let place = || match (parent, own) {
            (None, Some(_)) => app.place(["devices", parameter]),
            (None, None) => app.place(["main"]),
            (Some(parent), _) => parent.place.clone(),
        };
        let fault = |error| Fault::new(error, place());
        let Some(&Interface { shared, attached }) = self.interfaces.get(interface).copied() else {
            return Err(fault(self.unknown(asker, interface)));
        };
        let name = match parent {
            Some(parent) if !shared && self.clashing.contains(parameter) => {
                format!("{}.{parameter}", parent.device)
            }
            _ => parameter.to_string(),
        };
        if let Some(found) = self
            .path
            .iter()
            .position(|(other, ..)| shared && *other == name)
        {
            return Err(fault(self.cycle(found, &name)));
        }
        let made = self.devices.iter().position(|device| device.name == name);
        if let Some(made) = made.filter(|_| shared) {
            let taken = &self.devices[made].interface;
            return if taken == interface {
                Ok(made)
            } else {
                Err(fault(Error::NameTaken {
                    device: name,
                    taken: taken.clone(),
                    asker,
                    interface: interface.into(),
                }))
            };
        }
        *self.names.entry(parameter.into()).or_default() += 1;

        let entry = app.descriptor.devices.get(&name);
        let named = entry.and_then(|entry| entry.provider.as_deref());
        let package = choose::provider(self.model, self.artifact, interface, &name, &asker, named)
            .map_err(|error| {
                let place = match error {
                    Error::NotAProvider { .. } => app.place(["devices", &name, "provider"]),
                    _ => place(),
                };
                Fault::new(error, place)
            })?;
        let same = |(_, i, p): &(String, String, usize)| i == interface && *p == package;
        if let Some(found) = self.path.iter().position(same) {
            return Err(fault(self.cycle(found, &name)));
        }
        // An entry for a device of the application's own is judged by `unique`.
        let own = |main: &Call| main.parameters.contains(&name);
        if let (Some(entry), Some(_)) = (entry, parent)
            && entry.interface.as_deref().is_some_and(|i| i != interface)
            && !app.descriptor.main.as_ref().is_some_and(own)
        {
            return Err(Fault::new(
                Error::FixedInterface {
                    device: name.clone(),
                    asker,
                    interface: interface.into(),
                },
                app.place(["devices", &name, "interface"]),
            ));
        }
        self.make(name, interface, shared, attached, package, entry)
    }

    fn make(
        &mut self,
        name: String,
        interface: &str,
        shared: bool,
        attached: Option<Attached>,
        package: usize,
        entry: Option<&Entry>,
    ) -> Result<usize, Fault> {
        let home = &self.model.packages[package];
        let provider = home.descriptor.provides[interface].clone();
        verify::provider(home, interface, &provider)?;
        verify::name(self.model.app(), &name, attached)?;
        let values = verify::values(self.model.app(), &name, &provider, entry)?;
        let parent = Parent {
            device: name.clone(),
            package: home.name.clone(),
            place: home.place(["provides", interface, "new"]),
        };
        self.path.push((name.clone(), interface.into(), package));
        let mut arguments = Vec::new();
        for parameter in &provider.new.parameters {
            arguments.push(match parameter.as_str() {
                "keys" => Argument::Keys,
                "name" => Argument::Name,
                "runtime" => Argument::Runtime,
                "sealed" => Argument::Sealed,
                device => Argument::Device(self.device(Some(&parent), device)?),
            });
        }
        self.path.pop();
        self.devices.push(Device {
            name,
            interface: interface.into(),
            shared,
            attached,
            package,
            provider,
            arguments,
            values,
        });
        Ok(self.devices.len() - 1)
    }

    fn unknown(&self, asker: String, name: &str) -> Error {
        let names = || self.interfaces.keys().copied();
        let hint = match nearest(name, names()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if self.interfaces.is_empty() => {
                "none of its dependencies defines interfaces; depend on one that does".into()
            }
            None => format!(
                "the interfaces are {}; a device of another name says which it is:\n\
                 [package.metadata.mirage.devices]\n{name} = {{ interface = \"...\" }}",
                list(names())
            ),
        };
        Error::UnknownInterface {
            asker,
            name: name.into(),
            hint,
        }
    }

    fn cycle(&self, from: usize, name: &str) -> Error {
        let mut path: Vec<&str> = self.path[from..].iter().map(|(n, ..)| n.as_str()).collect();
        path.push(name);
        Error::Cycle {
            device: path.first().copied().unwrap_or(name).into(),
            path: path.join(" -> "),
            entry: toml_key(name),
        }
    }
}

struct Parent {
    device: String,
    package: String,
    place: Place,
}

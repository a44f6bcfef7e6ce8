//! The wiring: which provider gives each device that the application asks for, all the way down.
//!
//! [`wire()`] is a pure function of what the packages say of themselves.

mod choose;
mod error;
mod verify;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use choose::{list, nearest};
#[cfg(test)]
use error::Error;
pub use error::Fault;
pub use wire::wire;

use crate::descriptor::{Artifact, Attached, Call, Key, Provider, Time};

/// The application's devices, resolved.
#[derive(Debug, Clone)]
pub struct Graph {
    /// What it runs on: the value of `--on`.
    pub on: String,
    /// The platform's package.
    pub platform: usize,
    /// What is made.
    pub artifact: Artifact,
    /// The devices, each after those it takes.
    pub devices: Vec<Device>,
    /// The application's function.
    pub main: Call,
    /// What its parameters are given.
    pub arguments: Vec<Argument>,
}

/// One instance of a provider.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name: unique, and what the command line calls it.
    pub name: String,
    /// What it is to those who take it.
    pub interface: String,
    /// One instance serves everybody who asks.
    pub shared: bool,
    /// The host resource it stands for.
    pub attached: Option<Attached>,
    /// The package that provides it.
    pub package: usize,
    /// How it is made.
    pub provider: Provider,
    /// What the constructor's parameters are given.
    pub arguments: Vec<Argument>,
    /// Values that the application's description gives to its keys.
    pub values: BTreeMap<String, String>,
}

/// What a parameter is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// The device at this place in [`Graph::devices`].
    Device(usize),
    /// The values of the keys.
    Keys,
    /// The device's own name.
    Name,
    /// The platform's runtime.
    Runtime,
    /// What the build step made.
    Sealed,
}

/// A key with everything known of it.
#[derive(Debug, Clone)]
pub struct KeyEntry<'a> {
    /// How it is addressed.
    pub address: String,
    /// Its field's name.
    pub field: &'a str,
    /// The device it belongs to; `None` for the application's own.
    pub device: Option<usize>,
    /// Its value where the command line gives none.
    pub default: Option<&'a str>,
    /// Its declaration.
    pub key: &'a Key,
}

impl KeyEntry<'_> {
    /// Its value may be absent.
    pub fn optional(&self) -> bool {
        self.default.is_none() && !self.key.required
    }
}

impl Graph {
    /// All keys: the application's own (`own`), then each device's.
    pub fn keys<'a>(&'a self, own: &'a BTreeMap<String, Key>) -> Vec<KeyEntry<'a>> {
        let mut keys: Vec<KeyEntry<'a>> = own
            .iter()
            .map(|(name, key)| KeyEntry {
                address: name.clone(),
                field: name,
                device: None,
                default: key.default.as_ref().map(|value| value.0.as_str()),
                key,
            })
            .collect();
        for (at, device) in self.devices.iter().enumerate() {
            for (name, key) in &device.provider.keys {
                let default = key.default.as_ref().map(|value| &value.0);
                keys.push(KeyEntry {
                    address: format!("{}.{name}", device.name),
                    field: name,
                    device: Some(at),
                    default: device.values.get(name).or(default).map(String::as_str),
                    key,
                });
            }
        }
        keys
    }

    /// The keys that are read at `time`.
    pub fn keys_at<'a>(
        &'a self,
        own: &'a BTreeMap<String, Key>,
        time: Time,
    ) -> impl Iterator<Item = KeyEntry<'a>> {
        self.keys(own)
            .into_iter()
            .filter(move |entry| entry.key.at == time)
    }

    /// The devices that the tender must be given, in the order of the image's manifest.
    pub fn attached(&self) -> impl Iterator<Item = (&Device, Attached)> {
        self.devices
            .iter()
            .filter_map(|device| Some((device, device.attached?)))
    }
}

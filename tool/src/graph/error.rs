use miette::{Diagnostic, Report};
use thiserror::Error;

use crate::report::Place;

/// What is wrong, and where.
#[derive(Debug)]
pub struct Fault {
    /// What.
    pub error: Box<Error>,
    /// The entry of the Cargo.toml that says so.
    pub place: Place,
}

impl Fault {
    /// What, and where.
    pub fn new(error: Error, place: Place) -> Self {
        Self {
            error: Box::new(error),
            place,
        }
    }

    /// The error with the lines it is about.
    pub fn report(self) -> Report {
        self.place.show(*self.error)
    }
}

/// Why the devices cannot be connected.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum Error {
    /// Nobody defines the interface.
    #[error("{asker} takes `{name}`, and there is no interface of that name")]
    #[diagnostic(help("{hint}"))]
    UnknownInterface {
        asker: String,
        name: String,
        hint: String,
    },
    /// Two packages define the same interface.
    #[error("both {first} and {second} define the interface `{interface}`")]
    #[diagnostic(help("an interface has one home; leave one of the two packages out"))]
    InterfaceTwice {
        interface: String,
        first: String,
        second: String,
    },
    /// Nobody provides the interface.
    #[error("no package provides `{interface}`, which {asker} takes as `{device}`")]
    #[diagnostic(help("{hint}"))]
    NoProvider {
        interface: String,
        asker: String,
        device: String,
        hint: String,
    },
    /// Several packages provide the interface, equally near.
    #[error("several packages provide `{interface}` for the device `{device}`: {candidates}")]
    #[diagnostic(help(
        "choose one in the application's Cargo.toml:\n\
         [package.metadata.mirage.devices]\n{entry} = {{ provider = \"{first}\" }}"
    ))]
    Ambiguous {
        interface: String,
        device: String,
        candidates: String,
        entry: String,
        first: String,
    },
    /// The provider that was named is not one.
    #[error("`{provider}` does not provide `{interface}` for the device `{device}`")]
    #[diagnostic(help("{hint}"))]
    NotAProvider {
        provider: String,
        interface: String,
        device: String,
        hint: String,
    },
    /// A device needs itself.
    #[error("the device `{device}` needs itself: {path}")]
    #[diagnostic(help(
        "choose another provider for one of them in the application's Cargo.toml, for example:\n\
         [package.metadata.mirage.devices]\n{entry} = {{ provider = \"PACKAGE\" }}"
    ))]
    Cycle {
        device: String,
        path: String,
        entry: String,
    },
    /// A name stands for two interfaces.
    #[error(
        "`{device}` is the application's device of interface `{taken}`, and {asker} takes a `{interface}` of that name"
    )]
    #[diagnostic(help("give the application's device another name"))]
    NameTaken {
        device: String,
        taken: String,
        asker: String,
        interface: String,
    },
    /// An entry is for no device.
    #[error("there is no device `{entry}`")]
    #[diagnostic(help("{hint}"))]
    UnusedEntry { entry: String, hint: String },
    /// An entry renames a device that is not the application's own.
    #[error(
        "the device `{device}` is asked for by {asker}: its interface is `{interface}` and cannot be changed"
    )]
    #[diagnostic(help("leave `interface` out; `provider` and values for keys may be given"))]
    FixedInterface {
        device: String,
        asker: String,
        interface: String,
    },
    /// A value is for no key.
    #[error("the device `{device}` has no key `{key}`")]
    #[diagnostic(help("{hint}"))]
    UnknownKey {
        device: String,
        key: String,
        hint: String,
    },
    /// A value is of the wrong type.
    #[error("`{key}`: `{value}` is not {wrong}")]
    #[diagnostic(help("correct the value"))]
    WrongType {
        key: String,
        value: String,
        wrong: String,
    },
    /// No platform serves this.
    #[error("no package of the application makes something that runs on `{on}`")]
    #[diagnostic(help("{hint}"))]
    NoPlatform { on: String, hint: String },
    /// Several platforms serve this, equally near.
    #[error("several packages make something that runs on `{on}`: {candidates}")]
    #[diagnostic(help("leave all but one out of the application's dependencies"))]
    PlatformTwice { on: String, candidates: String },
    /// A description contradicts itself.
    #[error("package `{package}`: {what}")]
    #[diagnostic(help("{hint}"))]
    Description {
        package: String,
        what: String,
        hint: String,
    },
}

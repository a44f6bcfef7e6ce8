//! Every declared device given, none more.

use mirage_manifest::{Kind, Manifest};

use crate::arguments::{Arguments, Resource};
use crate::error::Error;

/// A device of the manifest and what it is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached<'a> {
    /// Its name in the manifest.
    pub name: &'a str,
    /// What was given for it, of its kind.
    pub resource: Resource<'a>,
}

/// Checks that manifest and command line name the same devices, of the same kinds.
pub fn check<'a>(manifest: &Manifest<'a>, arguments: &Arguments<'a>) -> Result<(), Error<'a>> {
    for given in arguments.attachments() {
        if !manifest.devices().any(|device| device.name == given.name) {
            return Err(Error::NotDeclared(given.name));
        }
    }
    attached(manifest, arguments).try_for_each(|device| device.map(drop))
}

/// The devices in the order of their numbers.
pub fn attached<'a, 'b>(
    manifest: &Manifest<'a>,
    arguments: &'b Arguments<'a>,
) -> impl Iterator<Item = Result<Attached<'a>, Error<'a>>> + use<'a, 'b> {
    manifest.devices().map(|device| {
        let (name, kind) = (device.name, device.kind);
        let mut all = arguments.attachments();
        match all.find(|given| given.name == name) {
            Some(given) if given.resource.kind() == kind => Ok(Attached {
                name,
                resource: given.resource,
            }),
            Some(_) => Err(Error::WrongKind { name, kind }),
            None => Err(Error::NotGiven { name, kind }),
        }
    })
}

/// What to type for a device of this kind.
pub(crate) const fn option(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Block => ("--block", "FILE"),
        _ => ("--net", "tap:INTERFACE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mirage_manifest::{Device, Note, note_len};
    use std::string::{String, ToString};
    use std::vec::Vec;

    const DEVICES: &[Device] = &[
        Device::new(Kind::Net, "net"),
        Device::new(Kind::Block, "disk"),
    ];
    static NOTE: Note<{ note_len(DEVICES) }> = Note::new(DEVICES);

    fn checked(words: &[&str]) -> Result<Vec<String>, String> {
        let words = ["tender"].iter().chain(words).chain(&["image"]);
        let arguments = Arguments::parse(words.map(|word| word.as_bytes())).unwrap();
        let manifest = Manifest::parse(NOTE.as_bytes()).unwrap();
        check(&manifest, &arguments).map_err(|error| error.to_string())?;
        Ok(attached(&manifest, &arguments)
            .map(|device| device.unwrap().name.to_string())
            .collect())
    }

    #[test]
    fn devices_come_in_the_order_of_the_manifest() {
        let names = checked(&["--block", "disk=f", "--net", "net=fd:3"]);
        assert_eq!(names.unwrap(), ["net", "disk"]);
    }

    #[test]
    fn a_device_missing_unknown_or_of_the_wrong_kind_is_named_with_the_option_to_give() {
        let missing = checked(&["--net", "net=fd:3"]).unwrap_err();
        assert!(missing.contains("--block disk=FILE"), "{missing}");
        let missing = checked(&["--block", "disk=f"]).unwrap_err();
        assert!(missing.contains("--net net=tap:INTERFACE"), "{missing}");
        let wrong = checked(&["--net", "net=fd:3", "--net", "disk=fd:4"]).unwrap_err();
        assert!(wrong.contains("--block disk=FILE"), "{wrong}");
        let more = ["--net", "net=fd:3", "--block", "disk=f", "--net", "up=fd:4"];
        let more = checked(&more).unwrap_err();
        assert!(more.contains("no device up"), "{more}");
    }
}

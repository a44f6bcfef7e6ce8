//! Whether a description agrees with itself.

use std::collections::BTreeMap;

use mirage_keys::{KeyType, RUNTIME};
use mirage_manifest::MAX_NAME;

use crate::descriptor::{Attached, Call, Device as Entry, FnPath, Key, Provider, Time};
use crate::metadata::Package;

use super::choose::{list, nearest};
use super::error::{Error, Fault};

fn wrong(package: &Package, keys: &[&str], what: impl Into<String>, hint: &str) -> Fault {
    Fault::new(
        Error::Description {
            package: package.name.clone(),
            what: what.into(),
            hint: hint.into(),
        },
        package.place(keys.iter().copied()),
    )
}

pub(super) fn application(app: &Package) -> Result<(), Fault> {
    let Some(main) = &app.descriptor.main else {
        return Ok(());
    };
    krate(app, &["main"], &main.path)?;
    takes_keys(app, &["main"], main, app.descriptor.keys.values())?;
    for (name, declared) in &app.descriptor.keys {
        let place = ["keys", name];
        if RUNTIME.iter().any(|key| key.name == *name) {
            return Err(wrong(
                app,
                &place,
                format!("the key `{name}` is the runtime's own"),
                "give the application's key another name",
            ));
        }
        if declared.at == Time::Build {
            return Err(wrong(
                app,
                &place,
                format!(
                    "the key `{name}` is read at build time, and an application has no build step"
                ),
                "leave `at` out: the key is then read when the image boots",
            ));
        }
        key(app, &place, name, declared)?;
    }
    Ok(())
}

pub(super) fn platform(package: &Package) -> Result<(), Fault> {
    match &package.descriptor.platform {
        Some(platform) => krate(package, &["platform", "entry"], &platform.entry),
        None => Ok(()),
    }
}

pub(super) fn provider(home: &Package, interface: &str, provider: &Provider) -> Result<(), Fault> {
    let new = ["provides", interface, "new"];
    krate(home, &new, &provider.new.path)?;
    takes_keys(
        home,
        &new,
        &provider.new,
        provider.keys.values().filter(|key| key.at == Time::Run),
    )?;
    let sealed = provider.new.parameters.iter().any(|name| name == "sealed");
    match &provider.build {
        Some(build) => krate(
            home,
            &["provides", interface, "build", "function"],
            &build.function,
        )?,
        None if sealed => {
            return Err(wrong(
                home,
                &new,
                "`sealed` is what a build step made, and there is no `build`",
                "name the build step: build = { function = \"...\" }",
            ));
        }
        None => {}
    }
    for (name, declared) in &provider.keys {
        let place = ["provides", interface, "keys", name];
        if declared.at == Time::Build && provider.build.is_none() {
            return Err(wrong(
                home,
                &place,
                format!("the key `{name}` is read at build time, and there is no `build`"),
                "name the build step: build = { function = \"...\" }",
            ));
        }
        key(home, &place, name, declared)?;
    }
    let primary = provider.primary.as_ref();
    let build_key = |name: &String| provider.keys.get(name).is_some_and(|k| k.at == Time::Build);
    match primary {
        Some(name) if !build_key(name) => Err(wrong(
            home,
            &["provides", interface, "primary"],
            format!("`{name}` is not one of its build-time keys"),
            "name a key that has at = \"build\"",
        )),
        _ => Ok(()),
    }
}

fn krate(package: &Package, place: &[&str], path: &FnPath) -> Result<(), Fault> {
    let krate = package.krate.as_deref();
    if krate == Some(path.krate()) {
        return Ok(());
    }
    Err(match krate {
        Some(krate) => wrong(
            package,
            place,
            format!("`{path}` does not start with the name of its library, `{krate}`"),
            "a description names functions of its own package only",
        ),
        None => wrong(
            package,
            place,
            format!("`{path}` is named, and the package has no library"),
            "add src/lib.rs",
        ),
    })
}

fn takes_keys<'a>(
    package: &Package,
    place: &[&str],
    call: &Call,
    mut keys: impl Iterator<Item = &'a Key>,
) -> Result<(), Fault> {
    if keys.next().is_none() || call.parameters.iter().any(|name| name == "keys") {
        return Ok(());
    }
    Err(wrong(
        package,
        place,
        format!("there are keys, and `{}` does not take `keys`", call.path),
        "add the parameter `keys`, or leave the keys out",
    ))
}

fn key(package: &Package, place: &[&str], name: &str, key: &Key) -> Result<(), Fault> {
    if syn::parse_str::<syn::Ident>(name).is_err() {
        return Err(wrong(
            package,
            place,
            format!("`{name}` cannot be the name of a field"),
            "use a lower-case identifier",
        ));
    }
    if key.kind == KeyType::Path && key.at == Time::Run {
        return Err(wrong(
            package,
            place,
            format!("the key `{name}` is a path, and a unikernel has no file system"),
            "only a key with at = \"build\" may be a path",
        ));
    }
    if let Some(default) = &key.default {
        let mut place = place.to_vec();
        place.push("default");
        check(package, &place, name, key.kind, &default.0)?;
    }
    Ok(())
}

fn check(
    package: &Package,
    place: &[&str],
    name: &str,
    kind: KeyType,
    value: &str,
) -> Result<(), Fault> {
    kind.check(value).map_err(|error| {
        Fault::new(
            Error::WrongType {
                key: name.into(),
                value: value.into(),
                wrong: error.to_string(),
            },
            package.place(place.iter().copied()),
        )
    })
}

/// A device that the tender is given has a name that the image's manifest can hold.
pub(super) fn name(app: &Package, name: &str, attached: Option<Attached>) -> Result<(), Fault> {
    let fits = name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.'));
    if attached.is_none() || fits {
        return Ok(());
    }
    Err(wrong(
        app,
        &["main"],
        format!("`{name}` cannot be the name of a device"),
        &format!("use at most {MAX_NAME} of the characters a-z 0-9 _"),
    ))
}

/// The values that the application's entry gives to a device's keys.
pub(super) fn values(
    app: &Package,
    device: &str,
    provider: &Provider,
    entry: Option<&Entry>,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut values = BTreeMap::new();
    for (name, value) in entry.iter().flat_map(|entry| &entry.values) {
        let place = ["devices", device, name];
        let Some(declared) = provider.keys.get(name) else {
            let names = || provider.keys.keys().map(String::as_str);
            let hint = match nearest(name, names().chain(["interface", "provider"])) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None if provider.keys.is_empty() => "its provider has no keys".into(),
                None => format!("its keys are {}", list(names())),
            };
            return Err(Fault::new(
                Error::UnknownKey {
                    device: device.into(),
                    key: name.clone(),
                    hint,
                },
                app.place(place),
            ));
        };
        let address = format!("{device}.{name}");
        check(app, &place, &address, declared.kind, &value.0)?;
        values.insert(name.clone(), value.0.clone());
    }
    Ok(values)
}

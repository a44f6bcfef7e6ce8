use serde_json::{Value, json};

use super::*;
use crate::fixture::{model, package};
use crate::metadata::{Model, Package};

/// Interfaces, a platform, and simple providers, one step away.
fn basics() -> Vec<Package> {
    vec![
        package(
            "interfaces",
            Some(1),
            json!({ "interfaces": {
                "clock": { "shared": true },
                "net": { "attached": "net" },
                "block": { "attached": "block" },
                "stack": { "shared": true },
                "assets": {},
                "orphan": {},
            } }),
        ),
        package(
            "metal",
            Some(1),
            json!({ "platform": {
                "artifact": "image", "runs-on": ["process"], "entry": "metal::image"
            } }),
        ),
        package(
            "basic",
            Some(2),
            json!({ "provides": {
                "clock": { "new": "basic::Clock::new(runtime)" },
                "net": { "new": "basic::Net::new(runtime, name)", "fallible": true },
                "block": { "new": "basic::Block::new(runtime, name)", "platforms": ["image"] },
            } }),
        ),
        package(
            "tcp",
            Some(2),
            json!({ "provides": { "stack": {
                "new": "tcp::Stack::new(net, clock, keys)",
                "async": true,
                "keys": { "ipv4": { "type": "cidr" } },
            } } }),
        ),
    ]
}

fn with(app: Value, more: Vec<Package>) -> Model {
    let mut packages = vec![package("app", Some(0), app)];
    packages.extend(basics());
    packages.extend(more);
    model(packages)
}

fn wired(app: Value) -> Result<Graph, Error> {
    wire(&with(app, vec![]), "process").map_err(|fault| *fault.error)
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.devices.iter().map(|d| d.name.as_str()).collect()
}

fn message(app: Value, more: Vec<Package>) -> (String, String, Vec<String>) {
    use miette::Diagnostic as _;
    let fault = wire(&with(app, more), "process").unwrap_err();
    let help = fault.error.help().map(|help| help.to_string());
    let keys = fault.place.keys[3..].to_vec();
    (fault.error.to_string(), help.unwrap_or_default(), keys)
}

#[test]
fn devices_are_made_before_those_that_take_them() {
    let graph = wired(json!({ "main": "app::main(stack, clock)" })).unwrap();
    assert_eq!(names(&graph), ["net", "clock", "stack"]);
    assert_eq!(
        graph.devices[2].arguments,
        [Argument::Device(0), Argument::Device(1), Argument::Keys]
    );
    assert_eq!(graph.arguments, [Argument::Device(2), Argument::Device(1)]);
    let attached: Vec<_> = graph
        .attached()
        .map(|(d, kind)| (d.name.as_str(), kind))
        .collect();
    assert_eq!(attached, [("net", Attached::Net)]);
}

#[test]
fn every_asker_gets_an_instance_of_its_own_unless_the_interface_is_shared() {
    let app = json!({
        "main": "app::main(inner, outer)",
        "devices": {
            "inner": { "interface": "stack" },
            "outer": { "interface": "stack", "ipv4": "10.0.0.2/24" },
        },
    });
    let graph = wired(app).unwrap();
    assert_eq!(
        names(&graph),
        ["inner.net", "clock", "inner", "outer.net", "outer"]
    );
    assert_eq!(graph.devices[4].values["ipv4"], "10.0.0.2/24");
    let own = BTreeMap::new();
    let keys = graph.keys(&own);
    let addresses: Vec<_> = keys
        .iter()
        .map(|k| (k.address.as_str(), k.default))
        .collect();
    assert_eq!(
        addresses,
        [("inner.ipv4", None), ("outer.ipv4", Some("10.0.0.2/24"))]
    );
}

#[test]
fn the_applications_own_device_keeps_its_name_when_another_has_it_too() {
    let graph = wired(json!({ "main": "app::main(stack, net)" })).unwrap();
    assert_eq!(names(&graph), ["stack.net", "clock", "stack", "net"]);
}

#[test]
fn the_nearest_provider_wins() {
    let near = package(
        "near",
        Some(1),
        json!({ "provides": {
        "stack": { "new": "near::Stack::new()" },
    } }),
    );
    let graph = wire(
        &with(json!({ "main": "app::main(stack)" }), vec![near]),
        "process",
    )
    .unwrap();
    assert_eq!(names(&graph), ["stack"]);
    assert_eq!(graph.devices[0].package, 5);
}

#[test]
fn the_description_chooses_among_equally_near_providers() {
    let other = || {
        vec![package(
            "other",
            Some(2),
            json!({ "provides": {
            "stack": { "new": "other::Stack::new()" },
        } }),
        )]
    };
    let (error, help, keys) = message(json!({ "main": "app::main(stack)" }), other());
    assert_eq!(
        error,
        "several packages provide `stack` for the device `stack`: `tcp`, `other`"
    );
    assert!(help.contains("stack = { provider = \"tcp\" }"), "{help}");
    assert_eq!(keys, ["main"]);
    let app = |provider: &str| {
        json!({
            "main": "app::main(stack)", "devices": { "stack": { "provider": provider } },
        })
    };
    let graph = wire(&with(app("other"), other()), "process").unwrap();
    assert_eq!(graph.devices[0].package, 5);
    let (error, help, keys) = message(app("basic"), other());
    assert_eq!(
        error,
        "`basic` does not provide `stack` for the device `stack`"
    );
    assert_eq!(help, "packages that provide it: `tcp`, `other`");
    assert_eq!(keys, ["devices", "stack", "provider"]);
}

#[test]
fn a_missing_provider_says_what_could_be_added() {
    let app = || json!({ "main": "app::main(orphan)" });
    let (error, help, _) = message(app(), vec![]);
    assert_eq!(
        error,
        "no package provides `orphan`, which `app` takes as `orphan`"
    );
    assert!(
        help.starts_with("add a package that provides `orphan`"),
        "{help}"
    );
    let provides = || json!({ "provides": { "orphan": { "new": "home::Home::new()" } } });
    let (_, help, _) = message(app(), vec![package("home", None, provides())]);
    assert!(
        help.starts_with("`home` in this workspace would: add it"),
        "{help}"
    );
    let elsewhere = json!({ "provides": { "orphan": {
        "new": "home::Home::new()", "platforms": ["program"],
    } } });
    let (_, help, _) = message(app(), vec![package("home", Some(1), elsewhere)]);
    assert!(
        help.starts_with("`home` would, but not in an artifact of the kind `image`"),
        "{help}"
    );
}

#[test]
fn an_unknown_interface_is_told_with_the_nearest_one() {
    let (error, help, _) = message(json!({ "main": "app::main(stak)" }), vec![]);
    assert_eq!(
        error,
        "`app` takes `stak`, and there is no interface of that name"
    );
    assert_eq!(help, "did you mean `stack`?");
    let (_, help, _) = message(json!({ "main": "app::main(television)" }), vec![]);
    assert!(
        help.contains("television = { interface = \"...\" }"),
        "{help}"
    );
    let entry = json!({ "main": "app::main(d)", "devices": { "d": { "interface": "blok" } } });
    let (_, help, keys) = message(entry, vec![]);
    assert_eq!(help, "did you mean `block`?");
    assert_eq!(keys, ["devices", "d"]);
}

#[test]
fn a_device_that_needs_itself_is_refused() {
    let needs = |name: &str, provides: &str, takes: &str| {
        package(
            name,
            Some(1),
            json!({ "provides": {
            provides: { "new": format!("{name}::New::new({takes})") },
        } }),
        )
    };
    let circle = vec![
        needs("one", "orphan", "stack"),
        needs("two", "stack", "orphan"),
    ];
    let (error, help, _) = message(json!({ "main": "app::main(orphan)" }), circle);
    assert_eq!(
        error,
        "the device `orphan` needs itself: orphan -> stack -> stack.orphan"
    );
    assert!(help.contains("provider"), "{help}");
}

#[test]
fn a_provider_may_wrap_another_of_the_same_interface() {
    let wrapper = package(
        "trace",
        Some(1),
        json!({ "provides": {
        "net": { "new": "trace::Net::new(net)" },
    } }),
    );
    let app = json!({
        "main": "app::main(net)", "devices": { "net.net": { "provider": "basic" } },
    });
    let graph = wire(&with(app, vec![wrapper]), "process").unwrap();
    assert_eq!(names(&graph), ["net.net", "net"]);
}

#[test]
fn entries_that_are_for_nothing_are_refused() {
    let app = |devices: Value| json!({ "main": "app::main(stack)", "devices": devices });
    let (error, help, keys) = message(app(json!({ "stac": { "ipv4": "::/0" } })), vec![]);
    assert_eq!(error, "there is no device `stac`");
    assert_eq!(help, "did you mean `stack`? Otherwise leave the entry out");
    assert_eq!(keys, ["devices", "stac"]);
    let (error, help, keys) = message(app(json!({ "stack": { "ipv6": "::/0" } })), vec![]);
    assert_eq!(error, "the device `stack` has no key `ipv6`");
    assert_eq!(help, "did you mean `ipv4`?");
    assert_eq!(keys, ["devices", "stack", "ipv6"]);
    let (error, _, _) = message(app(json!({ "stack": { "ipv4": "x" } })), vec![]);
    assert!(
        error.starts_with("`stack.ipv4`: `x` is not an IP address"),
        "{error}"
    );
    let (error, _, _) = message(app(json!({ "net": { "interface": "block" } })), vec![]);
    assert!(error.contains("cannot be changed"), "{error}");
}

#[test]
fn a_name_cannot_stand_for_two_interfaces() {
    let app =
        |main: &str| json!({ "main": main, "devices": { "clock": { "interface": "block" } } });
    let (error, _, _) = message(app("app::main(stack, clock)"), vec![]);
    assert!(
        error.ends_with("interface `block`, and another device takes a `clock` of that name"),
        "{error}"
    );
    let (error, _, _) = message(app("app::main(clock, stack)"), vec![]);
    assert_eq!(
        error,
        "`clock` is the application's device of interface `block`, and `tcp` takes a `clock` of \
         that name"
    );
}

#[test]
fn a_platform_must_serve_what_is_asked_for() {
    let app = json!({ "main": "app::main()" });
    let error = *wire(&with(app, vec![]), "moon").unwrap_err().error;
    assert_eq!(
        error,
        Error::NoPlatform {
            on: "moon".into(),
            hint: "its platforms serve: `process`".into()
        }
    );
}

#[test]
fn a_description_that_contradicts_itself_is_refused() {
    let key = |key: Value| json!({ "main": "app::main(keys)", "keys": { "k": key } });
    let provide = |said: Value| {
        let said = json!({ "provides": { "orphan": said } });
        message(
            json!({ "main": "app::main(orphan)" }),
            vec![package("p", Some(1), said)],
        )
        .0
    };
    for (app, expected) in [
        (
            json!({ "main": "other::main()" }),
            "does not start with the name of its library, `app`",
        ),
        (
            json!({ "main": "app::main()", "keys": { "k": { "type": "u16" } } }),
            "does not take `keys`",
        ),
        (
            json!({ "main": "app::main(keys)", "keys": { "log": { "type": "u16" } } }),
            "runtime's own",
        ),
        (
            json!({ "main": "app::main(keys)", "keys": { "a-b": { "type": "u16" } } }),
            "name of a field",
        ),
        (
            key(json!({ "type": "path" })),
            "a unikernel has no file system",
        ),
        (
            key(json!({ "type": "u16", "at": "build" })),
            "an application has no build step",
        ),
        (
            key(json!({ "type": "u16", "default": "x" })),
            "`k`: `x` is not a number",
        ),
    ] {
        let error = message(app, vec![]).0;
        assert!(error.contains(expected), "{error}");
    }
    for (said, expected) in [
        (json!({ "new": "q::new()" }), "name of its library, `p`"),
        (json!({ "new": "p::new(sealed)" }), "there is no `build`"),
        (
            json!({ "new": "p::new()", "keys": { "f": { "type": "path", "at": "build" } } }),
            "there is no `build`",
        ),
        (
            json!({ "new": "p::new()", "primary": "f" }),
            "not one of its build-time keys",
        ),
        (
            json!({ "new": "p::new()", "keys": { "f": { "type": "u16" } } }),
            "does not take `keys`",
        ),
    ] {
        let error = provide(said);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_device_has_a_name_that_fits_the_manifest() {
    let app = |name: &str| {
        json!({
            "main": format!("app::main({name})"), "devices": { name: { "interface": "net" } },
        })
    };
    assert!(wired(app("uplink")).is_ok());
    for name in ["Uplink", "a_name_that_is_longer_than_31_bytes"] {
        let (error, _, _) = message(app(name), vec![]);
        assert!(error.contains("cannot be the name of a device"), "{error}");
    }
}

use serde_json::json;

use super::*;
use crate::fixture::{model, package};
use crate::graph::wire;
use crate::metadata::Source;
use crate::settings;

/// An application with a network, a sealed folder and keys.
fn site(folder: &Path) -> (Model, Graph, Vec<Step>) {
    let app = json!({
        "main": "my_site::main(stack, assets, clock, keys)",
        "devices": { "assets": { "from": folder } },
        "keys": {
            "port": { "type": "u16", "default": 80, "doc": "TCP port to serve on" },
            "name": { "type": "string", "required": true },
            "theme": { "type": "string" },
        },
    });
    let lib = json!({
        "interfaces": {
            "clock": { "shared": true },
            "net": { "attached": "net" },
            "stack": { "shared": true },
            "assets": {},
        },
        "provides": {
            "clock": { "new": "basic::Clock::new(runtime)" },
            "net": { "new": "basic::Net::new(runtime, name)", "fallible": true },
            "assets": {
                "new": "basic::Sealed::new(sealed)",
                "fallible": true,
                "build": { "function": "basic::pack::pack", "features": ["pack"] },
                "primary": "from",
                "keys": { "from": { "type": "path", "at": "build", "required": true } },
            },
            "stack": {
                "new": "basic::Stack::new(net, clock, keys)",
                "async": true,
                "fallible": true,
                "keys": { "ipv4": { "type": "string", "default": "dhcp", "doc": "Address" } },
            },
        },
    });
    let platform = json!({ "platform": {
        "artifact": "image", "runs-on": ["process"], "entry": "metal::image",
        "features": ["sealed"],
    } });
    let mut packages = vec![
        package("my-site", Some(0), app),
        package("basic", Some(1), lib),
        package("metal", Some(1), platform),
    ];
    packages[0].source = Source::Path("/home/ada/my site".into());
    packages[0].features.default = true;
    packages[2].links = Some("metal-link".into());
    packages[2].source = Source::Git(
        "https://example.org/metal".into(),
        Some(("branch".into(), "main".into())),
    );
    let model = model(packages);
    let graph = wire(&model, "process").unwrap();
    let steps = settings::steps(&model, &graph, &[]).unwrap();
    (model, graph, steps)
}

fn generated() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "hi").unwrap();
    let (model, graph, steps) = site(folder.path());
    let files = files(&model, &graph, &steps);
    (folder, files)
}

#[test]
fn main_rs_is_one_readable_macro_call() {
    let (_folder, files) = generated();
    assert_eq!(
        files["main.rs"],
        r#"//! my-site for `--on process`: its devices, connected. Made by `mirage`; changes are lost.
#![no_std]
#![no_main]

/// What the build step of the device `assets` made.
static ASSETS: &Aligned<[u8]> = &Aligned(
    *include_bytes!(concat!(env!("OUT_DIR"), "/assets.sealed")),
);

/// Bytes at an address that suits any type.
#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

metal::image! {
    devices: [("net", Net)],
    keys: [
        ("name", String, None, true, ""),
        ("port", U16, Some("80"), false, "TCP port to serve on"),
        ("theme", String, None, false, ""),
        ("stack.ipv4", String, Some("dhcp"), false, "Address"),
    ],
    main: |runtime, keys| async move {
        let net = basic::Net::new(runtime.clone(), "net");
        let net = runtime.check("net", net)?;
        let clock = basic::Clock::new(runtime.clone());
        let stack_keys = basic::Keys {
            ipv4: runtime.check("stack.ipv4", keys.get("stack.ipv4"))?,
        };
        let stack = basic::Stack::new(net, clock.clone(), stack_keys);
        let stack = runtime.check("stack", stack.await)?;
        let assets = basic::Sealed::new(&ASSETS.0);
        let assets = runtime.check("assets", assets)?;
        let keys = my_site::Keys {
            name: runtime.check("name", keys.get("name"))?,
            port: runtime.check("port", keys.get("port"))?,
            theme: runtime.check("theme", keys.get("theme"))?,
        };
        let outcome = my_site::main(stack, assets, clock, keys).await;
        runtime.finish(outcome)
    },
}
"#
    );
}

#[test]
fn build_rs_links_as_the_platform_says_and_takes_the_build_steps() {
    let (folder, files) = generated();
    let folder = folder.path().canonicalize().unwrap();
    let folder = folder.display();
    assert_eq!(
        files["build.rs"],
        format!(
            r#"//! Builds my-site for `--on process`. Made by `mirage`; changes are lost.
fn main() {{
    println!("cargo::rerun-if-changed=build.rs");
    let arguments = std::env::var("DEP_METAL_LINK_LINK_ARGS").unwrap_or_default();
    for argument in arguments.split(';').filter(|argument| !argument.is_empty()) {{
        println!("cargo::rustc-link-arg-bins={{argument}}");
    }}
    println!("cargo::rerun-if-changed={folder}");
    println!("cargo::rerun-if-changed=assets.inputs");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = basic::pack::pack(
        std::path::Path::new("{folder}"),
        &out.join("assets.sealed"),
    ) {{
        println!("cargo::error=assets: {{error}}");
    }}
}}
"#
        )
    );
}

#[test]
fn cargo_toml_names_the_versions_that_were_resolved() {
    let (_folder, files) = generated();
    assert_eq!(
        files["Cargo.toml"],
        r#"# my-site for `--on process`: its devices, connected. Made by `mirage`; changes are lost.
[package]
name = "my-site-image"
version = "0.0.0"
edition = "2024"
publish = false

[[bin]]
name = "my-site-image"
path = "main.rs"

[dependencies]
my-site = { path = "/home/ada/my site" }
basic = { version = "=1.0.0", default-features = false }
metal = { git = "https://example.org/metal", branch = "main", default-features = false, features = ["sealed"] }

[build-dependencies]
basic = { version = "=1.0.0", default-features = false, features = ["pack"] }

[profile.release]
opt-level = "s"
lto = "fat"
codegen-units = 1
panic = "abort"
debug = true

[workspace]
resolver = "3"
"#
    );
}

#[test]
fn every_file_of_a_build_step_is_listed_with_its_time_and_size() {
    let (folder, files) = generated();
    let before = &files["assets.inputs"];
    assert!(before.contains("index.html"), "{before}");
    fs::write(folder.path().join("new.html"), "").unwrap();
    let (model, graph, steps) = site(folder.path());
    assert_ne!(
        *before,
        super::files(&model, &graph, &steps)["assets.inputs"]
    );
}

#[test]
fn a_device_never_takes_the_name_of_a_variable_that_is_there_already() {
    let app = json!({
        "main": "app::main(runtime, keys_, r#type)",
        "devices": {
            "runtime": { "interface": "clock" },
            "keys_": { "interface": "clock" },
            "r#type": { "interface": "clock" },
        },
    });
    let lib = json!({
        "interfaces": { "clock": { "shared": true } },
        "provides": { "clock": { "new": "basic::Clock::new(runtime)" } },
        "platform": { "artifact": "program", "runs-on": ["host"], "entry": "basic::program" },
    });
    let model = model(vec![
        package("app", Some(0), app),
        package("basic", Some(1), lib),
    ]);
    let graph = wire(&model, "host").unwrap();
    let text = &files(&model, &graph, &[])["main.rs"];
    assert!(
        text.contains("let runtime_ = basic::Clock::new(runtime.clone());"),
        "{text}"
    );
    assert!(
        text.contains("app::main(runtime_, keys_, r_type)"),
        "{text}"
    );
    assert!(!text.contains("no_std"), "{text}");
}

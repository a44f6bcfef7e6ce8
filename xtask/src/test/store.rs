//! The store's core where there is no system below it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::{Context, Test};
use crate::product::{cargo, root};

pub const TESTS: &[Test] = &[
    Test {
        name: "the store's core passes its tests without its feature std",
        needs: &[],
        run: without_std,
    },
    Test {
        name: "the store's core passes the suite of every backend as WebAssembly in node",
        needs: &[Need::Target(WEB), Need::Program("node", "nodejs")],
        run: in_node,
    },
    Test {
        name: "so does a store that is persisted behind",
        needs: &[Need::Target(WEB), Need::Program("node", "nodejs")],
        run: behind_in_node,
    },
];

const WEB: &str = "wasm32-unknown-unknown";

fn run(arguments: &[&str]) -> Result<()> {
    let status = cargo()
        .args(arguments)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

fn without_std(_: &Context) -> Result<()> {
    run(&[
        "test",
        "--locked",
        "-p",
        "irmin",
        "--no-default-features",
        "--lib",
    ])
}

fn in_node(_: &Context) -> Result<()> {
    let features = [
        "--no-default-features",
        "--features",
        "conformance,derive,serde",
    ];
    node("irmin", "conformance", &features)
}

fn behind_in_node(_: &Context) -> Result<()> {
    node("irmin-behind", "behind_conformance", &[])
}

/// Builds an example for the web and has node run it.
fn node(package: &str, example: &str, features: &[&str]) -> Result<()> {
    let what = ["--example", example, "--target", WEB];
    run(&[&["build", "--locked", "-p", package][..], features, &what].concat())?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let module = target
        .join(WEB)
        .join(format!("debug/examples/{example}.wasm"));
    // It imports nothing; a panic is a trap, and a trap ends node with an error.
    let script = "const bytes = require('fs').readFileSync(process.argv[1]);
        WebAssembly.instantiate(bytes).then(({ instance }) => instance.exports.main(0, 0))
            .catch(error => { console.error(error); process.exit(1); })";
    let output = Command::new("node")
        .args(["-e", script, "--"])
        .arg(&module)
        .output()
        .context("cannot start node")?;
    ensure!(
        output.status.success(),
        "{} in node: {}",
        module.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

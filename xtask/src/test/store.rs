//! The store's core where there is no system below it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::{Context, Test};

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
];

const WEB: &str = "wasm32-unknown-unknown";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(root())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

fn without_std(_: &Context) -> Result<()> {
    cargo(&[
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
    let what = ["--example", "conformance", "--target", WEB];
    cargo(&[&["build", "--locked", "-p", "irmin"][..], &features, &what].concat())?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let module = target.join(WEB).join("debug/examples/conformance.wasm");
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

//! Builds the tender, whose bytes the tool carries in itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const TENDER: &str = "mirage-tender-process";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in ["tender/process", "lib/manifest", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", home.join(source).display());
    }
    let target = out.join("target");
    let mut cargo = Command::new(env::var_os("CARGO").expect("Cargo sets CARGO"));
    cargo
        .args(["build", "--release", "--quiet", "--package", TENDER])
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&home);
    // What this build was told (flags, profiles, a wrapper for clippy) is not for that one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let kept = ["CARGO", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        if (name.starts_with("CARGO") || name.starts_with("RUST")) && !kept.contains(&&*name) {
            cargo.env_remove(name);
        }
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "{TENDER} could not be built");
    let made = target.join(TARGET).join("release").join(TENDER);
    fs::copy(made, out.join("tender")).expect("the tender can be copied");
}

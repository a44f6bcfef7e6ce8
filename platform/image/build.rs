//! Hands the link arguments of an image to the build script of the crate that becomes one.
//!
//! Cargo lets a build script add link arguments to its own package only, and tells it the metadata
//! of its direct dependencies. The generated crate's build script therefore passes every part of
//! `DEP_MIRAGE_IMAGE_LINK_ARGS`, separated by `;`, on as `cargo::rustc-link-arg-bins`.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    let folder = env::var("CARGO_MANIFEST_DIR").expect("Cargo sets CARGO_MANIFEST_DIR");
    let script = Path::new(&folder).join("link.ld");
    let script = script
        .to_str()
        .expect("the path of the link script must be UTF-8");
    assert!(
        !script.contains(';'),
        "the path of the link script must not contain `;`: {script}"
    );
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--no-dynamic-linker",
        "-Wl,-z,noexecstack",
        "-Wl,-z,norelro",
        "-T",
        script,
    ];
    println!("cargo::metadata=link_args={}", arguments.join(";"));
}

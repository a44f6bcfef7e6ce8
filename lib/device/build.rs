//! Gives the package its `links` name a build script, as Cargo asks for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}

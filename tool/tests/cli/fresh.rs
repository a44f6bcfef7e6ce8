//! What is built already is not built again, and whatever changes is noticed.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::world::World;

/// Builds, and says whether Cargo had to be asked, and what the product prints.
fn build(world: &World, more: &[&str]) -> (bool, String) {
    let mut arguments = vec!["run", "app", "--on", "host"];
    arguments.extend(more);
    let said = world.mirage(&arguments).succeeded();
    let fresh = said.err.contains("Fresh app");
    assert_ne!(fresh, said.err.contains("Built app"), "{}", said.err);
    (!fresh, said.out)
}

/// Changes a file's time alone.
fn touch(world: &World, path: &str) {
    let file = fs::File::options()
        .append(true)
        .open(world.path(path))
        .unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

#[test]
fn only_a_change_calls_cargo() {
    let world = World::new();
    let good_day = "Good day, world\n".to_string();
    assert_eq!(build(&world, &[]), (true, good_day.clone()));
    assert_eq!(build(&world, &[]), (false, good_day.clone()));
    // Keys of the command line are no input of the build.
    assert_eq!(
        build(&world, &["--", "name=Ada"]),
        (false, "Good day, Ada\n".into())
    );

    // A source.
    touch(&world, "app/src/lib.rs");
    assert!(build(&world, &[]).0, "a source was touched");
    assert!(!build(&world, &[]).0);
    touch(&world, "metal/src/lib.rs");
    assert!(build(&world, &[]).0, "a source of a dependency was touched");
    world.write("app/src/other.rs", "");
    assert!(build(&world, &[]).0, "a source was added");
    assert!(!build(&world, &[]).0);

    // A sealed folder.
    world.write("app/greetings/sub/2.txt", "");
    fs::remove_dir_all(world.path("app/greetings/sub")).unwrap();
    assert!(build(&world, &[]).0, "the sealed folder was touched");
    world.write("app/greetings/2.txt", " dear");
    assert_eq!(build(&world, &[]), (true, "Good day, dear world\n".into()));
    assert!(!build(&world, &[]).0);
    fs::remove_file(world.path("app/greetings/2.txt")).unwrap();
    assert_eq!(build(&world, &[]), (true, good_day.clone()));

    // A file that is put back, older than what was made of the other one.
    world.write("app/greetings/1.txt", "Hello,");
    assert_eq!(build(&world, &[]), (true, "Hello, world\n".into()));
    world.write("app/greetings/1.txt", "Good day,");
    let file = fs::File::options()
        .append(true)
        .open(world.path("app/greetings/1.txt"))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400))
        .unwrap();
    assert_eq!(build(&world, &[]), (true, good_day.clone()));
    assert!(!build(&world, &[]).0);

    // The description.
    world.edit(
        "app/Cargo.toml",
        "default = \"world\"",
        "default = \"moon\"",
    );
    assert_eq!(build(&world, &[]), (true, "Good day, moon\n".into()));
    assert!(!build(&world, &[]).0);

    // The product.
    fs::remove_file(world.path("target/mirage/app-program.run")).unwrap();
    assert!(build(&world, &[]).0, "the product was deleted");
    fs::write(world.path("target/mirage/app-program.run"), "").unwrap();
    assert!(build(&world, &[]).0, "the product was overwritten");
    assert!(!build(&world, &[]).0);

    // The settings.
    world.write("other/1.txt", "Welcome,");
    assert_eq!(
        build(&world, &["--set", "greeting=other"]),
        (true, "Welcome, moon\n".into())
    );
    assert!(!build(&world, &["--set", "greeting=other"]).0);
    assert_eq!(build(&world, &[]), (true, "Good day, moon\n".into()));

    // Cargo's configuration, and the environment.
    world.write(
        "app/.cargo/config.toml",
        "[build]\nrustflags = [\"-Cdebug-assertions=off\"]\n",
    );
    assert!(build(&world, &[]).0, "a configuration file was added");
    assert!(!build(&world, &[]).0);
    let mut tool = world.tool("");
    let tool = tool
        .args(["build", "app", "--on", "host"])
        .env("RUSTFLAGS", "--cfg=other");
    let said = crate::world::Said::new(tool.output().unwrap()).succeeded();
    assert!(said.err.contains("Built app"), "{}", said.err);
}

#[test]
fn the_state_is_found_from_any_folder_and_never_taken_for_another_applications() {
    let world = World::new();
    assert!(build(&world, &[]).0);
    let mut tool = world.tool("app/src");
    let said = crate::world::Said::new(tool.args(["build", "--on", "host"]).output().unwrap());
    assert!(said.succeeded().err.contains("Fresh app"));
    // Another application of the same name that shares the target folder.
    let other = World::new();
    other.write("app/greetings/1.txt", "Other");
    let mut tool = other.tool("");
    let tool = tool
        .args(["run", "app", "--on", "host"])
        .env("CARGO_TARGET_DIR", world.path("target"));
    let said = crate::world::Said::new(tool.output().unwrap()).succeeded();
    assert!(said.err.contains("Built app"), "{}", said.err);
    assert_eq!(said.out, "Other world\n");
}

//! `mirage new`.

use std::fs;

use crate::world::{Said, World, tool};

fn new(world: &World, arguments: &[&str]) -> Said {
    let mut tool = world.tool("");
    tool.arg("new").args(arguments);
    Said::new(tool.output().unwrap())
}

#[test]
fn a_copy_stands_alone_outside_its_workspace() {
    let world = World::new();
    world.edit(
        "Cargo.toml",
        "resolver",
        "package = { edition = \"2024\" }\nresolver",
    );
    world.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"basic\", \"metal\"]\n\
         [workspace.package]\nedition = \"2024\"\n\
         [workspace.dependencies]\nmetal = { path = \"metal\" }\n\
         basic = { path = \"basic\", default-features = false }\n",
    );
    world.edit(
        "app/Cargo.toml",
        "edition = \"2024\"",
        "edition.workspace = true",
    );
    world.edit(
        "app/Cargo.toml",
        "metal = { path = \"../metal\" }",
        "metal.workspace = true",
    );
    world.edit(
        "app/src/lib.rs",
        "pub struct Keys",
        "/// See [`app::main`](crate::main).\npub struct Keys",
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("my-app");
    let said = new(&world, &[folder.to_str().unwrap(), "--from", "./app"]).succeeded();
    assert!(said.err.contains("Created my-app"), "{}", said.err);
    assert!(said.err.contains("mirage run"), "{}", said.err);

    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let root = world.path("").canonicalize().unwrap();
    let root = root.display();
    assert!(manifest.contains("name = \"my-app\""), "{manifest}");
    assert!(manifest.contains("edition = \"2024\""), "{manifest}");
    assert!(
        manifest.contains(&format!("metal = {{ path = \"{root}/metal\" }}")),
        "{manifest}"
    );
    assert!(
        manifest.contains(&format!("path = \"{root}/basic\"")),
        "{manifest}"
    );
    assert!(
        manifest.contains("main = \"my_app::main(console, greeting, keys)\""),
        "{manifest}"
    );
    assert!(!manifest.contains("workspace"), "{manifest}");
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    assert!(source.contains("`my_app::main`"), "{source}");

    let mut tool = tool(&folder);
    let said = Said::new(tool.args(["run", "--on", "host"]).output().unwrap()).succeeded();
    assert_eq!(said.out, "Good day, world\n");
}

#[test]
fn a_copy_inside_a_workspace_is_one_of_its_own_unless_it_is_a_member() {
    let world = World::new();
    new(&world, &["inner", "--from", "./app"]).succeeded();
    let manifest = |name: &str| fs::read_to_string(world.path(name).join("Cargo.toml")).unwrap();
    assert!(
        manifest("inner").ends_with("\n[workspace]\n"),
        "{}",
        manifest("inner")
    );
    world.edit("Cargo.toml", "\"app\",", "\"app\", \"more/*\",");
    fs::create_dir(world.path("more")).unwrap();
    new(&world, &["more/member", "--from", "./app"]).succeeded();
    assert!(!manifest("more/member").contains("[workspace]"));
}

#[test]
fn the_projects_own_example_is_copied_with_whole_paths() {
    let folder = tempfile::tempdir().unwrap();
    let output = tool(folder.path()).args(["new", "hi"]).output().unwrap();
    Said::new(output).succeeded();
    let manifest = fs::read_to_string(folder.path().join("hi/Cargo.toml")).unwrap();
    assert!(manifest.contains("main = \"hi::main("), "{manifest}");
    assert!(!manifest.contains("workspace"), "{manifest}");
    assert!(manifest.contains("path = \"/"), "{manifest}");
    let said = tool(&folder.path().join("hi"))
        .arg("describe")
        .output()
        .unwrap();
    assert!(Said::new(said).succeeded().out.contains("hi::main("));
}

#[test]
fn a_name_or_template_that_will_not_do_is_told() {
    let world = World::new();
    new(&world, &["app", "--from", "./app"]).failed(1, &["app exists already", "another name"]);
    for name in ["9lives", "a.b", "späm", "fn", "test", ".."] {
        new(&world, &[name]).failed(1, &["cannot be the name of an application"]);
        assert!(name == ".." || !world.path(name).exists());
    }
    new(&world, &["x", "--from", "nothing"]).failed(1, &["no application `nothing`", "`hello`"]);
    let mut tool = world.tool("");
    tool.args(["new", "x"]).env("MIRAGE_HOME", "/none");
    Said::new(tool.output().unwrap()).failed(1, &["no application `hello`", "MIRAGE_HOME"]);
    assert!(!world.path("x").exists());
}

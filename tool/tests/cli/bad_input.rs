//! Everything that can be wrong is told: what happened, to what, and what to do next.

use crate::world::{Said, World, tool};

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let world = World::new();
    for (arguments, said) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&[], "Usage: mirage"),
        (&["run", "--on", "moon"], "[possible values: process, host]"),
        (
            &["run", "--memory", "32MB"],
            "`32MB` is not a size, for example 32M",
        ),
        (&["run", "--memory", "64K"], "at least 1M"),
        (
            &["run", "--publish", "80"],
            "`80` is not [ADDRESS:]HOSTPORT:GUESTPORT",
        ),
        (
            &["run", "--tap", "a/b"],
            "`a/b` is not of the form [DEVICE=]TAP",
        ),
        (
            &["run", "--block", "disk"],
            "`disk` is not of the form DEVICE=FILE[,ro]",
        ),
        (
            &["describe", "--format", "png"],
            "[possible values: text, json, dot, svg]",
        ),
    ] {
        world.mirage(arguments).failed(2, &[said]);
    }
}

#[test]
fn a_folder_without_an_application_is_told() {
    let world = World::new();
    world
        .mirage(&["build", "nowhere"])
        .failed(1, &["there is no Cargo.toml in nowhere", "mirage new"]);
    world
        .mirage(&["build", "."])
        .failed(1, &["is a workspace, not an application", "`app`"]);
    world
        .mirage(&["build", "metal"])
        .failed(1, &["package `metal` does not say what its main"]);
    world.write("empty/x", "");
    world
        .mirage(&["build", "empty"])
        .failed(1, &["there is no Cargo.toml in empty"]);
    world.write("app/Cargo.toml", "[package\n");
    world
        .mirage(&["build", "app"])
        .failed(1, &["cargo could not read the packages of app"]);
}

#[test]
fn a_description_that_is_not_understood_is_shown_with_its_place() {
    let world = World::new();
    world.edit("basic/Cargo.toml", "required = true", "requird = true");
    world.mirage(&["check", "app", "--on", "host"]).failed(
        1,
        &[
            "package `basic`: `provides.greeting.keys.from.requird`: unknown field `requird`",
            "at: basic/Cargo.toml:28:49",
        ],
    );
    let world = World::new();
    world.edit("app/Cargo.toml", "console, greeting", "consle, greeting");
    world.mirage(&["describe", "app", "--on", "host"]).failed(
        1,
        &[
            "`app` takes `consle`",
            "at: app/Cargo.toml:11:8",
            "did you mean `console`?",
        ],
    );
    let world = World::new();
    world.edit("app/Cargo.toml", "\"u16\"", "\"u8\"");
    world.mirage(&["describe", "app", "--on", "host"]).failed(
        1,
        &[
            "`keys.status.type`",
            "`u8` is not a type of key; the types are bool,",
        ],
    );
}

#[test]
fn a_wrong_build_time_key_is_told_before_anything_is_built() {
    let world = World::new();
    let build = |set: &str| world.mirage(&["build", "app", "--on", "host", "--set", set]);
    build("greetin=x").failed(
        2,
        &["--set: unknown key `greetin`", "did you mean `greeting`?"],
    );
    build("greeting").failed(2, &["`greeting` is not of the form KEY=VALUE"]);
    build("greeting=none").failed(
        1,
        &[
            "`greeting.from`: there is no file or folder",
            "current folder",
        ],
    );
    build("greeting=").failed(2, &["`greeting.from`: `` is not a path"]);
    build("name=x").failed(2, &["`name` is read when the unikernel boots", "-- name=x"]);
    world
        .mirage(&[
            "build",
            "app",
            "--on",
            "host",
            "--set",
            "greeting=app",
            "--set",
            "greeting.from=app",
        ])
        .failed(2, &["`greeting.from` is given twice"]);
    world.edit("app/Cargo.toml", "greeting = { from = \"greetings\" }", "");
    world.mirage(&["build", "app", "--on", "host"]).failed(
        2,
        &[
            "the key `greeting.from` needs a value",
            "--set greeting.from=",
        ],
    );
    assert!(!world.path("target/mirage").exists(), "nothing was built");
}

#[test]
fn a_platform_that_nobody_offers_is_told() {
    let world = World::new();
    world.mirage(&["build", "app"]).failed(
        1,
        &[
            "no package of the application makes something that runs on `process`",
            "`host`",
        ],
    );
}

#[test]
fn an_error_of_the_compiler_or_of_a_build_step_is_shown() {
    let world = World::new();
    world.edit("app/src/lib.rs", "Ok(())", "Ok(wrong)");
    for verb in ["check", "build"] {
        world.mirage(&[verb, "app", "--on", "host"]).failed(
            1,
            &[
                "cannot find value `wrong`",
                "app/src/lib.rs",
                "app could not be built",
            ],
        );
    }
    world.edit("app/src/lib.rs", "Ok(wrong)", "Ok(())");
    std::fs::remove_file(world.path("app/greetings/1.txt")).unwrap();
    world
        .mirage(&["build", "app", "--on", "host"])
        .failed(1, &["greeting: the folder is empty"]);
}

#[test]
fn colours_are_used_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let said = |color: &str| {
        let mut tool = tool(folder.path());
        Said::new(tool.args(["new", "hi", "--color", color]).output().unwrap())
    };
    assert!(said("always").err.contains("\u{1b}["));
    std::fs::remove_dir_all(folder.path().join("hi")).unwrap();
    assert!(!said("never").err.contains('\u{1b}'));
}

#[test]
fn every_command_has_help_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["new", "check", "build", "run", "describe"] {
        let output = tool(folder.path())
            .args([command, "--help"])
            .output()
            .unwrap();
        let said = Said::new(output).succeeded();
        assert!(said.out.contains("Examples:\n  mirage "), "{}", said.out);
    }
}

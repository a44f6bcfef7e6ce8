//! The command line: new projects, exit statuses, and errors that say what to do.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use super::system::{PATIENCE, start};
use super::{Context, Test};
use crate::process::Process;

pub const TESTS: &[Test] = &[
    Test {
        name: "hello greets whom its key names and ends with status 0",
        needs: &[],
        run: hello,
    },
    Test {
        name: "mirage new makes a unikernel outside the workspace, and mirage run runs it",
        needs: &[],
        run: new,
    },
    Test {
        name: "mirage describe speaks text, JSON, Graphviz and SVG",
        needs: &[],
        run: describe,
    },
    Test {
        name: "a wrong command line is status 2 and an error that names what is wrong",
        needs: &[],
        run: wrong_words,
    },
    Test {
        name: "what cannot be started is an error that names what is missing",
        needs: &[],
        run: wrong_world,
    },
    Test {
        name: "the source of the tool holds no library's name",
        needs: &[],
        run: no_names,
    },
];

fn output(mut command: Command) -> Result<(Output, String)> {
    let output = command.output()?;
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    Ok((output, String::from_utf8_lossy(&text).into_owned()))
}

fn hello(context: &Context) -> Result<()> {
    for (key, greeting) in [(None, "Hello, world!"), (Some("name=Ada"), "Hello, Ada!")] {
        let mut command = context.product.mirage(&["run", "examples/hello"]);
        command.args(key.map(|key| ["--", key]).into_iter().flatten());
        let (output, text) = output(command)?;
        ensure!(
            output.status.code() == Some(0),
            "it ended with {}:\n{text}",
            output.status
        );
        ensure!(text.contains(greeting), "it said:\n{text}");
    }
    Ok(())
}

fn new(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    let mirage = |words: &[&str], inside: &std::path::Path| {
        let mut command = context.product.mirage(words);
        command.current_dir(inside);
        command
    };
    let (made, text) = output(mirage(&["new", "hi"], folder.path()))?;
    ensure!(
        made.status.success(),
        "`mirage new hi` ended with {}:\n{text}",
        made.status
    );
    let project = folder.path().join("hi");
    let mut running: Process = start(mirage(&["run"], &project))?;
    let status = running.exit(PATIENCE * 15)?;
    ensure!(
        status.success(),
        "`mirage run` ended with {status}:\n{}",
        running.output()
    );
    ensure!(
        running.output().contains("hi"),
        "it said:\n{}",
        running.output()
    );
    let (tested, text) = output({
        let mut command = Command::new("cargo");
        command.args(["test", "--offline"]).current_dir(&project);
        command
    })?;
    ensure!(tested.status.success(), "its own tests fail:\n{text}");
    let (again, text) = output(mirage(&["new", "hi"], folder.path()))?;
    ensure!(
        !again.status.success() && text.contains("hi"),
        "it was made twice:\n{text}"
    );
    Ok(())
}

fn describe(context: &Context) -> Result<()> {
    let describe = |format: &[&str]| -> Result<String> {
        let words = [&["describe", "examples/website"], format].concat();
        let (output, text) = output(context.product.mirage(&words))?;
        ensure!(
            output.status.success(),
            "{words:?} ended with {}:\n{text}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    let text = describe(&[])?;
    for word in ["stack", "assets", "port"] {
        ensure!(
            text.contains(word),
            "the text does not tell of {word}:\n{text}"
        );
    }
    let json = describe(&["--format", "json"])?;
    serde_json::from_str::<serde_json::Value>(&json).context("not JSON")?;
    let dot = describe(&["--format", "dot"])?;
    ensure!(
        dot.trim_start().starts_with("digraph"),
        "not Graphviz:\n{dot}"
    );
    let svg = describe(&["--format", "svg"])?;
    ensure!(
        svg.contains("<svg") && svg.trim_end().ends_with("</svg>"),
        "not SVG:\n{svg}"
    );
    Ok(())
}

/// Runs a command that must fail with this status and these words.
fn fails(command: Command, status: i32, words: &[&str]) -> Result<()> {
    let shown = format!("{command:?}");
    let mut process = start(command)?;
    let ended = process.exit(PATIENCE * 15)?;
    let text = process.output();
    ensure!(
        ended.code() == Some(status),
        "{shown} ended with {ended}, not {status}:\n{text}"
    );
    for word in words {
        ensure!(
            text.contains(word),
            "{shown} does not say {word:?}:\n{text}"
        );
    }
    Ok(())
}

fn wrong_words(context: &Context) -> Result<()> {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["run", "examples/hello", "--publsh", "1:1"],
            &["--publsh", "--publish"],
        ),
        (&["runn"], &["runn", "run"]),
        (
            &["run", "examples/hello", "--memory", "lots"],
            &["--memory", "lots"],
        ),
        (
            &["run", "examples/website", "--publish", "80"],
            &["--publish", "80"],
        ),
        (
            &["run", "examples/hello", "--", "nmae=Ada"],
            &["nmae", "name"],
        ),
        (
            &["run", "examples/website", "--", "port=http"],
            &["port", "http", "65535"],
        ),
        (
            &["run", "examples/website", "--set", "asets=docs"],
            &["asets", "assets"],
        ),
    ];
    for (words, said) in cases {
        fails(context.product.mirage(words), 2, said)?;
    }
    Ok(())
}

fn wrong_world(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty)?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "/nowhere"], &["/nowhere"]),
        (
            &[
                "run",
                "examples/website",
                "--publish",
                &format!("127.0.0.1:{port}:80"),
            ],
            &[&port.to_string()],
        ),
        (
            &["run", "examples/website", "--set", "assets=/nowhere"],
            &["/nowhere"],
        ),
        (
            &[
                "run",
                "examples/website",
                "--set",
                &format!("assets={}", empty.display()),
            ],
            &["empty"],
        ),
        (
            &["run", "examples/website", "--tap", "no-such-tap"],
            &["no-such-tap"],
        ),
        (
            &["run", "examples/hello", "--block", "disk=/nowhere"],
            &["block device"],
        ),
    ];
    for (words, said) in cases {
        let command = context.product.mirage(words);
        let shown = format!("{command:?}");
        let mut process = start(command)?;
        let ended = process.exit(PATIENCE * 15)?;
        let text = process.output();
        ensure!(!ended.success(), "{shown} ended with {ended}:\n{text}");
        for word in *said {
            ensure!(
                text.contains(word),
                "{shown} does not say {word:?}:\n{text}"
            );
        }
    }
    Ok(())
}

/// A library's release must never need a release of the tool.
fn no_names(context: &Context) -> Result<()> {
    let mut libraries = vec!["smoltcp".to_owned()];
    let own = std::fs::read_to_string(context.product.root.join("tool/Cargo.toml"))?;
    for entry in std::fs::read_dir(context.product.root.join("lib"))? {
        let folder = entry?;
        let name = format!("mirage-{}", folder.file_name().display());
        let description = std::fs::read_to_string(folder.path().join("Cargo.toml"))?;
        let provider = description.contains("[package.metadata.mirage.provides.");
        // The tool may name what it is made of, and the kit, which it writes into new projects.
        let linked = own.lines().any(|line| line.starts_with(&name)) || name == "mirage-kit";
        if provider || !linked {
            libraries.push(name.replace('-', "_"));
            libraries.push(name);
        }
    }
    let mut folders = vec![context.product.root.join("tool/src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let name = libraries.iter().find(|name| text.contains(name.as_str()));
            ensure!(name.is_none(), "{} holds the name {name:?}", path.display());
            read += 1;
        }
    }
    ensure!(read > 0, "no source was read");
    Ok(())
}

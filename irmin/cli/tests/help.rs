//! Every example in every `--help` runs.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use common::{Place, ended, served::Served};

/// The repositories that the examples speak of. The current folder is one with the branches main, topic
/// and release and the tag v1.0, and a remote that it is ahead of; `~/host` is the home of `host`.
const STAGE: &str = "
set -e
# No files that nobody reads: each example gets a copy.
export GIT_TEMPLATE_DIR=
git init -q -b main
commit() {
    echo commit refs/heads/$1
    echo 'committer Ada <ada@example.org> 1429524000 +0000'
    echo data 1; echo m
    if [ $2 ]; then echo from $2; fi
    echo M 100644 inline $3
    echo data 2; echo $4; echo
}
{
    commit main '' greeting/en 0; commit main '' greeting/fr 0; commit main '' drafts/one 0
    for at in a b c d e f g h i j k l m n o p q r s t u v w x y; do commit main '' farewell $at; done
} | git -c fastimport.unpackLimit=1 fast-import --quiet
git branch topic main~2
git branch release main~3
git tag v1.0 main~4
{
    commit topic refs/heads/topic^0 greeting/fr 1; commit topic '' greeting/fr 2
} | git -c fastimport.unpackLimit=1 fast-import --quiet
mkdir -p .ours host .local/share/bash-completion/completions .zfunc .config/fish/completions srv
git clone -q --mirror . .ours/notes.git
git -C .ours/notes.git branch -qf topic topic~1
git -C .ours/notes.git branch -q fresh main~2
cp -R .ours/notes.git host/notes
git --git-dir host/notes symbolic-ref HEAD refs/heads/release
git --git-dir host/notes branch -qf main main~1
ln -s notes host/notes.git
git remote add origin .ours/notes.git
git fetch -q
git branch -q --set-upstream-to origin/main main
git --git-dir .ours/notes.git branch -qD release
git --git-dir .ours/notes.git update-ref refs/heads/main main~1
printf 'a logo' > logo.png
";

/// What an example needs besides, by how it begins.
const BEFORE: &[(&str, &str)] = &[
    ("irmin init", "rm -rf .git"),
    ("irmin branches --create topic", "git branch -qD topic"),
    (
        "irmin branches --delete topic",
        "git branch -qf topic main~1",
    ),
    (
        "irmin fsck --repair",
        "rm -rf .git && irmin init --format native && irmin set a x",
    ),
    (
        "irmin convert notes.git ",
        "git clone -q --mirror . notes.git",
    ),
    (
        "irmin convert notes ",
        "git clone -q --mirror . .git/n && irmin convert .git/n notes --bare",
    ),
    ("git clone notes.bundle", "irmin export notes.bundle"),
    (
        "irmin import notes.bundle",
        "irmin export notes.bundle && git branch -qD topic",
    ),
    ("irmin upload-pack notes", "git clone -q --bare . notes"),
    ("irmin receive-pack notes", "git clone -q --bare . notes"),
    (
        "irmin serve --listen 127.0.0.1:0 --tokens",
        "irmin token tokens --read main && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem 2>&1",
    ),
];

/// The names of all commands.
fn commands(place: &Place) -> Vec<String> {
    let help = place.irmin(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    // Deeper lines go on with what a command does.
    let names = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names
        .filter(|name| !name.is_empty() && *name != "help")
        .map(String::from)
        .collect()
}

/// The examples in a help, without what is said of them.
fn examples(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("\nExamples:\n").unwrap_or_default();
    let list = list.split("\n\n").next().unwrap();
    let example = |line: &str| {
        // A line that was broken because it is too wide.
        let line = line.strip_prefix("  ").unwrap_or_else(|| panic!("{line}"));
        line.split("  ").next().unwrap().to_string()
    };
    list.lines().map(example).collect()
}

/// What every example gets a copy of, and the programs that it finds.
struct Stage {
    template: Place,
    programs: Place,
    served: Served,
}

impl Stage {
    fn new() -> Stage {
        let [template, programs] = [(); 2].map(|()| Place(tempfile::tempdir().unwrap()));
        script(programs.path(), "dot", "grep digraph");
        // It goes nowhere: `host` is a folder.
        script(
            programs.path(),
            "ssh",
            "while [ $# -gt 1 ]; do shift; done; cd host && HOME=$PWD exec sh -c \"$1\"",
        );
        let mut stage = template.command("sh");
        assert!(stage.args(["-c", STAGE]).status().unwrap().success());
        let repo = ["--repo", ".ours/notes.git", "--name", "notes"];
        let served = Served::new(&template, &repo);
        Stage {
            template,
            programs,
            served,
        }
    }

    /// A copy of it, and a shell there.
    fn shell(&self) -> (Place, impl Fn(&str) -> Command) {
        let place = Place(tempfile::tempdir().unwrap());
        let mut copy = place.command("cp");
        copy.arg("-R").arg(self.template.path().join(".")).arg(".");
        assert!(copy.status().unwrap().success());
        let irmin = Path::new(env!("CARGO_BIN_EXE_irmin")).parent().unwrap();
        let programs = self.programs.path();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", programs.display(), irmin.display());
        let ssh = programs.join("ssh");
        let home = place.path().to_path_buf();
        let shell = move |line: &str| {
            let mut shell = Place::command_in(&home, "sh");
            shell.args(["-c", line]);
            shell.env("PATH", &path).env("GIT_SSH_COMMAND", &ssh);
            shell
        };
        (place, shell)
    }

    /// Runs an example, which must do what it says.
    fn run(&self, example: &str) -> Result<(), String> {
        // Addresses of others, and what is taken perhaps.
        let line = example
            .replace("https://example.org/", ".ours/")
            .replace("http://127.0.0.1:8080/notes.git", &self.served.git())
            .replace("0.0.0.0:8443", "127.0.0.1:0")
            .replace("/srv/", "srv/");
        let line = match line == "irmin serve" {
            true => "irmin serve --listen 127.0.0.1:0",
            false => &line[..],
        };
        let (_place, shell) = self.shell();
        for (_, before) in BEFORE.iter().filter(|(of, _)| line.starts_with(of)) {
            let (code, out, error) = ended(shell(before));
            assert_eq!(code, 0, "before `{line}`: {out}{error}");
        }
        if line.starts_with("irmin watch") || line.starts_with("irmin serve") {
            return goes_on(line, &shell);
        }
        let line = match line.contains("-pack notes") {
            // The other side has nothing to say.
            true => &format!("echo 0000 | {line}"),
            false => line,
        };
        let (code, out, error) = ended(shell(line));
        match code {
            0 => Ok(()),
            _ => Err(format!("`{line}` ended with {code}: {out}{error}")),
        }
    }
}

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// What does not end by itself says that it began; a watch tells of a change, and a server ends when it is told to.
fn goes_on(example: &str, shell: &dyn Fn(&str) -> Command) -> Result<(), String> {
    let mut command = shell(&format!("exec {example}"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || out.next().map(Result::unwrap);
    let mut said = next().is_some();
    if example.starts_with("irmin watch") {
        let (code, ..) = ended(shell("irmin set greeting/en changed"));
        said &= code == 0 && next().is_some();
    }
    if !example.contains("--count") {
        let signal = format!("kill -s TERM {}", child.id());
        assert!(shell(&signal).status().unwrap().success());
    }
    match child.wait().unwrap().code() {
        _ if !said => Err(format!("`{example}` said nothing")),
        Some(0) => Ok(()),
        // A signal ends a watch as it ends any program.
        None if example.starts_with("irmin watch") => Ok(()),
        code => Err(format!("`{example}` ended with {code:?}")),
    }
}

#[test]
fn every_example_in_every_help_does_what_it_says() {
    let stage = Stage::new();
    let place = &stage.template;
    let mut all = BTreeSet::new();
    all.extend(examples(&place.irmin(&["--help"])));
    for command in commands(place) {
        let found = examples(&place.irmin(&[&command, "--help"]));
        let is_of_it = |line: &String| line.contains(&format!("irmin {command}"));
        assert!(found.iter().any(is_of_it), "{command} has no example");
        all.extend(found);
    }
    let all: Vec<_> = all.into_iter().collect();
    let run = |part: &[String]| {
        let failed = part.iter().filter_map(|example| stage.run(example).err());
        failed.collect::<Vec<_>>()
    };
    let (one, other) = all.split_at(all.len() / 2);
    let failed = thread::scope(|scope| {
        let other = scope.spawn(|| run(other));
        [run(one), other.join().unwrap()].concat()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

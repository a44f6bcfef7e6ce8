//! Every example in every `--help` runs, and every field of JSON is told there.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use common::{Place, ended, feed, served::Served};
use serde_json::Value;

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
        "irmin serve --listen 0.0.0.0:8443",
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

    /// Runs an example after what it needs, which must end with this code; what it prints.
    fn run(&self, example: &str, before: &str, code: i32) -> Result<String, String> {
        // Addresses of others, and what is taken perhaps.
        let line = example
            .replace("https://example.org/", ".ours/")
            .replace("http://127.0.0.1:8080/notes.git", &self.served.git())
            .replace("0.0.0.0:8443", "127.0.0.1:0")
            .replace("/srv/", "srv/");
        let line = match line.starts_with("irmin serve") && !line.contains("--listen") {
            true => &format!("{line} --listen 127.0.0.1:0"),
            false => &line[..],
        };
        let (_place, shell) = self.shell();
        if !before.is_empty() {
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
        let (found, out, error) = ended(shell(line));
        match found == code {
            true => Ok(out),
            false => Err(format!("`{line}` ended with {found}: {out}{error}")),
        }
    }
}

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// What does not end by itself says that it began; a watch tells of a change, and a server ends when
/// it is told to. What it printed.
fn goes_on(example: &str, shell: &dyn Fn(&str) -> Command) -> Result<String, String> {
    let mut command = shell(&format!("exec {example}"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    let mut next = || out.read_line(&mut said).unwrap() > 0;
    let mut is_well = next();
    if example.starts_with("irmin watch") {
        let (code, ..) = ended(shell("irmin set greeting/en changed"));
        is_well &= code == 0 && next();
    }
    if !example.contains("--count") {
        let signal = format!("kill -s TERM {}", child.id());
        assert!(shell(&signal).status().unwrap().success());
    }
    match child.wait().unwrap().code() {
        _ if !is_well => Err(format!("`{example}` said only {said}")),
        Some(0) => Ok(said),
        // A signal ends a watch as it ends any program.
        None if example.starts_with("irmin watch") => Ok(said),
        code => Err(format!("`{example}` ended with {code:?}")),
    }
}

/// Runs this on every one of them, on two threads.
fn each<T: Sync, R: Send>(all: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (one, other) = all.split_at(all.len() / 2);
    let part = |part: &[T]| part.iter().map(&run).collect::<Vec<_>>();
    thread::scope(|scope| {
        let other = scope.spawn(|| part(other));
        let mut done = part(one);
        done.extend(other.join().unwrap());
        done
    })
}

/// What an example needs besides.
fn before(example: &str) -> &str {
    let found = BEFORE.iter().find(|(of, _)| example.starts_with(of));
    found.map_or("", |(_, before)| before)
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
    let failed = each(&all, |line| stage.run(line, before(line), 0).err());
    let failed: Vec<_> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Answers that no example gives: what is done before, the command line, its exit code.
const MORE: &[(&str, &str, i32)] = &[
    ("", "irmin tree -l greeting", 0),
    ("irmin set greeting/fr mine", "irmin merge topic", 1),
    (
        "irmin set greeting/fr mine",
        "irmin merge --dry-run main topic",
        1,
    ),
    ("irmin set greeting/fr mine", "irmin pull origin topic", 1),
    (
        "git update-ref refs/heads/x main; rm -r .git/objects/pack",
        "irmin fsck",
        1,
    ),
    (
        "rm -rf .git && irmin init --format native && irmin set a x",
        "irmin gc",
        0,
    ),
    ("git branch -f topic main", "irmin push origin topic", 1),
];

/// The names of the fields that a help tells of, and all its words on them.
fn told_fields(help: &str) -> (BTreeSet<String>, String) {
    let (_, block) = help.split_once("\nJSON:\n").unwrap_or_default();
    let block = block.split("\n\n").next().unwrap();
    let names = block.lines().flat_map(|line| {
        let line = line.strip_prefix("  ").unwrap_or_else(|| panic!("{line}"));
        line.split("  ").next().unwrap().split(", ")
    });
    (names.map(String::from).collect(), block.into())
}

/// Collects the names of the fields of a value and of what is in it.
fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            fields(value, into);
        }),
        Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

#[test]
fn every_help_tells_the_fields_of_json_and_no_others() {
    let stage = Stage::new();
    let place = &stage.template;
    let without = ["completion", "upload-pack", "receive-pack"];
    let mut commands = commands(place);
    commands.retain(|command| !without.contains(&&command[..]));
    each(&commands, |command| {
        let start = format!("irmin {command}");
        let help = place.irmin(&[command, "--help"]);
        let (told, words) = told_fields(&help);
        let examples = examples(&help);
        let examples = examples.iter().map(|line| (before(line), &line[..], 0));
        let more = MORE.iter().copied();
        let mut found = BTreeSet::new();
        for (before, line, code) in examples.chain(more) {
            // What goes into a file or another program is not seen.
            if !line.starts_with(&format!("{start} ")) && line != start || line.contains(" | ") {
                continue;
            }
            let line = line.split(" > ").next().unwrap().replace(" --json", "");
            let line = line.replacen(&start, &format!("{start} --json"), 1);
            for line in stage.run(&line, before, code).unwrap().lines() {
                let value = serde_json::from_str(line).unwrap();
                assert!(matches!(value, Value::Object(_)), "{command}: {line}");
                fields(&value, &mut found);
            }
        }
        let missing: Vec<_> = told.difference(&found).collect();
        assert!(
            missing.is_empty(),
            "{command} has no {missing:?}: {found:?}"
        );
        let words: BTreeSet<_> = words.split(|c: char| !c.is_alphanumeric()).collect();
        let untold = found.iter().filter(|name| !words.contains(&name[..]));
        let untold: Vec<_> = untold.collect();
        assert!(untold.is_empty(), "{command} says nothing of {untold:?}");
    });
}

#[test]
fn bytes_that_are_no_text_stand_in_digits_under_another_name() {
    let place = Place::of_git("sha1");
    let odd = |args: &[&[u8]]| {
        let mut command = place.irmin_command(&["--json"]);
        command.args(args.iter().map(|arg| OsStr::from_bytes(arg)));
        let (code, out, error) = ended(command);
        assert_eq!((code, &error[..]), (0, ""));
        serde_json::from_str::<Value>(&out).unwrap()
    };
    odd(&[b"set", b"d/\xe9", b"\xff"]);
    assert_eq!(odd(&[b"ls", b"d"])["name_hex"], "e9");
    let got = odd(&[b"get", b"d/\xe9"]);
    assert_eq!(
        (&got["path_hex"], &got["text_hex"]),
        (&"642fe9".into(), &"ff".into())
    );
    let tree = place.git(&["rev-parse", "main^{tree}"]);
    let commit = b"\nauthor A <a@b> 1 +0000\ncommitter \xe9 <a@b> 1 +0000\n\n\xe9";
    let commit = [b"tree ", tree.as_bytes(), commit].concat();
    let write = place.git_command(&["hash-object", "-t", "commit", "-w", "--stdin"]);
    let (_, id, _) = feed(write, &commit);
    let found = odd(&[b"log", id.trim().as_bytes()]);
    assert_eq!(found["message_hex"], "e9");
    assert_eq!(
        (&found["committer"]["name_hex"], &found["author"]["name"]),
        (&"e9".into(), &"A".into())
    );
}

//! Exit codes: every command, in every way that it can end, against the table in `irmin --help`.

mod common;

use std::fs::{self, File};
use std::process::Stdio;

use common::{Place, feed};

/// Exit codes and command lines, in a folder with the repositories that [`stage`] makes. Those of one
/// repository come after what they need.
const TABLE: &[(i32, &str)] = &[
    // 2: wrong whatever the repository holds.
    (2, "completion"),
    (2, "completion tcsh"),
    (2, ""),
    (2, "frobnicate"),
    (2, "get"),
    (2, "get a b"),
    (2, "get a --nope"),
    (2, "get ''"),
    (2, "get a//b"),
    (2, "ls a//b"),
    (2, "tree a//b"),
    (2, "log -n many"),
    (2, "log -- a//b"),
    (2, "log main~x"),
    (2, "set '' x"),
    (2, "set a//b x"),
    (2, "set /a x"),
    (2, "set a x --author Ada"),
    (2, "set a x --author <a@b>"),
    (2, "set a x --author ''"),
    (2, "set a x --branch a..b"),
    (2, "set a x --branch refs/tags/z"),
    (2, "set a x --branch refs/z"),
    (2, "set a x --branch @"),
    (2, "set a x --branch HEAD"),
    (2, "set a x --branch -b"),
    (2, "set a x --branch ''"),
    (2, "rm"),
    (2, "rm ''"),
    (2, "rm a --branch @"),
    (2, "branches --create @"),
    (2, "branches --create HEAD"),
    (2, "branches --create refs/tags/z"),
    (2, "branches --create x --delete y"),
    (2, "branches --delete a..b"),
    (2, "lcas main"),
    (2, "lcas main^x main"),
    (2, "merge"),
    (2, "merge --dry-run main"),
    (2, "merge main topic"),
    (2, "merge topic --branch @"),
    (2, "merge topic~x"),
    (2, "diff"),
    (2, "watch --count few"),
    (2, "watch --after 7"),
    (2, "watch @"),
    (2, "watch main a//b"),
    (2, "dot -n few"),
    (2, "svg main~x"),
    (2, "gc now"),
    (2, "fsck now"),
    (2, "convert"),
    (2, "convert . new --format tar"),
    (2, "export"),
    (2, "import"),
    (2, "init x --format native --object-format sha1"),
    (2, "clone"),
    (2, "clone /"),
    (2, "clone . x --depth few"),
    (2, "clone gopher://localhost/x x"),
    (2, "fetch . a:b:c"),
    (2, "fetch . --depth few"),
    (2, "pull . main --branch @"),
    (2, "fetch . main~1:x"),
    (2, "push . a:b..c"),
    (2, "serve --listen nowhere"),
    (2, "serve --listen 0.0.0.0:0"),
    (2, "token tokens"),
    (2, "token tokens --write a*b"),
    (2, "upload-pack"),
    (2, "receive-pack"),
    // 1: the answer is no.
    (1, "get nope"),
    (1, "get d"),
    (1, "get a/b"),
    (1, "get ../a"),
    (1, "get a --repo empty"),
    (1, "ls nope"),
    (1, "ls a"),
    (1, "ls --repo empty"),
    (1, "tree nope"),
    (1, "tree --repo empty"),
    (1, "log --repo empty"),
    (1, "set a/b x"),
    (1, "set d x"),
    (1, "rm nope"),
    (1, "rm d"),
    (1, "rm a --repo empty"),
    (1, "branches --delete nobody"),
    (1, "branches --delete main"),
    (1, "branches --delete topic"),
    (1, "branches --create topic"),
    (1, "branches --create topic/x"),
    (1, "branches --create x --repo empty"),
    (1, "lcas main alone"),
    (1, "merge topic"),
    (1, "merge --dry-run main topic"),
    (1, "export x.bundle --repo empty"),
    (1, "export x.bundle ^main ^topic ^alone"),
    (1, "export x.bundle main ^main"),
    (1, "import theirs.bundle"),
    (1, "fetch other nobody"),
    (1, "pull other nobody"),
    (1, "pull other main"),
    (1, "push other main"),
    (1, "fsck --repo lacks"),
    // 3: it could not be found out or done.
    (3, "get a --repo nowhere"),
    (3, "get a --repo plain"),
    (3, "get a --at nope"),
    (3, "ls --at nope"),
    (3, "tree --at main~9"),
    (3, "log nope"),
    (3, "log main^2"),
    (3, "log main:a"),
    (3, "set a x --repo plain"),
    (3, "rm a --repo plain"),
    (3, "branches --repo plain"),
    (3, "branches --create x --at nope"),
    (3, "lcas nope main"),
    (3, "lcas main HEAD --repo empty"),
    (3, "merge nope"),
    (3, "merge alone"),
    (3, "merge --dry-run main nope"),
    (3, "merge --dry-run main alone"),
    (3, "merge main --branch new"),
    (3, "diff nope"),
    (
        3,
        "watch --after 1:0123456789012345678901234567890123456789 --count 1",
    ),
    (3, "dot nope"),
    (3, "svg nope"),
    (3, "gc --repo plain"),
    (3, "fsck --repo plain"),
    (3, "fsck --repair"),
    (3, "convert plain new"),
    (3, "convert other plain"),
    (3, "convert other new --format git-sha256"),
    (3, "export x.bundle nope"),
    (3, "export x.bundle main ^nope"),
    (3, "export nowhere/x.bundle"),
    (3, "import nope.bundle"),
    (3, "import a"),
    (3, "init"),
    (3, "init other"),
    (3, "init other --bare"),
    (3, "init other --format native"),
    (3, "init native --bare --format native"),
    (3, "clone nowhere x"),
    (3, "clone other plain"),
    (3, "clone http://127.0.0.1:1/x x"),
    (3, "fetch nobody"),
    (3, "fetch nowhere/x"),
    (3, "pull nobody"),
    (3, "push . a:b:c"),
    (3, "push nobody"),
    (3, "push other nope"),
    (3, "serve --tokens nope"),
    (3, "serve --tokens a"),
    (3, "token nowhere/tokens --write x"),
    (3, "token a --write x"),
    (3, "upload-pack plain"),
    (3, "receive-pack plain"),
    // 0: done.
    (0, "completion bash"),
    (0, "get a"),
    (0, "ls"),
    (0, "ls d/"),
    (0, "tree"),
    (0, "log"),
    (0, "log -- nope"),
    (0, "branches"),
    (0, "branches --repo empty"),
    (0, "lcas main topic"),
    (0, "diff main topic"),
    (0, "dot"),
    (0, "dot --repo empty"),
    (0, "svg"),
    (0, "export all.bundle"),
    (0, "import all.bundle"),
    (0, "fsck"),
    (0, "gc"),
    (0, "convert other converted"),
    (0, "clone other cloned"),
    (0, "fetch other"),
    (0, "set d/g x"),
    (0, "set d/g x --branch refs/heads/side"),
    (0, "rm -r d"),
    (0, "rm d/g --branch side"),
    (0, "merge main"),
    (0, "branches --create x"),
    (0, "branches --delete x"),
    (0, "init made"),
    (0, "token tokens --write *"),
    (0, "push other main:refs/heads/new"),
    (0, "--help"),
    (0, "--version"),
    (0, "push --help"),
];

fn stage() -> Place {
    let place = Place::of_git("sha1");
    place.irmin(&["set", "a", "base\n"]);
    place.irmin(&["set", "d/f", "x"]);
    place.irmin(&["branches", "--create", "topic"]);
    place.irmin(&["set", "a", "ours\n"]);
    place.irmin(&["set", "a", "theirs\n", "--branch", "topic"]);
    place.irmin(&["set", "b", "x", "--branch", "alone"]);
    let root = place.git(&["commit-tree", "alone^{tree}", "-m", "alone"]);
    place.git(&["update-ref", "refs/heads/alone", &root]);
    fs::write(place.path().join("a"), "no bundle, no tokens").unwrap();
    fs::create_dir(place.path().join("plain")).unwrap();
    fs::write(place.path().join("plain/file"), "").unwrap();
    place.irmin(&["init", "empty"]);
    place.irmin(&["init", "native", "--bare", "--format", "native"]);
    // Somebody else's, whose main went another way.
    place.git(&["clone", "-q", "--bare", ".", "other"]);
    place.irmin(&["set", "a", "other\n", "--repo", "other"]);
    place.irmin(&["export", "theirs.bundle", "main", "--repo", "other"]);
    place.irmin(&["set", "a", "mine\n"]);
    place.irmin(&["init", "lacks", "--bare"]);
    let name = place.path().join("lacks/refs/heads/main");
    fs::write(name, format!("{}\n", "12".repeat(20))).unwrap();
    place
}

fn words(line: &str) -> Vec<&str> {
    let words = line.split_whitespace();
    words
        .map(|word| if word == "''" { "" } else { word })
        .collect()
}

#[test]
fn every_command_ends_with_the_code_of_the_table() {
    let place = stage();
    let root = place.path().canonicalize().unwrap();
    let mut wrong = Vec::new();
    for (code, line) in TABLE {
        let mut command = place.irmin_command(&words(line));
        command.env("GIT_CEILING_DIRECTORIES", &root);
        let (found, out, error) = feed(command, b"");
        let is_told = match code {
            0 => error.is_empty(),
            1 => !out.is_empty() || !error.is_empty() || line.starts_with("lcas "),
            _ => !error.is_empty() && !error.contains("Git::") && !error.contains("Pack::"),
        };
        if found != *code || !is_told {
            wrong.push(format!("irmin {line}: {found}, not {code}\n{out}{error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!place.path().join(".git/refs/tags/z").exists());
    // No command is left out of it.
    let help = place.irmin(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ")) {
        let command = line.split_whitespace().next().unwrap();
        if line.starts_with("   ") || command == "help" {
            continue;
        }
        for code in [2, 3] {
            // It asks nothing but its own command line.
            if (code, command) == (3, "completion") {
                continue;
            }
            let mut lines = TABLE.iter().filter(|(other, _)| *other == code);
            let is_tried = lines.any(|(_, line)| words(line).first() == Some(&command));
            assert!(is_tried, "{command} with {code}");
        }
    }
}

#[test]
fn where_there_is_no_repository_it_is_said_so() {
    let place = Place(tempfile::tempdir().unwrap());
    for line in ["get a", "log", "set a x", "gc", "push", "fetch"] {
        let (code, _, error) = place.try_irmin(&words(line));
        assert_eq!(code, 3, "{line}: {error}");
        assert!(error.contains("there is no repository in "), "{error}");
    }
    let mut command = place.irmin_command(&["get", "a"]);
    command.env("GIT_DIR", "nope");
    let (code, _, error) = feed(command, b"");
    assert_eq!(code, 3);
    assert!(
        error.contains("GIT_DIR is nope") && !error.contains("::"),
        "{error}"
    );
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = stage();
    for line in [
        "get a",
        "log",
        "tree",
        "branches --json",
        "--json get a",
        "dot",
    ] {
        let mut command = place.irmin_command(&words(line));
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{line}: {error}");
        assert!(error.contains("output could not be written"), "{error}");
        // One that is open to read only.
        let mut command = place.irmin_command(&words(line));
        command.stdout(File::open("/dev/null").unwrap());
        assert_eq!(command.output().unwrap().status.code(), Some(3), "{line}");
    }
}

#[test]
fn what_cannot_be_said_on_standard_error_changes_no_answer() {
    let place = stage();
    let mut command = place.irmin_command(&words("fsck --repo lacks"));
    command.stderr(File::options().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(b"missing 1212"));
}

#[test]
fn nothing_is_committed_where_nobody_gave_a_value() {
    let place = stage();
    let irmin = env!("CARGO_BIN_EXE_irmin");
    let shell = |line: &str| {
        let mut shell = place.command("sh");
        shell.args(["-c", line, "sh", irmin]);
        feed(shell, b"")
    };
    let (code, out, error) = shell("\"$1\" set new <&-");
    assert_eq!((code, &out[..]), (2, ""), "{error}");
    assert!(error.contains("standard input is closed"), "{error}");
    assert_eq!(place.try_irmin(&["get", "new"]).0, 1);
    assert_eq!(shell("\"$1\" set new </dev/null").0, 0);
    assert_eq!(shell("\"$1\" set new '' <&-").0, 0);
    assert_eq!(place.irmin(&["get", "new"]), "");
}

//! At the shell: where the repository is, who commits, what reaches the terminal, pipes that end.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Place, feed};

#[test]
fn the_repository_is_found_upwards_as_git_finds_it() {
    let place = Place::new("sha1", &[]);
    place.irmin(&["set", "a", "x"]);
    let deep = place.path().join("b/c");
    std::fs::create_dir_all(&deep).unwrap();
    let deep = deep.to_str().unwrap();
    assert_eq!(place.irmin(&["get", "a", "--repo", deep]), "x");
    assert_eq!(place.irmin(&["--repo", ".git/refs", "get", "a"]), "x");
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |environment: &[(&str, &str)], args: &[&str]| {
        let mut command = place.irmin_command(args);
        command
            .current_dir(elsewhere.path())
            .envs(environment.iter().copied());
        feed(command, b"")
    };
    let git_dir = place.path().join(".git");
    let git_dir = git_dir.to_str().unwrap();
    assert_eq!(run(&[("GIT_DIR", git_dir)], &["get", "a"]).1, "x");
    let (code, _, error) = run(&[], &["get", "a"]);
    assert_eq!(code, 3);
    assert!(
        error.contains("no repository") && error.contains("irmin init"),
        "{error}"
    );
    let up = place.path().join("b");
    let ceiling = [(
        "GIT_CEILING_DIRECTORIES",
        place.path().canonicalize().unwrap(),
    )];
    let mut command = place.irmin_command(&["get", "a"]);
    command.current_dir(&up).envs(ceiling);
    assert_eq!(feed(command, b"").0, 3);
    // A further work tree, and a bare repository.
    let tree = elsewhere.path().join("tree");
    place.git(&[
        "worktree",
        "add",
        "-q",
        "-b",
        "side",
        tree.to_str().unwrap(),
    ]);
    let id = place.irmin(&["set", "a", "y", "--repo", tree.to_str().unwrap()]);
    assert_eq!(place.git(&["rev-parse", "side"]), id);
    let bare = elsewhere.path().join("bare.git");
    place.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    assert_eq!(
        place.irmin(&["get", "a", "--repo", bare.join("refs").to_str().unwrap()]),
        "x"
    );
    assert_eq!(run(&[], &["init", "new", "--bare"]).0, 0);
    assert!(elsewhere.path().join("new/HEAD").is_file());
}

#[test]
fn who_commits_is_found_out_as_git_does() {
    let place = Place::new("sha1", &[]);
    let config = place.path().join("config");
    let included = "[user]\nname = \"Grace \\\"H\\\" \" ; more\n";
    std::fs::write(place.path().join("more"), included).unwrap();
    std::fs::write(
        &config,
        "[include]\npath = more\n[USER]\n\tEmail = g@h # x\n[author]\nname = \\\nA\n",
    )
    .unwrap();
    let forget = [
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    ];
    let dates = [
        ("GIT_AUTHOR_DATE", "@1429524000 -0130"),
        ("GIT_COMMITTER_DATE", "2015-04-20T12:00:00+02:00"),
    ];
    let mut set = place.irmin_command(&["set", "a", "x"]);
    let mut commit = place.git_command(&["commit", "-q", "--allow-empty", "-m", "x"]);
    for command in [&mut set, &mut commit] {
        command.env("GIT_CONFIG_GLOBAL", &config).envs(dates);
        for name in forget {
            command.env_remove(name);
        }
    }
    for command in [set, commit] {
        let (code, _, error) = feed(command, b"");
        assert_eq!(code, 0, "{error}");
    }
    let shown = place.git(&["log", "--format=%an|%ae|%ad|%cn|%ce|%cd", "--date=raw"]);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(
        lines[0],
        "A|g@h|1429524000 -0130|Grace \"H|g@h|1429524000 +0200"
    );

    let mut nobody = place.irmin_command(&["set", "a", "y"]);
    for name in forget {
        nobody.env_remove(name);
    }
    let (code, _, error) = feed(nobody, b"");
    assert_eq!(code, 3);
    assert!(
        error.contains("GIT_AUTHOR_NAME") && error.contains("git config"),
        "{error}"
    );
    let mut when = place.irmin_command(&["set", "a", "y"]);
    when.env("GIT_AUTHOR_DATE", "soon");
    assert_eq!(feed(when, b"").0, 2);
}

#[test]
fn no_control_character_of_a_repository_is_shown() {
    let place = Place::of_git("sha1");
    let name = "e\u{1b}[2J\u{9b}f";
    std::fs::write(place.path().join(name), "x").unwrap();
    place.git(&["add", "-A"]);
    let message = "sub\u{1b}]0;title\u{7}ject\u{9b}\n\nbo\rdy\u{7f}\u{202e}";
    let mut commit = place.git_command(&["commit", "-q", "-m", message]);
    commit.env("GIT_AUTHOR_NAME", "Eve\u{1b}[31m");
    assert_eq!(feed(commit, b"").0, 0);
    let first = place.git(&["rev-parse", "main"]);
    place.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    place.git(&["rm", "-q", name]);
    place.git(&["commit", "-q", "-m", "x"]);
    for args in [
        &["ls", "--at", &first][..],
        &["tree", "--at", &first],
        &["log"],
        &["branches"],
        &["dot"],
        &["svg"],
        &["diff", &first, "main"],
        &["get", "no\u{1b}pe"],
        &["log", "no\u{1b}pe"],
        &["rm", name],
    ] {
        for json in [&[][..], &["--json"]] {
            let (_, out, error) = place.try_irmin(&[args, json].concat());
            let text = out + &error;
            let is_harmful = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
            assert!(
                !text.is_empty() && !text.contains(is_harmful),
                "{args:?}: {text:?}"
            );
        }
    }
    assert_eq!(
        place.irmin(&["ls", "--at", &first]),
        r#""e\033[2J\302\233f""#
    );
}

#[test]
fn a_pipe_that_is_closed_ends_it_quietly() {
    let place = Place::of_git("sha1");
    common::Random(9).history(&place, 400);
    let mut child = place
        .irmin_command(&["log"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("commit "));
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), &output.stderr[..]),
        (Some(0), &b""[..])
    );
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new("sha1", &[]);
    for command in [
        "init",
        "get",
        "set",
        "rm",
        "ls",
        "tree",
        "log",
        "branches",
        "lcas",
        "merge",
        "diff",
        "watch",
        "dot",
        "svg",
        "gc",
        "fsck",
        "serve",
        "token",
        "upload-pack",
        "receive-pack",
        "convert",
        "export",
        "import",
        "clone",
        "fetch",
        "pull",
        "push",
    ] {
        let help = place.irmin(&[command, "--help"]);
        assert!(help.contains("Examples:\n  irmin "), "{command}");
    }
    assert!(place.irmin(&["--help"]).contains("Exit codes"));
}

#[test]
fn bash_completes_commands_and_options_by_the_script() {
    let place = Place(tempfile::tempdir().unwrap());
    let completed = |words: &str| {
        // As bash calls it: the words, and of them the last two by themselves.
        let script = format!(
            r#"source <("$IRMIN" completion bash)
            COMP_WORDS=(irmin {words})
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _irmin irmin "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
            printf '%s\n' "${{COMPREPLY[@]}}""#
        );
        let mut bash = place.command("bash");
        bash.env("IRMIN", env!("CARGO_BIN_EXE_irmin"));
        let output = bash.args(["-c", &script]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(completed("me"), "merge\n");
    assert_eq!(completed("merge --dr"), "--dry-run\n");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(place.irmin(&["completion", shell]).contains("dry-run"));
    }
}

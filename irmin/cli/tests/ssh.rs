//! Stores at the other end of ssh: `irmin` answers there, to `irmin` and to git.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::served::Served;
use common::{FORMATS, Place, Random};

/// A folder with an ssh that goes nowhere: it notes what it is told, forgets the environment that no
/// server hands on, and runs the command in its home, where `irmin` is found.
struct Ssh(Place);

impl Ssh {
    fn new() -> Ssh {
        let home = Place(tempfile::tempdir().unwrap());
        let irmin = std::path::Path::new(env!("CARGO_BIN_EXE_irmin"));
        let script = format!(
            "#!/bin/sh\nunset GIT_PROTOCOL\nfor word; do echo \"$word\" >>{0}/told; done\n\
             while [ $# -gt 1 ]; do shift; done\n\
             cd {0} && HOME={0} PATH={1}:$PATH exec sh -c \"$1\"\n",
            home.path().display(),
            irmin.parent().unwrap().display(),
        );
        let path = home.path().join("ssh");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Ssh(home)
    }

    /// What it was told since it was last asked.
    fn told(&self) -> String {
        let path = self.0.path().join("told");
        let told = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        told
    }

    fn run(&self, mut command: Command) -> (i32, String, String) {
        let output = command
            .env("GIT_SSH_COMMAND", self.0.path().join("ssh"))
            .output()
            .unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn irmin(&self, place: &Place, args: &[&str]) -> String {
        let (code, out, error) = self.run(place.irmin_command(args));
        assert_eq!((code, &error[..]), (0, ""), "irmin {args:?}: {out}");
        out.strip_suffix('\n').unwrap_or(&out).into()
    }

    fn git(&self, place: &Place, args: &[&str]) -> String {
        let (code, out, error) = self.run(place.git_command(args));
        assert_eq!(code, 0, "git {args:?}: {out}{error}");
        out.strip_suffix('\n').unwrap_or(&out).into()
    }
}

#[test]
fn stores_of_every_format_are_cloned_fetched_and_pushed_to_where_irmin_answers() {
    for format in ["native", "sha1", "sha256"] {
        let ssh = Ssh::new();
        let home = &ssh.0;
        let format = match format {
            "native" => ["--format", format],
            format => ["--object-format", format],
        };
        home.irmin(&[&["init", "--bare", "notes"], &format[..]].concat());
        let first = home.irmin(&["set", "a", "x", "--repo", "notes"]);
        let here = Place(tempfile::tempdir().unwrap());
        ssh.irmin(
            &here,
            &["clone", "irmin+ssh://ada@host:2222/~/notes", "mine"],
        );
        let told = ssh.told();
        assert!(
            told.ends_with("-p\n2222\nada@host\nirmin upload-pack '~/notes'\n"),
            "{told}"
        );
        let mine = ["--repo", "mine"];
        assert_eq!(here.irmin(&[&["get", "a"], &mine[..]].concat()), "x");
        let second = here.irmin(&[&["set", "b", "y"], &mine[..]].concat());
        assert_eq!(
            ssh.irmin(&here, &[&["push"], &mine[..]].concat()),
            format!("moved refs/heads/main {first} {second}")
        );
        let told = ssh.told();
        assert!(told.ends_with("\nirmin receive-pack '~/notes'\n"), "{told}");
        let third = home.irmin(&["set", "c", "z", "--repo", "notes"]);
        assert!(
            ssh.irmin(&here, &[&["pull"], &mine[..]].concat())
                .ends_with(&third)
        );
        for (place, repo) in [(home, "notes"), (&here, "mine")] {
            assert_eq!(place.irmin(&["fsck", "--repo", repo]), "");
        }
        // Who fetches needs not have the store alone.
        let served = Served::new(home, &["--repo", "notes"]);
        ssh.irmin(&here, &[&["fetch"], &mine[..]].concat());
        ssh.irmin(
            &here,
            &[
                "clone",
                "--upload-pack",
                "irmin upload-pack",
                "h:notes",
                "c",
            ],
        );
        ssh.irmin(&here, &["fetch", "--repo", "c"]);
        assert!(ssh.told().ends_with("\nirmin upload-pack 'notes'\n"));
        let path = home.path().join("notes");
        here.irmin(&["clone", path.to_str().unwrap(), "d"]);
        drop(served);
    }
}

#[test]
fn git_and_irmin_read_in_the_configuration_what_answers_at_the_other_end() {
    for format in FORMATS {
        let ssh = Ssh::new();
        let home = &ssh.0;
        home.git(&[
            "init",
            "-q",
            "--bare",
            "-b",
            "main",
            "--object-format",
            format,
            "notes.git",
        ]);
        let here = Place::of_git(format);
        Random(21).history(&here, 20);
        here.git(&["remote", "add", "origin", "host:notes"]);
        for (key, value) in [
            ("remote.origin.uploadpack", "irmin upload-pack"),
            ("remote.origin.receivepack", "irmin receive-pack"),
        ] {
            here.git(&["config", key, value]);
        }
        ssh.git(&here, &["push", "-q", "--tags", "origin", "main"]);
        assert!(ssh.told().ends_with("\nirmin receive-pack 'notes'\n"));
        ssh.irmin(&here, &["push", "origin", "main:other"]);
        assert!(ssh.told().ends_with("\nirmin receive-pack 'notes'\n"));
        let there = home.irmin(&["set", "n", "m", "--repo", "notes.git"]);
        ssh.git(&here, &["fetch", "-q"]);
        assert!(ssh.told().ends_with("\nirmin upload-pack 'notes'\n"));
        assert_eq!(here.git(&["rev-parse", "origin/main"]), there);
        here.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
        ssh.irmin(&here, &["fetch"]);
        assert!(ssh.told().ends_with("\nirmin upload-pack 'notes'\n"));
        assert_eq!(here.git(&["rev-parse", "origin/main"]), there);
        here.fsck();
        home.git(&["-C", "notes.git", "fsck", "--strict"]);
        // What is typed goes before what is configured, over ssh and in a folder.
        let git = ["--upload-pack", "false; git upload-pack"];
        ssh.irmin(&here, &[&["fetch"], &git[..]].concat());
        assert!(ssh.told().contains("\nfalse; git upload-pack 'notes'\n"));
        let folder = home.path().join("notes.git");
        let folder = folder.to_str().unwrap();
        let (code, _, error) = here.try_irmin(&[
            "fetch",
            folder,
            "main",
            "--upload-pack",
            "echo no >&2; false",
        ]);
        assert!(code == 3 && error.contains("no"), "{error}");
        let (code, _, error) = here.try_irmin(&[
            "push",
            folder,
            "main:third",
            "--exec",
            "echo aha >&2; git receive-pack",
        ]);
        assert_eq!(code, 0, "{error}");
    }
}

#[test]
fn what_would_be_an_option_of_ssh_or_of_what_is_called_is_refused() {
    let ssh = Ssh::new();
    let here = Place(tempfile::tempdir().unwrap());
    for url in [
        "irmin+ssh://-oProxyCommand=touch${IFS}x/notes",
        "irmin+ssh://-oProxyCommand=x@host/notes",
        "irmin+ssh://host",
        "irmin+ssh:///notes",
        "-oProxyCommand=x:notes",
        "host:-notes",
    ] {
        let (code, _, error) = ssh.run(here.irmin_command(&["clone", "--", url, "x"]));
        assert_eq!(code, 2, "{url}: {error}");
        assert_eq!(ssh.told(), "", "{url}");
        assert!(!here.path().join("x").exists());
    }
    // A path is one word for the shell there.
    let (code, _, _) =
        ssh.run(here.irmin_command(&["clone", "irmin+ssh://host/a'$(touch x)b", "x"]));
    assert_eq!(code, 3);
    assert!(
        ssh.told()
            .ends_with("irmin upload-pack '/a'\\''$(touch x)b'\n")
    );
    assert!(!ssh.0.path().join("x").exists());
    // Without irmin there, what the shell says is told.
    let (code, _, error) = ssh.run(here.irmin_command(&[
        "clone",
        "--upload-pack",
        "nobody-upload-pack",
        "host:notes",
        "x",
    ]));
    assert!(code == 3 && error.contains("nobody-upload-pack"), "{error}");
}

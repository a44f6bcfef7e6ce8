//! What the tests share: the built `irmin` and the real `git`, in a temporary folder.
#![allow(dead_code)]

pub mod served;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a repository, and both programs at work in it.
pub struct Place(pub TempDir);

/// The formats, as both programs call them.
pub const FORMATS: [&str; 2] = ["sha1", "sha256"];

impl Place {
    /// An empty repository that `irmin` made.
    pub fn new(format: &str, options: &[&str]) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let format = match format {
            "native" => ["--format", format],
            format => ["--object-format", format],
        };
        let made = place.irmin(&[&["init"], &format[..], options].concat());
        assert!(made.starts_with("made an empty repository in "), "{made}");
        place
    }

    /// An empty repository that `git` made.
    pub fn of_git(format: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.git(&["init", "-q", "-b", "main", "--object-format", format, "."]);
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A program in this folder that nothing of this machine's settings touches.
    pub fn command(&self, program: &str) -> Command {
        Place::command_in(self.path(), program)
    }

    /// The same in that folder, which is its home.
    pub fn command_in(folder: &Path, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .env("HOME", folder)
            .env("TZ", "UTC")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Carl")
            .env("GIT_COMMITTER_EMAIL", "carl@example.org");
        command
    }

    /// `irmin` with these arguments.
    pub fn irmin_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_irmin"));
        command.args(args);
        command
    }

    /// Runs `irmin`: exit code, standard output, standard error.
    pub fn try_irmin(&self, args: &[&str]) -> (i32, String, String) {
        ended(self.irmin_command(args))
    }

    /// Runs `irmin`, which must succeed; its standard output without the last line end.
    pub fn irmin(&self, args: &[&str]) -> String {
        let (code, out, error) = self.try_irmin(args);
        assert_eq!((code, &error[..]), (0, ""), "irmin {args:?}: {out}");
        out.strip_suffix('\n').unwrap_or(&out).into()
    }

    /// `git` with these arguments.
    pub fn git_command(&self, args: &[&str]) -> Command {
        let mut command = self.command("git");
        command.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        command.args(args);
        command
    }

    /// Runs `git`: exit code, standard output, standard error.
    pub fn try_git(&self, args: &[&str]) -> (i32, String, String) {
        ended(self.git_command(args))
    }

    /// Runs `git`, which must succeed; its standard output without the last line end.
    pub fn git(&self, args: &[&str]) -> String {
        let (code, out, error) = self.try_git(args);
        assert_eq!(code, 0, "git {args:?}: {out}{error}");
        out.strip_suffix('\n').unwrap_or(&out).into()
    }

    /// `git fsck`, to which nothing may be wrong.
    pub fn fsck(&self) {
        let (code, out, error) = self.try_git(&["fsck", "--strict", "--full", "--no-dangling"]);
        let is_well = code == 0 && !error.contains("error") && !error.contains("warning");
        assert!(is_well, "{out}{error}");
    }
}

/// Runs a command with this on its standard input.
pub fn feed(mut command: Command, input: &[u8]) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    parts(child.wait_with_output().unwrap())
}

/// Runs a command: exit code, standard output, standard error.
pub fn ended(mut command: Command) -> (i32, String, String) {
    parts(command.output().expect("it is installed"))
}

fn parts(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// xorshift64*: a run is repeated by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// Gives `git` a history of so many commits with merges, tagged `c0` and up. No two paths have
    /// lines in common, so that nothing looks like a rename.
    pub fn history(&mut self, place: &Place, count: usize) {
        let mut stream = String::new();
        for at in 0..count {
            // Commits of the same second too.
            let time = 1_429_524_000 + at / 2;
            stream += &format!(
                "commit refs/tags/c{at}\nmark :{}\ncommitter C <c@d> {time} +0000\ndata 2\nc\n",
                at + 1
            );
            if at > 0 {
                let parent = at - self.below(at.min(6));
                stream += &format!("from :{parent}\n");
                let other = at - self.below(at.min(6));
                if other != parent && self.below(3) == 0 {
                    stream += &format!("merge :{other}\n");
                }
            }
            for _ in 0..1 + self.below(3) {
                let path = ["a", "a.c", "d/a", "d/e/b", "ü", "d0", "d/é f"][self.below(7)];
                if self.below(6) == 0 {
                    stream += &format!("D {path}\n");
                    continue;
                }
                let changed = self.below(40);
                let text: String = (0..40)
                    .map(|line| match line == changed {
                        true => format!("{path} {line} at {at}\n"),
                        false => format!("{path} {line}\n"),
                    })
                    .collect();
                stream += &format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len());
            }
        }
        let (code, _, error) = feed(
            place.git_command(&["fast-import", "--quiet"]),
            stream.as_bytes(),
        );
        assert_eq!(code, 0, "{error}");
        place.git(&["update-ref", "refs/heads/main", &format!("c{}", count - 1)]);
    }
}

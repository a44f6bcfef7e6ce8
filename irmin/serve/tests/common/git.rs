//! Git itself, with nobody's configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use irmin::{Format, Memory};
use irmin_serve::{Options, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Served;

pub const VERSIONS: [&str; 3] = ["0", "1", "2"];

/// A folder with nobody's configuration but what is given.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn run(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(dir)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", self.folder.path());
        for (key, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.org"),
            ("LC_ALL", "C"),
        ] {
            command.env(key, value);
        }
        command.output().expect("git can be run")
    }

    /// Runs git where it must succeed.
    pub fn git(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.run(dir, args);
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// Runs git where it must fail, and gives what it says.
    pub fn fails(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.run(dir, args);
        assert!(!output.status.success(), "git {args:?} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

pub fn set(path: &str, text: &str) -> Value {
    json!([{ "op": "set", "path": path, "text": text }])
}

pub fn url(served: &Served) -> String {
    format!("{}/store.git", served.url)
}

pub fn memory(format: Format) -> Served {
    Served::new(Arc::new(Memory::new(format)) as Store, Options::default())
}

//! A Git repository beside a store, and histories from a seed.

use std::io::Write;
use std::path::Path as FilePath;
use std::process::{Command, Stdio};

use irmin::{Format, Kind, Repo};

pub struct Git(tempfile::TempDir);

impl Git {
    pub fn new(format: Format) -> Git {
        let git = Git(tempfile::tempdir().unwrap());
        let format = if format == Format::GitSha1 {
            "sha1"
        } else {
            "sha256"
        };
        git.run(
            &["init", "-q", "--bare", "--object-format", format, "."],
            "",
        );
        git
    }

    pub fn dir(&self) -> &FilePath {
        self.0.path()
    }

    /// Standard output and whether it succeeded. Neither the user's nor the machine's settings count.
    pub fn try_run(&self, args: &[&str], input: &str) -> (String, bool) {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(self.dir())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git is installed");
        // What it says may fill its pipe before it has read all.
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_bytes().to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8(output.stdout).unwrap();
        (
            if text.is_empty() { errors } else { text },
            output.status.success(),
        )
    }

    pub fn run(&self, args: &[&str], input: &str) -> String {
        let (text, succeeded) = self.try_run(args, input);
        assert!(succeeded, "git {args:?}: {text}");
        text
    }

    /// Gives git all objects of a store; git names and checks each.
    pub fn take(&self, repo: &Repo) {
        let objects: Vec<_> = repo.backend().ids("", usize::MAX).unwrap();
        let objects: Vec<_> = objects
            .iter()
            .map(|id| repo.backend().read(id).unwrap().unwrap())
            .collect();
        for kind in [Kind::Blob, Kind::Tree, Kind::Commit] {
            let objects = objects.iter().filter(|object| object.kind == kind);
            let (mut paths, mut ids) = (String::new(), String::new());
            for object in objects {
                let path = self.dir().join(format!("object-{}", object.id));
                std::fs::write(&path, &object.data).unwrap();
                paths += &format!("{}\n", path.display());
                ids += &format!("{}\n", object.id);
            }
            let named = self.run(
                &["hash-object", "-w", "-t", kind.name(), "--stdin-paths"],
                &paths,
            );
            assert_eq!(named, ids, "git names every {kind} so");
        }
    }
}

/// The seeds to try: `SEED` repeats one and `RUNS` makes more than usual.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("SEED").unwrap_or(1);
    first..first + number("RUNS").unwrap_or(usual)
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
}

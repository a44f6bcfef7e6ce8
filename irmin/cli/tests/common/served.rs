//! `irmin serve`, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::Place;

/// A server that runs; it is ended when this goes.
pub struct Served {
    child: Child,
    _out: BufReader<ChildStdout>,
    pub at: Value,
}

impl Served {
    pub fn new(place: &Place, args: &[&str]) -> Served {
        let args = [&["serve", "--listen", "127.0.0.1:0", "--json"], args].concat();
        Served::begin(place.irmin_command(&args))
    }

    /// One that finds no git.
    pub fn without_git(place: &Place) -> Served {
        let mut command = place.irmin_command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        command.env("PATH", "");
        Served::begin(command)
    }

    fn begin(mut command: Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let at = serde_json::from_str(&line).unwrap();
        Served {
            child,
            _out: out,
            at,
        }
    }

    pub fn git(&self) -> String {
        self.at["git"].as_str().unwrap().into()
    }

    pub fn signal(&mut self, name: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

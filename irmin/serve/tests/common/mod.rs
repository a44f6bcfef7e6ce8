//! A server in this process, and the real curl as its client.

#![allow(dead_code)]

pub mod git;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use irmin::{Format, Memory};
use irmin_serve::{Options, Server, Stop, Store};
use serde_json::Value;

/// A server that is stopped with this value.
pub struct Served {
    pub url: String,
    pub stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn new(store: Store, options: Options) -> Served {
        let server = Server::bind(store, options).unwrap();
        let (url, stop) = (server.url(), server.stop());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Served {
            url,
            stop,
            thread: Some(thread),
        }
    }

    pub fn memory(format: Format) -> Served {
        Served::new(Arc::new(Memory::new(format)), Options::default())
    }

    /// Sends a request with curl.
    pub fn curl(&self, path: &str, args: &[&str]) -> Answer {
        self.curl_with(path, args, Vec::new())
    }

    /// Sends a request whose body curl reads from its standard input (`@-`).
    pub fn curl_with(&self, path: &str, args: &[&str], body: Vec<u8>) -> Answer {
        let mut command = Command::new("curl");
        command
            .args([
                "-sS",
                "--path-as-is",
                "--max-time",
                "60",
                "-D",
                "/dev/stderr",
            ])
            .args(args);
        command.arg(format!("{}{path}", self.url));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("curl can be run");
        let mut stdin = child.stdin.take().unwrap();
        // A server that refuses a body does not read it.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let head = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = head.lines().rfind(|line| line.starts_with("HTTP/"));
        let status = status.and_then(|line| line.split(' ').nth(1)?.parse().ok());
        Answer {
            status: status.unwrap_or(0),
            head,
            body: output.stdout,
            curl: output.status.code(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.curl(&format!("/api/v1{path}"), &[])
    }

    /// Sends JSON.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let args = ["-X", method, "--data-binary", "@-"];
        self.curl_with(
            &format!("/api/v1{path}"),
            &args,
            body.to_string().into_bytes(),
        )
    }

    /// Commits edits and gives the commit's id.
    pub fn commit(&self, branch: &str, edits: Value) -> String {
        let body = serde_json::json!({ "branch": branch, "message": "m\n", "author": ada(), "edits": edits });
        let answer = self.send("POST", "/commits", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["commit"].as_str().unwrap().into()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

pub fn ada() -> Value {
    serde_json::json!({ "name": "Ada", "email": "ada@example.org", "time": 1_429_538_400 })
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// curl's own exit code: 0 for an answer that came whole.
    pub curl: Option<i32>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        assert!(self.status == 200 && self.curl == Some(0), "{self:?}");
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next_back()
    }
}

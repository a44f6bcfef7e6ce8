//! A web server that knows one thing: to run `git http-backend`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub struct Cgi {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// `user:password` in base64, if they are wanted.
    secret: Option<String>,
    /// What was asked: method, path, encoding of the body.
    log: Mutex<Vec<String>>,
}

impl Cgi {
    /// Serves the repositories in a folder.
    pub fn serve(folder: &Path, secret: Option<&str>) -> Cgi {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            secret: secret.map(Into::into),
            ..Shared::default()
        });
        let (of_thread, folder) = (shared.clone(), folder.to_path_buf());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.stop.load(Ordering::SeqCst) {
                    break;
                }
                let (shared, folder) = (of_thread.clone(), folder.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &shared, folder));
            }
        });
        Cgi {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

impl Drop for Cgi {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers one request; the connection ends with it. A client that goes away is its own affair.
fn answer(stream: TcpStream, shared: &Shared, folder: PathBuf) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap().to_string(),
        words.next().unwrap().to_string(),
    );
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((key, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(key.to_ascii_lowercase(), value.to_string());
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|how| how == "chunked")
    {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Ok(length) = u64::from_str_radix(line.trim(), 16) else {
                return;
            };
            reader.by_ref().take(length).read_to_end(&mut body).unwrap();
            reader.read_line(&mut String::new()).unwrap();
            if length == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        let length = length.parse().unwrap();
        reader.by_ref().take(length).read_to_end(&mut body).unwrap();
    }
    let header = |key: &str| headers.get(key).cloned().unwrap_or_default();
    let encoding = header("content-encoding") + &header("transfer-encoding");
    shared
        .log
        .lock()
        .unwrap()
        .push(format!("{method} {target} {encoding}").trim().into());
    let mut stream = stream;
    if let Some(rest) = target.strip_prefix("/moved/") {
        let to = format!(
            "HTTP/1.1 302 Found\r\nLocation: /{rest}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let _ = stream.write_all(to.as_bytes());
        return;
    }
    if target.starts_with("/page/") {
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>";
        let _ = stream.write_all(page.as_bytes());
        return;
    }
    if let Some(secret) = &shared.secret
        && header("authorization") != format!("Basic {secret}")
    {
        let no = "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(no.as_bytes());
        return;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("REQUEST_METHOD", &method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REMOTE_USER", "tester")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || drop(input.write_all(&body)));
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut status, mut head) = ("200 OK".to_string(), String::new());
    loop {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some(("Status", value)) => status = value.into(),
            Some(_) => head += &line.replace('\n', "\r\n").replace("\r\r", "\r"),
            None => break,
        }
    }
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n"
    );
    let _ = std::io::copy(&mut output, &mut stream);
    drop(output);
    let _ = child.wait();
    let _ = feeder.join();
}

/// `git daemon`, a process for each connection. It listens until the test's process ends.
pub fn daemon(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let base = format!("--base-path={}", folder.display());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let input = std::os::fd::OwnedFd::from(stream.try_clone().unwrap());
            let child = Command::new("git")
                .args([
                    "daemon",
                    "--inetd",
                    "--export-all",
                    "--enable=receive-pack",
                    &base,
                ])
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .stdin(input)
                .stdout(std::os::fd::OwnedFd::from(stream))
                .stderr(Stdio::null())
                .spawn();
            std::thread::spawn(move || child.unwrap().wait());
        }
    });
    address
}

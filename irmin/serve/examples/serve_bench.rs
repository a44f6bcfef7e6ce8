//! What a server costs: 10,000 event streams of which one is stalled, and requests.
//!
//! `serve_bench` measures a server in a process of its own, with a store in memory.
//! `serve_bench serve REPOSITORY` serves a Git repository until it is ended, to measure clones.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use irmin::{Format, Memory};
use irmin_serve::{Limits, Options, Server, Store};
use rustix::event::epoll;

const WATCHERS: usize = 10_000;
const COMMITS: usize = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(args.get(2)),
        _ => measure(),
    }
}

fn serve(repository: Option<&String>) -> Result<(), Box<dyn std::error::Error>> {
    let store: Store = match repository {
        Some(path) => Arc::new(irmin_git::Git::open(path)?),
        None => Arc::new(Memory::new(Format::Native)),
    };
    let limits = Limits {
        heartbeat: Duration::from_secs(600),
        ..Limits::default()
    };
    let server = Server::bind(
        store,
        Options {
            limits,
            ..Options::default()
        },
    )?;
    println!("{}", server.address());
    server.run()?;
    Ok(())
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("piped")?).read_line(&mut address)?;
    let (address, pid) = (address.trim().to_string(), child.id());
    let peer = Peer(child);
    let mut client = Client::new(&address)?;
    client.commit(0)?;
    requests(&address)?;
    println!("server without watchers: {} KiB", resident(pid)?);
    watchers(&address, pid)?;
    drop(peer);
    Ok(())
}

/// Requests a second over connections that are kept, four at once.
fn requests(address: &str) -> io::Result<()> {
    for (what, is_commit) in [("GET contents", false), ("POST commits", true)] {
        let begun = Instant::now();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let address = address.to_string();
                std::thread::spawn(move || -> io::Result<usize> {
                    let mut client = Client::new(&address)?;
                    let mut count = 0;
                    while begun.elapsed() < Duration::from_secs(3) {
                        if is_commit {
                            client.commit(count)?;
                        } else {
                            client.call("GET", "/api/v1/contents/k0/x?at=main", "")?;
                        }
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        let mut all = 0;
        for thread in threads {
            all += thread.join().map_err(|_| io::ErrorKind::Other)??;
        }
        println!(
            "{what}: {:.0}/s",
            all as f64 / begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// From the moment at which a commit is sent to the event at each of the watchers.
fn watchers(address: &str, pid: u32) -> Result<(), Box<dyn std::error::Error>> {
    let watch = |_| -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /api/v1/watch?branch=main HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        Ok(stream)
    };
    // It reads nothing, ever.
    let stalled = watch(0)?;
    let mut streams = (1..WATCHERS).map(watch).collect::<io::Result<Vec<_>>>()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        epoll::add(
            &poll,
            stream,
            epoll::EventData::new_u64(at as u64),
            epoll::EventFlags::IN,
        )?;
    }
    let (told, seen) = mpsc::channel();
    std::thread::spawn(move || -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let mut buffer = [0; 16 << 10];
        loop {
            epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let at = event.data.u64() as usize;
                let Ok(count) = streams[at].read(&mut buffer) else {
                    continue;
                };
                let now = Instant::now();
                let text = &buffer[..count];
                let is = |name: &[u8]| text.windows(name.len()).any(|part| part == name);
                if is(b"event: change") || is(b"event: snapshot") {
                    let _ = told.send(now);
                }
            }
        }
    });
    for _ in 1..WATCHERS {
        seen.recv()?;
    }
    println!("server with {WATCHERS} watchers: {} KiB", resident(pid)?);
    let mut client = Client::new(address)?;
    let mut waited = Vec::new();
    for n in 0..COMMITS {
        let sent = Instant::now();
        client.commit(n)?;
        for _ in 1..WATCHERS {
            waited.push(seen.recv()?.duration_since(sent));
        }
    }
    waited.sort_unstable();
    let at = |part: f64| waited[(waited.len() as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!(
        "commit to event, one stalled: first {:.1} ms, p50 {:.1} ms, p99 {:.1} ms",
        at(0.0001),
        at(0.5),
        at(0.99)
    );
    drop(stalled);
    Ok(())
}

fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line
        .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or(0))
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    fn commit(&mut self, n: usize) -> io::Result<()> {
        let body = format!(
            "{{\"branch\":\"main\",\"message\":\"m\",\"author\":{{\"name\":\"Ada\",\"email\":\"ada@example.org\"}},\
             \"edits\":[{{\"op\":\"set\",\"path\":\"k{}/x\",\"text\":\"{:?}\"}}]}}",
            n % 100,
            Instant::now()
        );
        self.call("POST", "/api/v1/commits", &body)
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line == "\r\n" {
                break;
            }
            if line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 2") {
                return Err(io::Error::other(line));
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut self.0.by_ref().take(length), &mut io::sink())?;
        Ok(())
    }
}

//! A small HTTP client: one request, or a thousand connections opened at once.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A response as far as tests look at it.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head, up to the empty line.
    pub head: String,
    /// The content.
    pub body: Vec<u8>,
}

/// Asks for `path` on a connection of its own.
pub fn get(server: SocketAddr, path: &str, limit: Duration) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let answer = exchange(server, request.as_bytes(), limit)?;
    match parse(&answer) {
        Some((response, _)) => Ok(response),
        None => bail!(
            "not a whole response: {:?}",
            String::from_utf8_lossy(&answer)
        ),
    }
}

/// Sends `bytes` and reads until the server closes or `limit` is over.
///
/// What came before a reset counts: a server that refuses a request may close with some of it
/// unread.
pub fn exchange(server: SocketAddr, bytes: &[u8], limit: Duration) -> Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut stream = TcpStream::connect_timeout(&server, limit)
        .with_context(|| format!("cannot connect to {server}"))?;
    stream.set_write_timeout(Some(limit))?;
    // A refusal may come while we still send: its answer is what matters.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(answer);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(answer);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) if !answer.is_empty() => return Ok(answer),
            Err(e) => {
                sent.with_context(|| format!("cannot send to {server}"))?;
                return Err(e).with_context(|| format!("cannot read from {server}"));
            }
        }
    }
}

/// The first whole response in `bytes` and its length; `None` while some of it is missing.
pub fn parse(bytes: &[u8]) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse::<usize>().ok())?;
    let body = bytes.get(end..end.checked_add(length)?)?.to_vec();
    Some((Response { status, head, body }, end + length))
}

/// What became of a burst of connections.
#[derive(Debug, Default, Clone)]
pub struct Burst {
    /// Connections that got a whole answer with status 200.
    pub served: usize,
    /// Connections that were reset or refused.
    pub reset: usize,
    /// Connections that ended in another way: a wrong answer, an early end.
    pub wrong: usize,
    /// Connections without an answer when the time was over.
    pub waiting: usize,
    /// From the first connect to the last answer.
    pub elapsed: Duration,
}

/// Opens `count` connections to `server` before looking at any, asks for `/` on each and keeps
/// them all open until the last is answered.
pub fn burst(server: SocketAddr, count: usize, limit: Duration) -> Result<Burst> {
    raise_descriptor_limit(count as u64 + 100)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let start = Instant::now();
    let deadline = start + limit;
    let mut result = Burst::default();
    let mut open = HashMap::with_capacity(count);
    for _ in 0..count {
        let family = if server.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(e) => return Err(e).with_context(|| format!("cannot connect to {server}")),
        }
        let id = socket.as_raw_fd();
        let flags = epoll::EventFlags::OUT;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(id as u64), flags)?;
        open.insert(
            id,
            Connection {
                stream: socket.into(),
                answer: Vec::new(),
                done: false,
            },
        );
    }
    let mut left = count;
    let mut events = Vec::with_capacity(256);
    while left > 0 {
        let now = Instant::now();
        if now >= deadline {
            break;
        }
        let timeout = rustix::event::Timespec::try_from(deadline - now)?;
        events.clear();
        epoll::wait(
            &epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        )?;
        for event in &events {
            let Some(connection) = open.get_mut(&(event.data.u64() as RawFd)) else {
                continue;
            };
            let outcome = match connection.go_on(&epoll, event.flags) {
                Ok(None) => continue,
                Ok(Some(200)) => &mut result.served,
                Ok(Some(_)) => &mut result.wrong,
                Err(e) if is_reset(&e) => &mut result.reset,
                Err(_) => &mut result.wrong,
            };
            *outcome += 1;
            left -= 1;
            connection.done = true;
            epoll::delete(&epoll, &connection.stream)?;
            result.elapsed = start.elapsed();
        }
    }
    result.waiting = open.values().filter(|connection| !connection.done).count();
    if result.waiting > 0 {
        result.elapsed = start.elapsed();
    }
    Ok(result)
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    done: bool,
}

impl Connection {
    /// Does what is possible now; a status when the answer is whole.
    fn go_on(
        &mut self,
        epoll: &impl std::os::fd::AsFd,
        flags: epoll::EventFlags,
    ) -> std::io::Result<Option<u16>> {
        if flags.contains(epoll::EventFlags::OUT) {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.stream
                .write_all(b"GET / HTTP/1.1\r\nHost: burst\r\n\r\n")?;
            let data = epoll::EventData::new_u64(self.stream.as_raw_fd() as u64);
            epoll::modify(epoll, &self.stream, data, epoll::EventFlags::IN)?;
            return Ok(None);
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.answer.extend_from_slice(&buffer[..n]);
                Ok(parse(&self.answer).map(|(response, _)| response.status))
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

fn raise_descriptor_limit(needed: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: now.maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .with_context(|| format!("cannot open {needed} descriptors: raise `ulimit -n`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_when_its_content_length_is_there() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP";
        let (response, length) = parse(text).unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hi"[..]));
        assert_eq!(length, text.len() - 4);
        assert!(parse(&text[..length - 1]).is_none());
    }

    #[test]
    fn a_burst_counts_what_was_served_reset_and_wrong() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for n in 0..6 {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 512]).unwrap();
                match n {
                    0 => {} // Closed without an answer.
                    1 => stream.write_all(b"HTTP/1.1 404 No\r\n\r\n").unwrap(),
                    _ => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
                }
                if n > 0 {
                    kept.push(stream);
                }
            }
            kept
        });
        let result = burst(server, 6, Duration::from_secs(10)).unwrap();
        drop(serving.join().unwrap());
        assert_eq!(
            (result.served, result.wrong, result.reset, result.waiting),
            (4, 2, 0, 0)
        );
        let result = burst(server, 1, Duration::from_secs(10)).unwrap();
        assert_eq!(
            (result.served, result.reset),
            (0, 1),
            "nobody listens any more"
        );
    }
}

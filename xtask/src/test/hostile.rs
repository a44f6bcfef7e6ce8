//! Requests that a hostile client sends over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::system::{PATIENCE, website};
use super::{Context, Test};
use crate::http;

pub const TESTS: &[Test] = &[
    Test {
        name: "a request that two servers could read in two ways is refused and the connection closed",
        needs: &[],
        run: smuggling,
    },
    Test {
        name: "a request too long in any part is refused, and the image serves on",
        needs: &[],
        run: oversize,
    },
    Test {
        name: "a path outside the assets, however spelt, finds nothing",
        needs: &[],
        run: traversal,
    },
];

/// Sends `bytes` and returns the statuses of all that came back. The server must close.
fn statuses(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u16>> {
    let answer = http::exchange(server, bytes, PATIENCE)?;
    let text = String::from_utf8_lossy(&answer);
    let lines = text.split("HTTP/1.1 ").skip(1);
    Ok(lines
        .filter_map(|rest| rest.get(..3)?.parse().ok())
        .collect())
}

/// The request must be refused with one answer of the 400s or 500s, and nothing after it read.
fn refused(server: SocketAddr, name: &str, request: &[u8]) -> Result<u16> {
    let start = std::time::Instant::now();
    let statuses = statuses(server, request).with_context(|| name.to_owned())?;
    ensure!(
        start.elapsed() < PATIENCE,
        "{name}: the connection was not closed"
    );
    let [status] = statuses[..] else {
        anyhow::bail!("{name}: {} answers: {statuses:?}", statuses.len());
    };
    ensure!(
        (400..600).contains(&status),
        "{name}: it was answered with {status}"
    );
    Ok(status)
}

fn smuggling(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    let inside = "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = inside.len();
    let fields = [
        (
            "length and chunks",
            format!("Content-Length: {long}\r\nTransfer-Encoding: chunked"),
        ),
        (
            "chunks and length",
            format!("Transfer-Encoding: chunked\r\nContent-Length: {long}"),
        ),
        (
            "two lengths",
            "Content-Length: 5\r\nContent-Length: 6".into(),
        ),
        ("a list of lengths", "Content-Length: 5, 6".into()),
        ("a length with a sign", "Content-Length: +5".into()),
        ("a negative length", "Content-Length: -1".into()),
        ("a hexadecimal length", "Content-Length: 0x5".into()),
        ("an empty length", "Content-Length:".into()),
        (
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551617".into(),
        ),
        ("an unknown coding", "Transfer-Encoding: xchunked".into()),
        ("chunks not last", "Transfer-Encoding: chunked, gzip".into()),
        ("chunks twice", "Transfer-Encoding: chunked, chunked".into()),
        (
            "a coding with a control character",
            "Transfer-Encoding: \x0bchunked".into(),
        ),
        ("a space before the colon", "Content-Length : 5".into()),
        ("a folded line", "X-A: b\r\n Content-Length: 5".into()),
        ("a NUL in a value", "X-A: b\0c".into()),
        ("a field without a colon", "Content-Length".into()),
        ("a field without a name", ": 5".into()),
        ("two hosts", "Host: b".into()),
    ];
    for (name, field) in &fields {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{inside}");
        refused(server, name, request.as_bytes())?;
    }
    let lines = [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("no version", "GET /\r\nHost: a\r\n\r\n"),
        (
            "a version of the future",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        ),
        (
            "a target with a space",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("a method with a slash", "G/T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "no request at all",
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        ),
    ];
    for (name, request) in lines {
        refused(server, name, request.as_bytes())?;
    }
    still_serves(server)
}

fn oversize(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    let long = "a".repeat(200_000);
    let many: String = (0..5000).map(|n| format!("X-{n}: v\r\n")).collect();
    let requests = [
        (
            "a long target",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            &[414, 431][..],
        ),
        (
            "a long value",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            &[431],
        ),
        (
            "a long name",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: x\r\n\r\n"),
            &[431],
        ),
        (
            "many fields",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            &[431],
        ),
        (
            "a long method",
            format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            &[400, 414, 431, 501],
        ),
        (
            "a head without an end",
            format!("GET / HTTP/1.1\r\nX: {long}{long}"),
            &[431],
        ),
    ];
    for (name, request, expected) in &requests {
        let status = refused(server, name, request.as_bytes())?;
        ensure!(
            expected.contains(&status),
            "{name}: it was answered with {status}"
        );
    }
    still_serves(server)
}

fn traversal(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    for path in [
        "/../Cargo.toml",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..\\..\\etc\\passwd",
        "//etc/passwd",
        "/./././etc/passwd",
        "/index.html%00.txt",
        "/%",
        "/%zz",
        "/%ff%fe",
    ] {
        let status = http::get(server, path, PATIENCE)?.status;
        ensure!(
            [400, 404].contains(&status),
            "{path} was answered with {status}"
        );
    }
    still_serves(server)
}

fn still_serves(server: SocketAddr) -> Result<()> {
    let status = http::get(server, "/", Duration::from_secs(5))?.status;
    ensure!(status == 200, "afterwards `/` was answered with {status}");
    Ok(())
}

//! What two implementations could read differently is refused, and the connection closed.

mod common;

use common::{Lab, talk};
use mirage_http::Limits;
use std::time::Duration;

/// The request is refused with `status`, nothing after it is looked at, and the connection
/// closes in order although the client keeps its side open.
fn refused(status: u16, request: &[u8]) {
    let smuggled = b"GET /hello HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    let outcome = talk(
        Lab,
        Limits::default(),
        &[&[request, smuggled].concat()],
        false,
    );
    let shown = String::from_utf8_lossy(request);
    assert_eq!(outcome.statuses(), [status], "{shown:?}: {outcome:?}");
    assert!(
        outcome.text().contains("\r\nConnection: close\r\n"),
        "{shown:?}"
    );
    assert_eq!(outcome.end, Ok(()), "{shown:?}");
    assert!(
        outcome.at < Duration::from_secs(1),
        "{shown:?}: {:?}",
        outcome.at
    );
}

fn with(fields: &str) -> Vec<u8> {
    format!("POST /hello HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn lengths_that_contradict_each_other_or_are_no_numbers_are_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ] {
        refused(400, &with(fields));
    }
}

#[test]
fn a_transfer_coding_other_than_exactly_chunked_is_refused() {
    for fields in [
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        refused(400, &with(fields));
    }
    // RFC 9112 §6.1: a coding that is not understood, where the end is still clear.
    refused(501, &with("Transfer-Encoding: gzip, chunked\r\n"));
    refused(
        400,
        b"POST /hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

#[test]
fn lines_that_are_not_as_the_grammar_has_them_are_refused() {
    for request in [
        &b"GET /hello HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET /hello HTTP/1.1\r\nHost: a\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: y\x7f\r\n\r\n",
        b"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n",
        b" GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET\t/hello\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello\r\nHost: a\r\n\r\n",
        b"GET /hello http/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello HTTP/1\r\nHost: a\r\n\r\n",
        b"G@T /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        refused(400, request);
    }
}

#[test]
fn a_request_has_one_valid_host() {
    for request in [
        &b"GET /hello HTTP/1.1\r\n\r\n"[..],
        b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        b"GET http://a/hello HTTP/1.1\r\n\r\n",
        b"GET http://a/hello HTTP/1.1\r\nHost: a@b\r\n\r\n",
    ] {
        refused(400, request);
    }
}

#[test]
fn a_target_that_is_none_is_refused() {
    for target in [
        "hello",
        "*",
        "a:80",
        "/a#b",
        "/%",
        "/%2",
        "/%zz",
        "/a\u{e9}",
        "/\"",
        "/<a>",
        "/a\\b",
        "ftp://a/",
        "http://u@a/",
        "http:///a",
        "//",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        // Two slashes are a path like any other, only nothing is there.
        match target {
            "//" => assert_eq!(common::ask(request).statuses(), [404]),
            _ => refused(400, request.as_bytes()),
        }
    }
    refused(501, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
}

#[test]
fn another_version_is_refused_by_its_own_status() {
    refused(505, b"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n");
    refused(505, b"GET /hello HTTP/0.9\r\nHost: a\r\n\r\n");
    refused(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn chunks_that_are_not_as_the_grammar_has_them_are_refused() {
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r0\r\n\r\n",
        "1\r\r\na\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "00000000000000001\r\na\r\n",
        "1;\r\na\r\n",
        "1;=x\r\na\r\n",
        "1;a=\r\na\r\n",
        "1;a=\"x\r\na\r\n",
        "1;a=\"x\ny\"\r\na\r\n",
        "1;a b\r\na\r\n",
        "1;a=b c\r\na\r\n",
        "1;a\x00\r\na\r\n",
        "1;a\na\r\n",
        "1,a\r\na\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\n\n",
        "0\r\nX: y\x00\r\n\r\n",
    ] {
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(400, format!("{head}{body}").as_bytes());
    }
}

#[test]
fn heads_beyond_the_limits_are_refused_by_their_own_status() {
    let host = "Host: a\r\n";
    let long = "x".repeat(9000);
    refused(
        414,
        format!("GET /{long} HTTP/1.1\r\n{host}\r\n").as_bytes(),
    );
    refused(414, long.as_bytes());
    refused(
        431,
        format!("GET / HTTP/1.1\r\n{host}X: {long}\r\nY: {long}\r\n\r\n").as_bytes(),
    );
    refused(
        431,
        format!("GET / HTTP/1.1\r\n{host}X: {long}{long}").as_bytes(),
    );
    refused(
        431,
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)).as_bytes(),
    );
    assert_eq!(
        common::ask(format!(
            "GET /hello HTTP/1.1\r\n{host}{}\r\n",
            "X: y\r\n".repeat(99)
        ))
        .statuses(),
        [200]
    );
    let endless = format!("5;{}", "x".repeat(20_000));
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(400, format!("{chunked}{endless}").as_bytes());
    refused(
        400,
        format!("{chunked}0\r\nX: {}", "x".repeat(20_000)).as_bytes(),
    );
    refused(
        400,
        format!("{chunked}{}", "1;abcdefgh\r\na\r\n".repeat(2000)).as_bytes(),
    );
}

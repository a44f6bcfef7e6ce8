//! A folder of files as a website.

mod common;

use common::{Outcome, connect, converse};
use mirage_device::{Asset, Assets, Encoding};
use mirage_http::{Limits, files};
use std::time::Duration;

/// The content of `page.txt`, and a stand-in for its gzip.
const PAGE: &[u8] = b"0123456789";
const ZIPPED: &[u8] = b"zipped";

#[derive(Clone, Copy)]
struct Site {
    has_404: bool,
}

impl Assets for Site {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        let html = |bytes| Some(Asset::new(bytes, "text/html", "h"));
        match path {
            "index.html" => html(b"home"),
            "docs/index.html" => html(b"docs"),
            "a b/\u{e9}.html" => html(b"encoded"),
            "404.html" if self.has_404 => html(b"lost"),
            "page.txt" => {
                Some(Asset::new(PAGE, "text/plain", "t").with_encoded(Encoding::Gzip, ZIPPED))
            }
            "dated.txt" => {
                let mut asset = Asset::new(PAGE, "text/plain", "d");
                asset.modified = Some(Duration::from_secs(784_111_777));
                Some(asset)
            }
            _ => None,
        }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        ["index.html", "docs/index.html", "page.txt"].into_iter()
    }
}

fn request(bytes: String, has_404: bool) -> Outcome {
    let simulation = common::world();
    let flow = connect(&simulation, files(Site { has_404 }), Limits::default());
    converse(&simulation, flow, &[bytes.as_bytes()], true)
}

fn ask(method: &str, path: &str, fields: &str) -> String {
    let bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    request(bytes, false).text().to_owned()
}

fn get(path: &str, fields: &str) -> String {
    ask("GET", path, fields)
}

const HOME: &str = "HTTP/1.1 200 OK\r\nETag: \"h\"\r\nContent-Type: text/html\r\n\
    Accept-Ranges: bytes\r\nContent-Length: 4\r\n\r\n";

#[test]
fn folders_are_their_index_and_paths_are_decoded() {
    assert_eq!(get("/", ""), format!("{HOME}home"));
    assert_eq!(get("/?query", ""), format!("{HOME}home"));
    assert_eq!(get("/index.html", ""), format!("{HOME}home"));
    assert_eq!(get("/docs/", ""), format!("{HOME}docs"));
    assert_eq!(get("/d%6Fcs/", ""), format!("{HOME}docs"));
    assert!(get("/a%20b/%C3%A9.html", "").ends_with("encoded"));
    assert_eq!(ask("HEAD", "/", ""), HOME);
}

#[test]
fn a_folder_without_its_slash_is_redirected() {
    for (path, location) in [
        ("/docs", "/docs/"),
        ("/docs?a=b", "/docs/?a=b"),
        ("/d%6fcs", "/d%6fcs/"),
    ] {
        let answer = get(path, "");
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(
            answer.contains(&format!("\r\nLocation: {location}\r\n")),
            "{answer}"
        );
    }
    // Neither is this a way to another host.
    assert!(get("//docs", "").starts_with("HTTP/1.1 404 "));
}

#[test]
fn what_does_not_exist_is_not_found_and_what_cannot_exist_is_refused() {
    for path in [
        "/none",
        "/none/",
        "/docs//",
        "/page.txt/",
        "/index.html/x",
        "/Index.html",
    ] {
        assert!(get(path, "").starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(get(&format!("/{}", "x".repeat(2000)), "").starts_with("HTTP/1.1 404 "));
    for path in [
        "/..",
        "/../x",
        "/docs/..",
        "/docs/../index.html",
        "/./",
        "/%2e%2e/x",
        "/.%2E/",
        "/docs%2findex.html",
        "/a%5cb",
        "/page.txt%00",
        "/%0d%0aX",
        "/%ff",
    ] {
        assert!(get(path, "").starts_with("HTTP/1.1 400 "), "{path}");
    }
}

#[test]
fn a_page_of_its_own_tells_what_is_not_found() {
    let answer = request("GET /none HTTP/1.1\r\nHost: a\r\n\r\n".into(), true);
    assert!(answer.text().starts_with("HTTP/1.1 404 "));
    assert!(answer.text().contains("Content-Type: text/html") && answer.text().ends_with("lost"));
}

#[test]
fn files_can_only_be_read() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"] {
        let answer = ask(method, "/", "");
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    }
    for target in ["/", "*"] {
        assert_eq!(
            ask("OPTIONS", target, ""),
            "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS\r\n\r\n"
        );
    }
}

#[test]
fn who_prefers_gzip_gets_it_under_its_own_tag() {
    let plain = get("/page.txt", "");
    assert!(plain.contains("ETag: \"t\"") && plain.contains("Vary: Accept-Encoding"));
    assert!(plain.ends_with("0123456789") && !plain.contains("Content-Encoding"));
    let zipped = get("/page.txt", "Accept-Encoding: br, gzip;q=0.5\r\n");
    assert!(zipped.contains("ETag: \"t-z\"") && zipped.contains("Vary: Accept-Encoding"));
    assert!(zipped.contains("Content-Encoding: gzip") && zipped.contains("Content-Length: 6\r\n"));
    assert!(zipped.ends_with("\r\n\r\nzipped"));
    assert!(!get("/", "Accept-Encoding: gzip\r\n").contains("Vary"));
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let answer = get("/page.txt", "If-None-Match: \"x\", \"t\"\r\n");
    assert_eq!(
        answer,
        "HTTP/1.1 304 Not Modified\r\nETag: \"t\"\r\nVary: Accept-Encoding\r\n\r\n"
    );
    let zipped = "Accept-Encoding: gzip\r\nIf-None-Match: ";
    assert!(get("/page.txt", &format!("{zipped}\"t-z\"\r\n")).starts_with("HTTP/1.1 304 "));
    assert!(get("/page.txt", &format!("{zipped}\"t\"\r\n")).starts_with("HTTP/1.1 200 "));
    assert!(get("/page.txt", "If-Match: \"other\"\r\n").starts_with("HTTP/1.1 412 "));
    assert!(ask("HEAD", "/page.txt", "If-None-Match: *\r\n").starts_with("HTTP/1.1 304 "));
}

#[test]
fn dates_count_where_the_files_own_is_known() {
    let since = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let answer = get("/dated.txt", since);
    let expected = "HTTP/1.1 304 Not Modified\r\nETag: \"d\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    assert_eq!(answer, expected);
    assert!(get("/page.txt", since).starts_with("HTTP/1.1 200 "));
}

#[test]
fn one_range_is_served_and_several_are_answered_with_the_whole() {
    let part = get("/page.txt", "Range: bytes=2-4\r\nAccept-Encoding: gzip\r\n");
    assert!(
        part.starts_with("HTTP/1.1 206 Partial Content\r\nETag: \"t\"\r\n"),
        "{part}"
    );
    assert!(part.contains("\r\nContent-Range: bytes 2-4/10\r\n") && part.ends_with("\r\n\r\n234"));
    let several = get("/page.txt", "Range: bytes=0-0,5-6\r\n");
    assert!(several.starts_with("HTTP/1.1 200 ") && several.ends_with("0123456789"));
    let none = get("/page.txt", "Range: bytes=10-\r\n");
    assert!(none.starts_with("HTTP/1.1 416 ") && none.contains("Content-Range: bytes */10\r\n"));
    assert!(ask("HEAD", "/page.txt", "Range: bytes=2-4\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_range_of_another_version_is_answered_with_the_whole() {
    let range = "Range: bytes=2-4\r\nIf-Range: ";
    assert!(get("/page.txt", &format!("{range}\"t\"\r\n")).starts_with("HTTP/1.1 206 "));
    assert!(get("/page.txt", &format!("{range}\"t-z\"\r\n")).starts_with("HTTP/1.1 200 "));
    assert!(get("/page.txt", &format!("{range}W/\"t\"\r\n")).starts_with("HTTP/1.1 200 "));
}

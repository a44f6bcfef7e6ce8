//! Who may do what: tokens, web pages, TLS.

mod common;

use std::process::Command;
use std::sync::Arc;

use common::{Served, ada};
use irmin::{Format, Memory};
use irmin_serve::{Options, Tls, Tokens};
use serde_json::json;

const ROOT: &str = "root-token-0123456789";
const ADA: &str = "ada-token-01234567890";

fn guarded() -> Served {
    let tokens = Tokens::parse(&format!(
        "{ROOT} read=* write=*\n{ADA} read=main write=ada/*\n"
    ))
    .unwrap();
    let options = Options {
        tokens: Some(tokens),
        ..Options::default()
    };
    Served::new(Arc::new(Memory::new(Format::GitSha1)), options)
}

#[test]
fn a_token_reaches_its_own_branches_and_of_the_others_not_even_their_names() {
    let served = guarded();
    let call = |token: &str, method: &str, path: &str, body: serde_json::Value| {
        let bearer = format!("Authorization: Bearer {token}");
        served.curl(
            &format!("/api/v1{path}"),
            &[
                "-X",
                method,
                "-H",
                &bearer,
                "--data-binary",
                &body.to_string(),
            ],
        )
    };
    let commit = |token: &str, branch: &str, text: &str| {
        let edits = json!([{ "op": "set", "path": "x", "text": text }]);
        call(
            token,
            "POST",
            "/commits",
            json!({ "branch": branch, "message": "m\n", "author": ada(), "edits": edits }),
        )
    };
    let get = |token: &str, path: &str| call(token, "GET", path, json!(null));
    let main = commit(ROOT, "main", "1").json()["commit"]
        .as_str()
        .unwrap()
        .to_string();
    let secret = commit(ROOT, "secret", "2").json()["commit"]
        .as_str()
        .unwrap()
        .to_string();
    for wrong in ["wrong-token-0123456789", ""] {
        let answer = get(wrong, "/branches");
        assert!(
            answer.status == 401
                && answer
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Basic ")
        );
    }
    assert_eq!(served.get("").status, 401);
    let basic = served.curl("/api/v1/branches/secret", &["-u", &format!("x:{ROOT}")]);
    assert_eq!(basic.status, 200);
    // Ada's branches are those of her patterns.
    assert_eq!(commit(ADA, "ada/notes", "3").status, 201);
    assert_eq!(commit(ADA, "main", "3").status, 403);
    assert_eq!(commit(ADA, "secret", "3").status, 403);
    let lines = get(ADA, "/branches").lines();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["branch"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["ada/notes", "main"]
    );
    assert_eq!(get(ADA, &format!("/contents/x?at={main}")).text(), "1");
    // What she may not read is answered as what is not there.
    let none = get(ADA, "/contents/x?at=nothing");
    for at in [
        "secret",
        "refs/heads/secret",
        &secret,
        &secret[..8],
        "secret~0",
        &format!("{secret}^0"),
    ] {
        let answer = get(ADA, &format!("/contents/x?at={at}"));
        assert_eq!(
            (answer.status, answer.text().replace(at, "nothing")),
            (404, none.text()),
            "{at}"
        );
        assert_eq!(
            get(ADA, &format!("/merge?ours=main&theirs={at}")).status,
            404
        );
        assert_eq!(
            call(
                ADA,
                "PUT",
                "/branches/ada/take",
                json!({ "commit": at, "expect": null })
            )
            .status,
            404
        );
    }
    assert_eq!(get(ADA, "/watch?branch=secret").status, 404);
    assert_eq!(get(ADA, "/branches/secret").status, 404);
    assert_eq!(
        call(
            ADA,
            "DELETE",
            &format!("/branches/main?expect={main}"),
            json!(null)
        )
        .status,
        403
    );
    assert_eq!(
        call(
            ADA,
            "PUT",
            "/branches/ada/take",
            json!({ "commit": main, "expect": null })
        )
        .status,
        201
    );
}

#[test]
fn a_web_page_needs_leave_to_use_the_server() {
    let options = Options {
        origins: vec!["https://app.example.org".into()],
        ..Options::default()
    };
    let served = Served::new(Arc::new(Memory::new(Format::GitSha1)), options);
    let from = |header: &str| served.curl("/api/v1", &["-H", header]);
    assert_eq!(from("Host: evil.example.org").status, 421);
    assert_eq!(from("Origin: https://evil.example.org").status, 403);
    let allowed = from("Origin: https://app.example.org");
    assert_eq!(
        (
            allowed.status,
            allowed.header("access-control-allow-origin")
        ),
        (200, Some("https://app.example.org"))
    );
    let before = served.curl(
        "/api/v1/commits",
        &[
            "-X",
            "OPTIONS",
            "-H",
            "Origin: https://app.example.org",
            "-H",
            "Access-Control-Request-Method: POST",
        ],
    );
    assert!(
        before.status == 204
            && before
                .header("access-control-allow-methods")
                .unwrap()
                .contains("POST")
    );
    let refused = served.curl(
        "/api/v1/commits",
        &["-X", "OPTIONS", "-H", "Origin: https://evil.example.org"],
    );
    assert!(refused.status == 403 && refused.header("access-control-allow-origin").is_none());
}

#[test]
fn tls_is_spoken_with_the_certificate_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl")
            .args(args)
            .output()
            .expect("openssl can be run");
        assert!(output.status.success(), "{output:?}");
    };
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        names,
        "-keyout",
        &key,
        "-out",
        &cert,
    ]);
    let read = |name: &str| std::fs::read(name).unwrap();
    let tls = Tls::new(&read(&cert), &read(&key)).unwrap();
    let served = Served::new(
        Arc::new(Memory::new(Format::GitSha1)),
        Options {
            tls: Some(tls),
            ..Options::default()
        },
    );
    assert!(served.url.starts_with("https://"));
    assert_eq!(served.curl("/api/v1", &["--cacert", &cert]).status, 200);
    assert_eq!(
        served
            .curl("/api/v1", &["--cacert", &cert, "--tls-max", "1.2"])
            .status,
        200
    );
    let unknown = served.curl("/api/v1", &[]);
    assert_eq!(
        (unknown.status, unknown.curl),
        (0, Some(60)),
        "nobody vouches for it"
    );
    let plain = Command::new("curl")
        .args(["-s", &served.url.replace("https", "http")])
        .output()
        .unwrap();
    assert!(!plain.status.success());
    assert_eq!(
        served.curl("/api/v1", &["--cacert", &cert]).status,
        200,
        "and it goes on"
    );
    let other = path("other.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &other]);
    for (cert, key) in [
        (read(&cert), read(&other)),
        (vec![], read(&key)),
        (read(&key), read(&key)),
        (read(&cert), read(&cert)),
    ] {
        assert!(Tls::new(&cert, &key).is_err());
    }
}

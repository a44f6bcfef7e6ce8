//! Git with and without tokens, and bodies that no git sends.

mod common;

use std::sync::Arc;

use common::Served;
use common::git::{Place, VERSIONS, set, url};
use irmin::{Format, Memory};
use irmin_serve::Options;

#[test]
fn tokens_hide_names_and_guard_pushes_from_git_too() {
    let tokens = "root-token-0123456789 write=*\nada-token-01234567890 read=main write=ada/*\nread-token-0123456789 read=*\n";
    let tokens = irmin_serve::Tokens::parse(tokens).unwrap();
    let served = Served::new(
        Arc::new(Memory::new(Format::GitSha1)),
        Options {
            tokens: Some(tokens),
            ..Options::default()
        },
    );
    let (place, url) = (Place::new(), url(&served));
    let as_who = |token: &str| format!("http.extraHeader=Authorization: Bearer {token}");
    let (root, ada, reader) = (
        as_who("root-token-0123456789"),
        as_who("ada-token-01234567890"),
        as_who("read-token-0123456789"),
    );
    let work = place.path("work");
    place.git(&place.path(""), &["init", "-q", "-b", "main", "work"]);
    place.git(&work, &["commit", "-q", "--allow-empty", "-m", "one"]);
    place.git(&work, &["commit", "-q", "--allow-empty", "-m", "secret"]);
    place.git(
        &work,
        &[
            "-c",
            &root,
            "push",
            "-q",
            &url,
            "main~1:refs/heads/main",
            "main:refs/heads/secret",
            "main:refs/tags/hidden",
        ],
    );
    let secret = place.git(&work, &["rev-parse", "main"]);
    assert!(
        place
            .fails(&work, &["ls-remote", &url])
            .contains("could not read Username"),
        "git is asked for a password"
    );
    let with_password = url.replace("http://", "http://ada:ada-token-01234567890@");
    for version in VERSIONS {
        let version_arg = format!("protocol.version={version}");
        let names = place.git(
            &work,
            &["-c", &version_arg, "ls-remote", "-q", &with_password],
        );
        let names: Vec<&str> = names
            .lines()
            .filter_map(|line| line.split('\t').nth(1))
            .collect();
        assert_eq!(names, ["HEAD", "refs/heads/main"]);
        let dir = format!("ada{version}");
        place.git(
            &place.path(""),
            &["-c", &version_arg, "-c", &ada, "clone", "-q", &url, &dir],
        );
        // By id neither: not what is here, not what is not.
        for id in [secret.as_str(), &"1".repeat(40)] {
            let said = place.fails(
                &place.path(&dir),
                &["-c", &version_arg, "-c", &ada, "fetch", &url, id],
            );
            assert!(said.contains(&format!("not our ref {id}")), "{said}");
        }
        place.git(
            &place.path(&dir),
            &[
                "-c",
                &version_arg,
                "-c",
                &reader,
                "fetch",
                "-q",
                &url,
                &secret,
            ],
        );
    }
    let mine = place.path("ada2");
    place.git(&mine, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    place.git(
        &mine,
        &["-c", &ada, "push", "-q", &url, "HEAD:refs/heads/ada/notes"],
    );
    assert!(
        place
            .fails(&mine, &["-c", &ada, "push", &url, "HEAD:refs/heads/main"])
            .contains("this token may not write it")
    );
    assert!(
        place
            .fails(
                &mine,
                &[
                    "-c",
                    &ada,
                    "push",
                    "--force",
                    &url,
                    "HEAD:refs/heads/secret"
                ]
            )
            .contains("not among the names")
    );
    place.fails(&mine, &["-c", &reader, "push", &url, "HEAD:refs/heads/x"]);
}

#[test]
fn bodies_that_are_cut_swell_or_are_of_another_kind_do_no_harm() {
    let limits = irmin_serve::Limits {
        body: 1 << 20,
        pack: 1 << 20,
        ..Default::default()
    };
    let served = Served::new(
        Arc::new(Memory::new(Format::GitSha1)),
        Options {
            limits,
            ..Options::default()
        },
    );
    let main = served.commit("main", set("a", "0"));
    let ask = |service: &str, args: &[&str], body: Vec<u8>| {
        let kind = format!("Content-Type: application/x-{service}-request");
        let mut all = vec!["-X", "POST", "-H", &kind, "--data-binary", "@-"];
        all.extend(args);
        served.curl_with(&format!("/store.git/{service}"), &all, body)
    };
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let request = format!("0032want {main}\n00000009done\n").into_bytes();
    let packed = ["-H", "Content-Encoding: gzip"];
    assert!(
        ask("git-upload-pack", &[], request.clone())
            .text()
            .contains("PACK")
    );
    assert!(
        ask("git-upload-pack", &packed, gzip(&request))
            .text()
            .contains("PACK")
    );
    // A thousand bytes that unpack to a million lines.
    let bomb = [
        format!("0032want {main}\n0000").as_bytes(),
        &format!("0032have {}\n", "1".repeat(40))
            .into_bytes()
            .repeat(1 << 20),
    ]
    .concat();
    let answer = ask("git-upload-pack", &packed, gzip(&bomb));
    assert!(
        answer.status == 200 && answer.text().contains("larger than this server takes"),
        "{:?}",
        answer.text()
    );
    let zeros = [
        format!(
            "0099{} {main} refs/heads/x\0report-status0000",
            "0".repeat(40)
        )
        .as_bytes(),
        &vec![0; 2 << 20],
    ]
    .concat();
    assert!(
        !ask("git-receive-pack", &[], zeros)
            .text()
            .contains("ok refs")
    );
    for cut in [1, 5, 40, request.len() - 1] {
        let answer = ask(
            "git-upload-pack",
            &packed,
            gzip(&request)[..cut.min(30)].to_vec(),
        );
        assert!(!answer.text().contains("PACK"));
        ask("git-upload-pack", &[], request[..cut].to_vec());
    }
    for (path, args, status) in [
        ("/store.git/info/refs", &[][..], 403),
        ("/store.git/info/refs?service=git-other", &[], 403),
        ("/store.git/../../etc/passwd", &[], 404),
        ("/store.git/objects/info/packs", &[], 404),
        ("/store.git/HEAD", &[], 404),
        ("/other.git/info/refs?service=git-upload-pack", &[], 404),
        ("/store.git/git-upload-pack", &[], 405),
        ("/store.git/git-upload-pack", &["-d", "x"], 415),
        (
            "/store.git/git-upload-pack",
            &[
                "-d",
                "x",
                "-H",
                "Content-Type: application/x-git-upload-pack-request",
                "-H",
                "Content-Encoding: br",
            ],
            415,
        ),
    ] {
        assert_eq!(served.curl(path, args).status, status, "{path} {args:?}");
    }
    assert_eq!(served.get("/branches").lines().len(), 1, "and it goes on");
}

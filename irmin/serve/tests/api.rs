//! The JSON interface, asked with the real curl.

mod common;

use common::{Served, ada};
use irmin::Format;
use serde_json::{Value, json};

const FORMATS: [Format; 3] = [Format::GitSha1, Format::GitSha256, Format::Native];

fn set(path: &str, text: &str) -> Value {
    json!({ "op": "set", "path": path, "text": text })
}

#[test]
fn what_is_committed_is_read_back_by_branch_commit_and_path() {
    for format in FORMATS {
        let served = Served::memory(format);
        let first = served.commit("main", json!([set("greeting/en", "hello"), set("a", "1")]));
        let second = served.commit(
            "main",
            json!([
                { "op": "rename", "path": "a", "to": "b" },
                { "op": "set", "path_hex": "ff2f00".replace("00", "78"), "text_hex": "00ff" },
                { "op": "set", "path": "run", "text": "#!", "kind": "executable" },
            ]),
        );
        let got = served.get("/contents/greeting/en");
        assert_eq!((got.status, got.text().as_str()), (200, "hello"));
        let tag = got.header("etag").unwrap().to_string();
        let again = served.curl(
            "/api/v1/contents/greeting/en",
            &["-H", &format!("If-None-Match: {tag}")],
        );
        assert_eq!((again.status, again.body.len()), (304, 0), "{format:?}");
        assert_eq!(served.get(&format!("/contents/a?at={first}")).text(), "1");
        assert_eq!(served.get("/contents/b?at=main~0").text(), "1");
        assert_eq!(served.get("/contents/%ff/x").body, b"\0\xff");
        assert_eq!(
            served.get("/contents/run").header("x-irmin-kind"),
            Some("executable")
        );
        for (path, status) in [
            ("/contents/a", 404),
            ("/contents/greeting", 404),
            ("/contents/a//b", 400),
            ("/contents/../../etc/passwd", 404),
            ("/contents/%2e%2e/x", 404),
            ("/contents/%00", 400),
            ("/contents/%zz", 400),
            ("/contents/a?at=none", 404),
            ("/contents/a?what=x", 400),
            ("/nothing", 404),
            ("/../v1", 404),
        ] {
            let answer = served.get(path);
            assert_eq!(answer.status, status, "{path}");
            let value = answer.json();
            assert!(
                value["error"].is_string() && value["hint"].is_string(),
                "{path}: {value}"
            );
        }
        let list = served.get("/list").lines();
        let names: Vec<_> = list
            .iter()
            .map(|line| line["name"].as_str().or(line["name_hex"].as_str()).unwrap())
            .collect();
        assert_eq!(names, ["b", "greeting", "run", "ff"]);
        assert_eq!(
            served.get("/list?from=g&limit=1").lines()[0]["name"],
            "greeting"
        );
        assert_eq!(served.get("/list/greeting").lines()[0]["kind"], "file");
        let tree = served.get("/tree?limit=2").lines();
        assert_eq!((tree.len(), &tree[1]["path"]), (2, &json!("greeting/en")));
        assert_eq!(
            served.get("/tree/greeting").lines()[0]["path"],
            "greeting/en"
        );
        let log = served.get("/log").lines();
        assert_eq!(
            log.iter()
                .map(|line| line["commit"].as_str().unwrap())
                .collect::<Vec<_>>(),
            [&second, &first]
        );
        assert_eq!(
            (&log[0]["author"]["name"], &log[0]["parents"][0]),
            (&json!("Ada"), &json!(first))
        );
        let of = served.get("/log?path=greeting/en&limit=1").lines();
        assert_eq!((of.len(), &of[0]["commit"]), (1, &json!(first)));
        assert_eq!(served.get("/commits/main~1").json()["commit"], json!(first));
        let diff = served.get(&format!("/diff?old={first}&new=main")).lines();
        let of = |path: &str| diff.iter().find(|line| line["path"] == path).unwrap();
        assert_eq!(
            (diff.len(), &of("a")["new"], &of("run")["old"]),
            (4, &Value::Null, &Value::Null)
        );
        assert_eq!(
            served.get(&format!("/lcas?a={first}&b=main")).json()["lcas"],
            json!([first])
        );
        let head = served.curl("/api/v1/contents/greeting/en", &["-I"]);
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some("5"))
        );
    }
}

#[test]
fn a_transaction_happens_as_a_whole_on_the_head_that_it_expects() {
    let served = Served::memory(Format::GitSha256);
    let commit = |expect: Value, edits: Value| {
        let mut body =
            json!({ "branch": "main", "message": "m\n", "author": ada(), "edits": edits });
        if expect != json!("any") {
            body["expect"] = expect;
        }
        served.send("POST", "/commits", &body)
    };
    let first = commit(Value::Null, json!([set("a", "1")]));
    assert_eq!(first.status, 201, "{first:?}");
    let first = first.json()["commit"].clone();
    let late = commit(Value::Null, json!([set("a", "2")]));
    assert_eq!((late.status, &late.json()["found"]), (409, &first));
    let second = commit(first.clone(), json!([set("a", "2")]));
    assert_eq!((second.status, &second.json()["before"]), (201, &first));
    assert_eq!(commit(first.clone(), json!([set("a", "3")])).status, 409);
    let same = commit(json!("any"), json!([set("a", "2")]));
    assert_eq!(
        (same.status, &same.json()["commit"]),
        (200, &second.json()["commit"]),
        "no change, no commit"
    );
    for (edits, status) in [
        (json!([set("b", "1"), set("a/x", "1")]), 422),
        (
            json!([set("b", "1"), { "op": "remove", "path": "none" }]),
            422,
        ),
        (json!([set("b", "1"), set(".git/x", "1")]), 400),
        (json!([set("b", "1"), { "op": "move" }]), 400),
        (json!([set("b", "1"), { "op": "set", "path": "c" }]), 400),
    ] {
        let answer = commit(json!("any"), edits);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(
        served.get("/contents/b").status,
        404,
        "nothing of it happened"
    );
    assert_eq!(
        served
            .send("POST", "/commits", &json!({ "branch": "a..b" }))
            .status,
        400
    );
    for (key, value) in [
        ("time", json!(-1)),
        ("time", json!(i64::MAX)),
        ("offset", json!(2000)),
        ("name", json!(" <> ")),
        ("email", json!("")),
    ] {
        let mut author = ada();
        author[key] = value;
        let edits = json!([set("b", "1")]);
        let body = json!({ "branch": "main", "message": "m", "author": author, "edits": edits });
        assert_eq!(served.send("POST", "/commits", &body).status, 400, "{body}");
    }
    // Forty writers at once that expect nothing: none is lost.
    std::thread::scope(|threads| {
        for n in 0..40 {
            let served = &served;
            threads.spawn(move || served.commit("busy", json!([set(&format!("k{n}"), "v")])));
        }
    });
    assert_eq!(served.get("/list?at=busy").lines().len(), 40);
    assert_eq!(served.get("/log?at=busy").lines().len(), 40);
}

#[test]
fn branches_are_made_moved_and_deleted_only_from_where_they_are() {
    let served = Served::memory(Format::Native);
    let first = served.commit("main", json!([set("a", "1")]));
    let second = served.commit("main", json!([set("a", "2")]));
    let put = |body: Value| served.send("PUT", "/branches/topic/x", &body);
    assert_eq!(
        put(json!({ "commit": "main~1", "expect": null })).status,
        201
    );
    let taken = put(json!({ "commit": second, "expect": null }));
    assert_eq!((taken.status, &taken.json()["found"]), (409, &json!(first)));
    assert_eq!(
        put(json!({ "commit": second, "expect": first })).status,
        200
    );
    assert_eq!(put(json!({ "commit": second })).status, 400);
    assert_eq!(
        put(json!({ "commit": "0".repeat(64), "expect": second })).status,
        404
    );
    assert_eq!(
        served
            .send(
                "PUT",
                "/branches/topic",
                &json!({ "commit": second, "expect": null })
            )
            .status,
        409,
        "a directory of another"
    );
    let all = served.get("/branches").lines();
    assert_eq!(
        all,
        [
            json!({ "branch": "main", "commit": second }),
            json!({ "branch": "topic/x", "commit": second })
        ]
    );
    assert_eq!(served.get("/branches?prefix=topic/").lines().len(), 1);
    assert_eq!(
        served.get("/branches/topic/x").json()["commit"],
        json!(second)
    );
    let delete = |expect: &str| {
        served
            .curl(
                &format!("/api/v1/branches/topic/x?expect={expect}"),
                &["-X", "DELETE"],
            )
            .status
    };
    assert_eq!(
        (delete(&first), delete(&second), delete(&second)),
        (409, 200, 409)
    );
    assert_eq!(served.get("/branches/topic/x").status, 404);
    assert_eq!(
        served
            .curl("/api/v1/branches/main", &["-X", "PATCH"])
            .status,
        405
    );
}

#[test]
fn a_merge_is_tried_resolved_and_made() {
    for format in FORMATS {
        let served = Served::memory(format);
        let base = served.commit("main", json!([set("f", "1\n2\n3\n"), set("g", "x\n")]));
        served.send(
            "PUT",
            "/branches/topic",
            &json!({ "commit": base, "expect": null }),
        );
        served.commit("topic", json!([set("f", "1\n2\nthree\n"), set("g", "y\n")]));
        served.commit("main", json!([set("f", "one\n2\n3\n")]));
        let tried = served.get("/merge?ours=main&theirs=topic").json();
        assert_eq!(tried["conflicts"], json!([]));
        assert!(tried["tree"].is_string());
        let ours = served.commit("main", json!([set("g", "z\n")]));
        let tried = served.get("/merge?ours=main&theirs=topic").json();
        assert_eq!(
            (
                &tried["tree"],
                &tried["conflicts"][0]["path"],
                &tried["conflicts"][0]["why"]
            ),
            (&Value::Null, &json!("g"), &json!("contents"))
        );
        let merge = |resolve: Value| {
            served.send("POST", "/merge", &json!({ "branch": "main", "theirs": "topic", "message": "M\n", "author": ada(), "resolve": resolve }))
        };
        let refused = merge(json!([]));
        assert_eq!(
            (refused.status, &refused.json()["conflicts"]),
            (409, &tried["conflicts"])
        );
        assert_eq!(
            served.get("/branches/main").json()["commit"],
            json!(ours),
            "nothing moved"
        );
        assert_eq!(merge(json!([{ "path": "f" }])).status, 422);
        let made = merge(json!([{ "path": "g", "text": "yz\n" }]));
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(served.get("/contents/f").text(), "one\n2\nthree\n");
        assert_eq!(served.get("/contents/g").text(), "yz\n");
        assert_eq!(merge(json!([])).status, 200, "it is merged");
        served.commit("other", json!([set("z", "1")]));
        let unrelated = served.get("/merge?ours=main&theirs=other");
        assert_eq!(unrelated.status, 422, "{unrelated:?}");
    }
}

#[test]
fn merges_follow_renames() {
    for format in FORMATS {
        let served = Served::memory(format);
        let lines = |first: &str| format!("{first}\n2\n3\n4\n5\n6\n7\n8\n");
        let base = served.commit("main", json!([set("f", &lines("1"))]));
        served.send(
            "PUT",
            "/branches/topic",
            &json!({ "commit": base, "expect": null }),
        );
        served.commit("topic", json!([set("f", &lines("one"))]));
        served.commit("main", json!([{ "op": "rename", "path": "f", "to": "g" }]));
        let tried = served.get("/merge?ours=main&theirs=topic").json();
        assert!(tried["tree"].is_string(), "{tried:?}");
        let merge =
            json!({ "branch": "main", "theirs": "topic", "message": "M\n", "author": ada() });
        assert_eq!(served.send("POST", "/merge", &merge).status, 201);
        assert_eq!(served.get("/contents/g").text(), lines("one"));
        assert_eq!(served.get("/contents/f").status, 404);
    }
}

#[test]
fn limits_are_kept_and_told() {
    let limits = irmin_serve::Limits {
        body: 1000,
        ..Default::default()
    };
    let options = irmin_serve::Options {
        limits,
        ..Default::default()
    };
    let served = Served::new(
        std::sync::Arc::new(irmin::Memory::new(Format::GitSha1)),
        options,
    );
    let large = served.send("POST", "/commits", &json!({ "x": "y".repeat(2000) }));
    assert_eq!(
        (large.status, large.json()["error"].is_string()),
        (413, true)
    );
    let chunked = served.curl(
        "/api/v1/commits",
        &[
            "-X",
            "POST",
            "-H",
            "Transfer-Encoding: chunked",
            "--data-binary",
            &"y".repeat(2000),
        ],
    );
    assert_eq!(chunked.status, 413);
    let head = served.curl("/api/v1", &["-H", &format!("X: {}", "y".repeat(40_000))]);
    assert_eq!(head.status, 431);
    assert_eq!(served.get("").json()["format"], "sha1");
}

//! Names, logs and common ancestors, held against those of git.

mod common;

use common::{FORMATS, Place, Random};

#[test]
fn names_mean_what_git_takes_them_for() {
    for format in FORMATS {
        let place = Place::of_git(format);
        Random(3).history(&place, 24);
        place.git(&["tag", "-a", "v1", "-m", "v1", "c9"]);
        place.git(&["tag", "-a", "v2", "-m", "v2", "v1"]);
        place.git(&["branch", "topic/one", "c5"]);
        // A tag and a branch of one name: the tag comes first.
        place.git(&["tag", "both", "c3"]);
        place.git(&["update-ref", "refs/heads/both", "c4"]);
        place.git(&["update-ref", "refs/remotes/origin/main", "c6"]);
        place.git(&[
            "symbolic-ref",
            "refs/remotes/origin/HEAD",
            "refs/remotes/origin/main",
        ]);
        // A branch whose name looks like an abbreviated id.
        let short = place.git(&["rev-parse", "--short=7", "c8"]);
        place.git(&["update-ref", &format!("refs/heads/{short}"), "c2"]);
        place.git(&["pack-refs", "--all"]);
        let full = place.git(&["rev-parse", "c11"]);
        let names = [
            "HEAD",
            "@",
            "main",
            "refs/heads/main",
            "heads/main",
            "topic/one",
            "tags/v1",
            "v1",
            "v2",
            "v2^{}",
            "v2^{commit}",
            "v1~2",
            "main~3",
            "main^",
            "main^^",
            "main^0",
            "main~",
            "main~0",
            "@~2^1",
            "both",
            "heads/both",
            "origin",
            "origin/main",
            &full[..6],
            &full[..12],
            &full,
            &full.to_uppercase()[..9],
            &short,
            "v1-3-gffff",
        ];
        for name in names {
            let wanted =
                place.try_git(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")]);
            let (code, out, error) = place.try_irmin(&["lcas", name, name]);
            match wanted.0 {
                0 => assert_eq!((code, out), (0, wanted.1), "{name}: {error}"),
                _ => assert_eq!((code, &out[..]), (3, ""), "{name}"),
            }
        }
        for at in 0..24 {
            let name = format!("c{at}^2");
            let wanted = place.try_git(&["rev-parse", "-q", "--verify", &name]);
            let (code, out, _) = place.try_irmin(&["lcas", &name, &name]);
            assert_eq!((code == 0, out), (wanted.0 == 0, wanted.1), "{name}");
        }
        for wrong in [
            "main^{tree}",
            "main:a",
            "main~x",
            "@{1}",
            "c0~1",
            "",
            "..",
            "ab",
            "c1^9",
        ] {
            let (code, out, error) = place.try_irmin(&["lcas", wrong, "main"]);
            assert!((2..4).contains(&code) && out.is_empty(), "{wrong}: {error}");
        }
        let tree = place.git(&["rev-parse", "main^{tree}"]);
        let (code, _, error) = place.try_irmin(&["log", &tree]);
        assert_eq!(code, 3);
        assert!(error.contains("is a tree, and no commit"), "{error}");
    }
}

#[test]
fn common_ancestors_are_those_of_git() {
    for (format, seed) in [("sha1", 11), ("sha256", 12)] {
        let place = Place::of_git(format);
        let mut random = Random(seed);
        random.history(&place, 60);
        place.git(&["commit-graph", "write", "--reachable"]);
        for round in 0..40 {
            let [a, b] = [0, 1].map(|_| format!("c{}", random.below(60)));
            let mut wanted: Vec<String> = place
                .git(&["merge-base", "--all", &a, &b])
                .lines()
                .map(Into::into)
                .collect();
            wanted.sort();
            let found = place.irmin(&["lcas", &a, &b]);
            assert_eq!(
                found,
                wanted.join("\n"),
                "seed {seed}, round {round}: {a} {b}"
            );
        }
    }
}

#[test]
fn unrelated_histories_have_no_common_ancestor() {
    let place = Place::new("sha1", &[]);
    place.irmin(&["set", "a", "x"]);
    place.irmin(&["set", "a", "y", "--branch", "other"]);
    assert_eq!(place.try_irmin(&["lcas", "main", "other"]).0, 1);
    let (code, out, error) = place.try_irmin(&["merge", "--dry-run", "main", "other"]);
    assert_eq!((code, &out[..]), (3, ""));
    assert!(error.contains("no common ancestor"), "{error}");
}

#[test]
fn logs_are_those_of_git() {
    let place = Place::of_git("sha1");
    let mut random = Random(21);
    random.history(&place, 50);
    for path in ["", "a", "d", "d/e/b", "ü", "nothing"] {
        let mut ours = vec!["log", "c49", "--json"];
        let mut gits = vec!["log", "--format=%H", "c49"];
        if !path.is_empty() {
            ours.extend(["--", path]);
            gits.extend(["--", path]);
        }
        let lines = place.irmin(&ours);
        let ids: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|commit| commit["commit"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(ids.join("\n"), place.git(&gits), "{path}");
    }
    let text = place.irmin(&["log", "-n", "3"]);
    assert_eq!(text, place.git(&["log", "-n", "3", "--date=iso"]));
}

#[test]
fn branches_are_listed_with_the_current_one_marked() {
    let place = Place::new("sha1", &[]);
    assert_eq!(place.irmin(&["branches"]), "");
    let id = place.irmin(&["set", "a", "x"]);
    place.git(&["branch", "before"]);
    assert_eq!(
        place.irmin(&["branches"]),
        format!("  before {id} Set a\n* main {id} Set a")
    );
    assert_eq!(
        place.irmin(&["branches", "--json"]).lines().next().unwrap(),
        format!(r#"{{"branch":"before","commit":"{id}","current":false,"subject":"Set a"}}"#)
    );
}

#[test]
fn branches_are_made_and_deleted_without_losing_commits() {
    let place = Place::new("sha1", &[]);
    assert_eq!(place.try_irmin(&["branches", "--create", "topic"]).0, 1);
    let first = place.irmin(&["set", "a", "x"]);
    let second = place.irmin(&["set", "a", "y"]);
    assert_eq!(
        place.irmin(&["branches", "--create", "topic", "--at", "main~"]),
        first
    );
    assert_eq!(place.git(&["rev-parse", "topic"]), first);
    let third = place.irmin(&["set", "b", "z", "--branch", "topic"]);
    for args in [
        &["--create", "topic"][..],
        &["--create", "topic/x"],
        &["--create", "a..b"],
        &["--create", "x", "--delete", "topic"],
        &["--at", "main"],
        &["--delete", "topic"],
        &["--delete", "main"],
    ] {
        let (code, out, error) = place.try_irmin(&[&["branches"], args].concat());
        assert!(
            (1..3).contains(&code) && out.is_empty(),
            "{args:?}: {error}"
        );
    }
    assert_eq!(place.try_irmin(&["branches", "--delete", "nobody"]).0, 1);
    assert_eq!(
        place.git(&["rev-parse", "main", "topic"]),
        format!("{second}\n{third}")
    );
    assert_eq!(
        place.irmin(&["branches", "--delete", "topic", "--force"]),
        third
    );
    place.irmin(&["branches", "--create", "old", "--at", &first]);
    place.git(&["pack-refs", "--all"]);
    assert_eq!(place.irmin(&["branches", "--delete", "old"]), first);
    assert_eq!(place.git(&["branch", "--format=%(refname:short)"]), "main");
    place.fsck();
}

#[test]
fn a_graph_has_every_commit_and_parent() {
    let place = Place::of_git("sha1");
    Random(5).history(&place, 20);
    let graph = place.irmin(&["dot"]);
    let lines = place.git(&["rev-list", "--all", "--parents"]);
    let mut edges = 0;
    for line in lines.lines() {
        let (commit, parents) = line.split_once(' ').unwrap_or((line, ""));
        assert!(
            graph.contains(&format!("\"{commit}\" [label=\"")),
            "{commit}"
        );
        for parent in parents.split(' ').filter(|parent| !parent.is_empty()) {
            edges += 1;
            assert!(graph.contains(&format!("\"{commit}\" -> \"{parent}\";")));
        }
    }
    assert_eq!(graph.matches(" -> ").count(), edges);
    assert!(graph.contains("c19") && graph.contains("main"));
    assert_eq!(
        place
            .irmin(&["dot", "main", "-n", "3"])
            .matches("[label=")
            .count(),
        3
    );
}

#[test]
fn each_name_is_told_with_the_commit_that_git_finds_to_have_changed_it_last() {
    for format in common::FORMATS {
        let place = Place::of_git(format);
        Random(31).history(&place, 60);
        let last = |path: &str| {
            let shown = place.git(&["log", "-1", "--format=%H %ct", "main", "--", path]);
            let (id, seconds) = shown.split_once(' ').unwrap();
            (id.to_string(), seconds.to_string())
        };
        for (command, key) in [("ls", "name"), ("tree", "path")] {
            let listed = place.irmin(&[command, "--at", "main", "--json", "--last-modified"]);
            assert!(listed.lines().count() > 3);
            for line in listed.lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let (id, seconds) = last(value[key].as_str().unwrap());
                assert_eq!(value["commit"], id, "{line}");
                assert_eq!(value["seconds"].to_string(), seconds, "{line}");
            }
        }
        let shown = place.irmin(&["tree", "--at", "main", "-l"]);
        for line in shown.lines() {
            let [date, id, path] = line.splitn(3, "  ").collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let path = path.trim_matches('"');
            assert!(date.starts_with("2015-04-20 ") && date.ends_with(" +0000"));
            assert!(
                path.contains('\\') || last(path).0.starts_with(id),
                "{line}"
            );
        }
        let any = place.irmin(&["log", "main", "--json", "--", "a", "d/e"]);
        let ids = any.lines().map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["commit"].as_str().unwrap().to_string()
        });
        assert_eq!(
            ids.collect::<Vec<_>>().join("\n"),
            place.git(&["log", "--format=%H", "main", "--", "a", "d/e"])
        );
    }
}

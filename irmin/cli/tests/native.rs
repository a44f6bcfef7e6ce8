//! Native stores: every command works on them as it does on Git repositories.

mod common;

use common::{Place, Random, feed};

const ALL: [&str; 3] = ["sha1", "sha256", "native"];

#[test]
fn contents_are_written_and_read_in_stores_of_every_format() {
    for format in ALL {
        let place = Place::new(format, &[]);
        let first = place.irmin(&["set", "a/b", "x", "-m", "One", "--author", "Eve <e@f>"]);
        place.irmin(&["set", "a/c", "y"]);
        place.irmin(&["rm", "a/b"]);
        assert_eq!(place.irmin(&["get", "a/c"]), "y");
        assert_eq!(place.try_irmin(&["get", "a/b"]).0, 1);
        assert_eq!(place.irmin(&["get", "a/b", "--at", "main~1"]), "x");
        assert_eq!(place.irmin(&["ls"]), "a/");
        assert_eq!(place.irmin(&["tree"]), "a/c");
        assert_eq!(place.irmin(&["diff", "main~2", "main"]), "D\ta/b\nA\ta/c");
        let log = place.irmin(&["log", "-n", "1", &first[..9]]);
        assert!(
            log.contains("Author: Eve <e@f>") && log.contains("    One"),
            "{log}"
        );
        let large = "large\n".repeat(100_000);
        let (code, _, _) = feed(place.irmin_command(&["set", "big"]), large.as_bytes());
        assert_eq!(code, 0);
        assert_eq!(place.irmin(&["get", "big"]) + "\n", large);
    }
}

#[test]
fn branches_merge_in_stores_of_every_format() {
    for format in ALL {
        let place = Place::new(format, &[]);
        let base = place.irmin(&["set", "f", "1\n2\n3\n4\n5\n"]);
        place.irmin(&["branches", "--create", "topic"]);
        place.irmin(&["set", "f", "1\n2\n3\n4\nfive\n", "--branch", "topic"]);
        place.irmin(&["set", "f", "one\n2\n3\n4\n5\n"]);
        assert_eq!(place.irmin(&["lcas", "main", "topic"]), base);
        let tree = place.irmin(&["merge", "--dry-run", "main", "topic"]);
        place.irmin(&["merge", "topic"]);
        assert!(place.irmin(&["log", "-n", "1", "--json"]).contains(&tree));
        assert_eq!(place.irmin(&["get", "f"]), "one\n2\n3\n4\nfive");
        place.irmin(&["set", "f", "x", "--branch", "topic"]);
        place.irmin(&["set", "f", "y"]);
        let (code, out, _) = place.try_irmin(&["merge", "topic"]);
        assert_eq!((code, &out[..]), (1, "f\n"));
        place.irmin(&["branches", "--delete", "topic", "--force"]);
        assert!(place.irmin(&["branches"]).starts_with("* main "));
        assert!(place.irmin(&["dot"]).contains("label=\"main\\n"));
    }
}

#[test]
fn a_store_is_found_upwards_inside_of_a_folder_or_as_the_folder_itself() {
    let place = Place::new("native", &[]);
    place.irmin(&["set", "a", "x"]);
    let deep = place.path().join("b/c");
    std::fs::create_dir_all(&deep).unwrap();
    assert_eq!(
        place.irmin(&["get", "a", "--repo", deep.to_str().unwrap()]),
        "x"
    );
    assert_eq!(place.irmin(&["get", "a", "--repo", ".irmin"]), "x");
    let (code, _, error) = place.try_irmin(&["init", "--format", "native"]);
    assert!(code == 3 && error.contains("already"), "{error}");
    place.irmin(&["init", "bare", "--bare", "--format", "native"]);
    place.irmin(&["set", "a", "y", "--repo", "bare"]);
    assert_eq!(place.irmin(&["get", "a", "--repo", "bare"]), "y");
    let (code, _, error) =
        place.try_irmin(&["init", "g", "--format", "native", "--object-format", "sha1"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a_store_that_another_program_has_open_is_told_of() {
    let place = Place::new("native", &[]);
    let lock = place.path().join(".irmin/lock");
    let file = std::fs::File::open(lock).unwrap();
    file.lock().unwrap();
    let (code, _, error) = place.try_irmin(&["set", "a", "x"]);
    assert_eq!(code, 3);
    assert!(error.contains("open in another program"), "{error}");
    drop(file);
    let first = place.irmin(&["set", "a", "x"]);
    let file = std::fs::File::open(place.path().join(".irmin/lock")).unwrap();
    file.lock().unwrap();
    // Who only reads needs no lock.
    assert_eq!(place.irmin(&["get", "a"]), "x");
    assert!(
        place
            .irmin(&["log"])
            .starts_with(&format!("commit {first}"))
    );
    assert!(place.irmin(&["branches"]).contains(&first));
}

#[test]
fn garbage_is_collected_and_what_names_lead_to_stays() {
    let place = Place::new("native", &[]);
    place.irmin(&["set", "a", "x"]);
    place.irmin(&["set", "b", "y", "--branch", "gone"]);
    place.irmin(&["branches", "--delete", "gone", "--force"]);
    let done = place.irmin(&["gc", "--json"]);
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    assert!(done["dropped"].as_u64().unwrap() > 0, "{done}");
    assert_eq!(place.irmin(&["get", "a"]), "x");
    assert_eq!(place.irmin(&["fsck"]), "");
    let git = Place::of_git("sha1");
    Random(5).history(&git, 30);
    git.irmin(&["gc"]);
    git.fsck();
    assert_eq!(git.git(&["rev-list", "--count", "--all"]), "30");
}

#[test]
fn damage_is_found_told_and_repaired() {
    let place = Place::new("native", &[]);
    for at in 2..6 {
        place.irmin(&["set", &format!("f{at}"), &format!("{at}").repeat(2000)]);
    }
    assert_eq!(place.irmin(&["fsck"]), "");
    let segment = place.path().join(".irmin/00000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let needle = "3".repeat(1000);
    let at = bytes
        .windows(1000)
        .position(|part| part == needle.as_bytes());
    bytes[at.unwrap() + 500] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, out, error) = place.try_irmin(&["fsck"]);
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("damaged"), "{out}");
    let (code, out, _) = place.try_irmin(&["fsck", "--json"]);
    assert_eq!(code, 1);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["finding"], "damaged");
    assert_eq!(place.try_irmin(&["fsck", "--repair"]).0, 1);
    let (_, out, _) = place.try_irmin(&["fsck"]);
    assert!(!out.contains("damaged") && out.contains("missing"), "{out}");
    assert_eq!(place.irmin(&["get", "f4"]), "4".repeat(2000));
    // What is gone can be written again.
    place.irmin(&["set", "other", &"3".repeat(2000)]);
    assert_eq!(place.irmin(&["get", "f3"]), "3".repeat(2000));
    assert_eq!(place.irmin(&["fsck"]), "");
}

#[test]
fn damage_of_a_git_repository_is_found_as_git_finds_it() {
    for format in common::FORMATS {
        let place = Place::of_git(format);
        Random(4).history(&place, 30);
        assert_eq!(place.irmin(&["fsck"]), "");
        assert_eq!(place.try_irmin(&["fsck", "--repair"]).0, 3);
        // The checksum of a pack, all objects of which are whole.
        let packs = std::fs::read_dir(place.path().join(".git/objects/pack")).unwrap();
        let mut packs = packs.map(|entry| entry.unwrap().path());
        let pack = packs.find(|path| path.extension().is_some_and(|end| end == "pack"));
        let pack = pack.unwrap();
        let whole = std::fs::read(&pack).unwrap();
        let mut broken = whole.clone();
        *broken.last_mut().unwrap() ^= 1;
        std::fs::remove_file(&pack).unwrap();
        std::fs::write(&pack, broken).unwrap();
        assert_ne!(place.try_git(&["fsck"]).0, 0);
        let (code, out, _) = place.try_irmin(&["fsck"]);
        assert!(code == 1 && out.starts_with("damaged "), "{out}");
        std::fs::write(&pack, whole).unwrap();
        let blob = place.git(&["hash-object", "-w", "--stdin"]);
        place.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},e"),
        ]);
        let tree = place.git(&["write-tree"]);
        let commit = place.git(&["commit-tree", &tree, "-m", "m"]);
        place.git(&["update-ref", "refs/heads/other", &commit]);
        let file = |id: &str| {
            place
                .path()
                .join(".git/objects")
                .join(&id[..2])
                .join(&id[2..])
        };
        std::fs::remove_file(file(&blob)).unwrap();
        assert_ne!(place.try_git(&["fsck"]).0, 0);
        let (code, out, _) = place.try_irmin(&["fsck"]);
        assert_eq!(code, 1);
        assert_eq!(
            out,
            format!("missing {blob} a blob that the tree {tree} needs\n")
        );
        std::fs::remove_file(file(&tree)).unwrap();
        std::fs::write(file(&tree), "nonsense").unwrap();
        let (code, out, _) = place.try_irmin(&["fsck"]);
        assert_eq!(code, 1);
        assert!(out.starts_with(&format!("damaged {tree} ")), "{out}");
    }
}

#[test]
fn a_tree_that_would_do_harm_is_found() {
    let place = Place::of_git("sha1");
    let tree = place.git(&["mktree"]);
    let (code, bad, _) = feed(
        place.git_command(&["mktree"]),
        format!("040000 tree {tree}\t.git\n").as_bytes(),
    );
    assert_eq!(code, 0);
    let bad = bad.trim();
    let commit = place.git(&["commit-tree", bad, "-m", "m"]);
    place.git(&["update-ref", "refs/heads/main", &commit]);
    let (code, out, _) = place.try_irmin(&["fsck"]);
    assert_eq!(code, 1);
    assert!(out.starts_with(&format!("bad {bad} ")), "{out}");
}

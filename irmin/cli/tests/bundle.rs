//! Bundles: git reads what the command writes, and the other way round.

mod common;

use common::{FORMATS, Place, Random};

fn names(place: &Place) -> String {
    place.git(&["for-each-ref", "refs/heads", "refs/tags"])
}

#[test]
fn git_verifies_and_clones_what_is_exported() {
    for format in FORMATS {
        let place = Place::of_git(format);
        Random(21).history(&place, 40);
        place.git(&["tag", "-a", "v1", "-m", "one", "c5"]);
        place.irmin(&["export", "all.bundle"]);
        place.git(&["bundle", "verify", "-q", "all.bundle"]);
        let clone = Place(tempfile::tempdir().unwrap());
        let bundle = place.path().join("all.bundle");
        clone.git(&["clone", "-q", bundle.to_str().unwrap(), "."]);
        clone.fsck();
        let main = place.git(&["rev-parse", "main"]);
        assert_eq!(clone.git(&["rev-parse", "HEAD"]), main);
        // What is new since: git takes it only where the rest is.
        place.irmin(&["set", "new", "x"]);
        place.irmin(&["export", "new.bundle", "main", &format!("^{main}")]);
        let bundle = place.path().join("new.bundle");
        clone.git(&["bundle", "verify", "-q", bundle.to_str().unwrap()]);
        clone.git(&["pull", "-q", bundle.to_str().unwrap(), "main"]);
        assert_eq!(clone.git(&["show", "main:new"]), "x");
        let (code, _, error) =
            Place::new(format, &[]).try_irmin(&["import", bundle.to_str().unwrap()]);
        assert!(code == 3 && error.contains(&main), "{error}");
    }
}

#[test]
fn bundles_of_git_are_taken_in() {
    for format in FORMATS {
        let there = Place::of_git(format);
        Random(22).history(&there, 40);
        there.git(&["bundle", "create", "-q", "b", "--all"]);
        let bundle = there.path().join("b");
        let bundle = bundle.to_str().unwrap();
        let here = Place::new(format, &[]);
        let told = here.irmin(&["import", bundle]);
        assert!(
            told.lines().all(|line| line.starts_with("made refs/")),
            "{told}"
        );
        assert_eq!(names(&here), names(&there));
        here.fsck();
        assert_eq!(here.irmin(&["import", bundle]), "");
        let ours = here.irmin(&["set", "ours", "x"]);
        let (code, out, _) = here.try_irmin(&["import", bundle]);
        assert!(
            code == 1 && out.starts_with(&format!("stays refs/heads/main {ours} ")),
            "{out}"
        );
        assert!(
            here.irmin(&["import", bundle, "--force"])
                .starts_with("forced ")
        );
        assert_eq!(names(&here), names(&there));
    }
}

#[test]
fn native_stores_travel_in_bundles_of_their_own() {
    let there = Place::new("native", &[]);
    there.irmin(&["set", "a/b", "x"]);
    let head = there.irmin(&["set", "c", &"large ".repeat(1000)]);
    there.irmin(&["export", "b"]);
    let here = Place::new("native", &[]);
    let bundle = there.path().join("b");
    let bundle = bundle.to_str().unwrap();
    assert_eq!(
        here.irmin(&["import", bundle]),
        format!("made refs/heads/main - {head}")
    );
    assert_eq!(here.irmin(&["get", "a/b"]), "x");
    assert_eq!(here.irmin(&["fsck"]), "");
    let (code, _, error) = Place::new("sha1", &[]).try_irmin(&["import", bundle]);
    assert!(code == 3 && error.contains("irmin convert"), "{error}");
}

#[test]
fn what_is_no_bundle_moves_nothing() {
    let place = Place::of_git("sha1");
    Random(23).history(&place, 20);
    place.irmin(&["export", "good"]);
    let good = std::fs::read(place.path().join("good")).unwrap();
    let here = Place::new("sha1", &[]);
    let bad = here.path().join("bad");
    let mut wrong = vec![
        b"".to_vec(),
        b"# v2 git bundle\n".to_vec(),
        b"# v2 git bundle\nx\n\n".to_vec(),
    ];
    wrong.push(b"# v3 git bundle\n@filter=blob:none\n\n".to_vec());
    for cut in [30, 60, good.len() / 2, good.len() - 30, good.len() - 1] {
        wrong.push(good[..cut].to_vec());
    }
    let mut flipped = good.clone();
    let middle = good.len() - 100;
    flipped[middle] ^= 4;
    wrong.push(flipped);
    for bytes in wrong {
        std::fs::write(&bad, &bytes).unwrap();
        let (code, out, error) = here.try_irmin(&["import", "bad"]);
        assert!(
            code == 3 && out.is_empty() && !error.is_empty(),
            "{code} {out}{error}"
        );
        assert_eq!(names(&here), "");
    }
    assert_eq!(here.try_irmin(&["export", "x"]).0, 1);
    assert!(!here.path().join("x").exists());
}

#[test]
fn a_bundle_goes_through_a_pipe_and_to_where_a_link_leads() {
    let there = Place::new("sha1", &[]);
    there.irmin(&["set", "a", "x"]);
    // Standard output is a pipe here.
    std::os::unix::fs::symlink("/dev/fd/1", there.path().join("out")).unwrap();
    let output = there.irmin_command(&["export", "out"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::write(there.path().join("piped"), &output.stdout).unwrap();
    there.git(&["bundle", "verify", "piped"]);
    std::os::unix::fs::symlink("piped", there.path().join("link")).unwrap();
    there.irmin(&["set", "b", "y"]);
    there.irmin(&["export", "link"]);
    assert!(there.path().join("link").is_symlink());
    let heads = there.git(&["bundle", "list-heads", "piped"]);
    assert!(
        heads.starts_with(&there.git(&["rev-parse", "main"])),
        "{heads}"
    );
}

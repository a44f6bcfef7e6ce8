//! Repositories that are damaged or made to harm, and writers that are killed.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{append, files, fsck, git, name, set, snapshot};
use irmin::{Backend, BackendError, Expect, Format, Id, UpdateError};
use irmin_git::{Durability, Git, Options};
use tempfile::TempDir;

/// A repository with some history in one pack with deltas, and its path of `.pack`.
fn packed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
    for n in 0..14 {
        append(&store, "refs/heads/main", n);
    }
    drop(store);
    git(folder.path(), &["repack", "-q", "-a", "-d", "-f"]);
    let packs = fs::read_dir(folder.path().join("objects/pack")).unwrap();
    let mut packs = packs.map(|entry| entry.unwrap().path());
    let pack = packs
        .find(|path| path.extension().is_some_and(|last| last == "pack"))
        .unwrap();
    (folder, pack)
}

/// Reads everything; an object is right or an error, never something else.
fn read_all(at: &Path, ids: &[Id]) -> usize {
    let options = Options {
        largest_object: 1 << 20,
        ..Options::default()
    };
    let store = Git::open_with(at, &options).unwrap();
    let read = ids.iter().filter(|id| match store.read(id) {
        Ok(Some(object)) => {
            assert_eq!(Format::GitSha1.id(object.kind, &object.data).unwrap(), **id);
            true
        }
        Ok(None) | Err(_) => false,
    });
    let read = read.count();
    let _ = (store.ids("", 99), store.contains(&ids[0]));
    read
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn any_byte_of_a_pack_or_index_may_be_wrong_or_missing() {
    let (folder, pack) = packed();
    let ids = Git::open(folder.path()).unwrap().ids("", 999).unwrap();
    assert_eq!(read_all(folder.path(), &ids), ids.len());
    for path in [pack.clone(), pack.with_extension("idx")] {
        let sound = fs::read(&path).unwrap();
        for step in 0..300 {
            let at = step * sound.len() / 300;
            let mut broken = sound.clone();
            broken[at] ^= 1 << (step % 8);
            overwrite(&path, &broken);
            read_all(folder.path(), &ids);
            overwrite(&path, &sound[..at]);
            assert_eq!(read_all(folder.path(), &ids), 0, "cut at {at}");
        }
        overwrite(&path, &sound);
    }
    assert_eq!(read_all(folder.path(), &ids), ids.len());
}

#[test]
fn a_sound_copy_serves_where_another_is_damaged() {
    let (folder, pack) = packed();
    let store = Git::open(folder.path()).unwrap();
    let head = store.head(&name("refs/heads/main")).unwrap().unwrap();
    let text = git(folder.path(), &["cat-file", "commit", "main"]) + "\n";
    overwrite(&pack, b"PACK");
    let fresh = Git::open(folder.path()).unwrap();
    assert!(matches!(
        fresh.read(&head),
        Err(BackendError::Corrupt { .. })
    ));
    let source = folder.path().join("text");
    fs::write(&source, text).unwrap();
    let args = ["hash-object", "-w", "-t", "commit", "text"];
    assert_eq!(git(folder.path(), &args), head.to_string());
    assert!(fresh.read(&head).unwrap().is_some());
}

/// A pack of hand-made entries, each a header and a body that is deflated, with its index.
fn hand_made(at: &Path, entries: &[(Id, Vec<u8>, Vec<u8>)]) {
    use sha1::{Digest, Sha1};
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((entries.len() as u32).to_be_bytes());
    let mut places = Vec::new();
    for (id, header, body) in entries {
        places.push((*id, pack.len() as u32));
        pack.extend(header);
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut deflate, body).unwrap();
        pack.extend(deflate.finish().unwrap());
    }
    pack.extend(Sha1::digest(pack.clone()));
    places.sort();
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for byte in 0..=255u8 {
        let count = places
            .iter()
            .filter(|(id, _)| id.as_bytes()[0] <= byte)
            .count() as u32;
        index.extend(count.to_be_bytes());
    }
    places
        .iter()
        .for_each(|(id, _)| index.extend(id.as_bytes()));
    index.extend(vec![0; 4 * places.len()]);
    places
        .iter()
        .for_each(|(_, place)| index.extend(place.to_be_bytes()));
    index.extend(&pack[pack.len() - 20..]);
    index.extend(Sha1::digest(index.clone()));
    let path = at.join("objects/pack/pack-0000000000000000000000000000000000000001.pack");
    fs::write(&path, pack).unwrap();
    fs::write(path.with_extension("idx"), index).unwrap();
}

/// The head of an entry: kind and size.
fn header(kind: u8, mut size: u64) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | (size & 15) as u8];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

#[test]
fn bombs_loops_and_absurd_sizes_cost_nothing() {
    let id = |n: u8| Id::from_bytes(&[n; 20]).unwrap();
    let by_id = |base: Id, size: u64| [header(7, size), base.as_bytes().to_vec()].concat();
    let delta = vec![1, 1, 0x90, 1];
    let many: Vec<_> = (1..=120u8)
        .map(|n| (id(n), by_id(id(n + 1), 4), delta.clone()))
        .collect();
    for entries in [
        // A delta for itself, and two for one another.
        vec![(id(1), by_id(id(1), 4), delta.clone())],
        vec![
            (id(1), by_id(id(2), 4), delta.clone()),
            (id(2), by_id(id(1), 4), delta.clone()),
        ],
        // A chain whose end is missing.
        many,
        // Says one byte, holds 64 MiB; says 2^60, holds one; says 1 GiB, holds as much as fits.
        vec![(id(1), header(3, 1), vec![0; 64 << 20])],
        vec![(id(1), header(3, 1 << 60), vec![0])],
        vec![(id(1), header(3, 1 << 30), vec![0; 1 << 20])],
        // Before the start of the pack; of an unknown kind; a size without end.
        vec![(
            id(1),
            [header(6, 4), vec![0xff, 0x7f]].concat(),
            delta.clone(),
        )],
        vec![(
            id(1),
            header(6, 4).into_iter().chain([0]).collect(),
            delta.clone(),
        )],
        vec![(id(1), header(5, 4), delta.clone())],
        vec![(id(1), vec![0xbf; 40], delta.clone())],
        // A delta that makes 2^62 bytes.
        vec![
            (
                id(1),
                by_id(id(2), 14),
                [&[1][..], &[0xff; 8], &[0x3f], &[0x90, 1, 0x90, 1]].concat(),
            ),
            (id(2), header(3, 1), vec![7]),
        ],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
        hand_made(folder.path(), &entries);
        for (id, ..) in &entries {
            let result = store.read(id);
            assert!(
                matches!(result, Err(BackendError::Corrupt { .. })),
                "{result:?}"
            );
        }
    }
}

#[test]
fn loose_objects_are_not_believed() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
    let id: Id = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".parse().unwrap();
    let path = folder
        .path()
        .join("objects/e6/9de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let deflated = |bytes: &[u8]| {
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(bytes).unwrap();
        deflate.finish().unwrap()
    };
    let bomb = [b"blob 0\0", &vec![0; 32 << 20][..]].concat();
    for bytes in [
        vec![],
        b"not zlib".to_vec(),
        deflated(b"blob 0"),
        deflated(b"blob 00\0"),
        deflated(b"blob 1\0x"),
        deflated(b"blob 99999999999999999999\0"),
        deflated(b"blob -1\0"),
        deflated(b"tree 0\0"),
        deflated(b"blob 99999999\0"),
        deflated(&bomb),
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(store.read(&id), Err(BackendError::Corrupt { .. })));
    }
    fs::write(&path, deflated(b"blob 9999999999\0")).unwrap();
    assert!(matches!(store.read(&id), Err(BackendError::Refused { .. })));
    fs::write(&path, deflated(b"blob 0\0")).unwrap();
    assert!(store.read(&id).unwrap().is_some());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(!store.contains(&id).unwrap());
}

#[test]
fn names_lead_nowhere_but_into_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
    let id = append(&store, "refs/heads/main", 0);
    let secret = folder.path().join("secret");
    fs::write(&secret, "do not tell\n").unwrap();
    let heads = folder.path().join("refs/heads");
    symlink(&secret, heads.join("leak")).unwrap();
    symlink("..", heads.join("round")).unwrap();
    let error = store
        .head(&name("refs/heads/leak"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("leak") && !error.contains("do not tell"),
        "{error}"
    );
    fs::remove_file(heads.join("leak")).unwrap();
    for text in [
        "ref: ../../secret\n",
        "ref: refs/heads/../../secret\n",
        "ref: /etc/passwd\n",
        "ref:\n",
        "x",
        "",
    ] {
        fs::write(heads.join("odd"), text).unwrap();
        assert!(
            matches!(
                store.head(&name("refs/heads/odd")),
                Err(BackendError::Corrupt { .. })
            ),
            "{text}"
        );
    }
    fs::write(heads.join("odd"), "ref: refs/heads/even\n").unwrap();
    fs::write(heads.join("even"), "ref: refs/heads/odd\n").unwrap();
    assert!(
        store.head(&name("refs/heads/odd")).is_err(),
        "round in a circle"
    );
    fs::remove_file(heads.join("odd")).unwrap();
    fs::remove_file(heads.join("even")).unwrap();
    // A name that we could not have made is left out and kept.
    let line = format!("{id} refs/heads/../../secret\n");
    fs::write(folder.path().join("packed-refs"), &line).unwrap();
    assert_eq!(store.heads("").unwrap().len(), 1);
    let both = ["a", "b"].map(|at| set(&format!("refs/tags/{at}"), Expect::Missing, id));
    store.update(&both).unwrap();
    assert!(
        fs::read_to_string(folder.path().join("packed-refs"))
            .unwrap()
            .contains(&line)
    );
    fs::write(folder.path().join("packed-refs"), "nonsense\n").unwrap();
    assert!(matches!(store.heads(""), Err(BackendError::Corrupt { .. })));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "do not tell\n");
}

#[test]
fn a_lock_left_behind_is_named_and_nothing_moves() {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
    let id = append(&store, "refs/heads/main", 0);
    let lock = folder.path().join("refs/heads/b.lock");
    fs::write(&lock, "").unwrap();
    let both = ["a", "b"].map(|at| set(&format!("refs/heads/{at}"), Expect::Missing, id));
    match store.update(&both) {
        Err(UpdateError::Backend(BackendError::Locked { what })) => {
            assert!(what.ends_with("b.lock"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        store.heads("refs/heads/").unwrap().len(),
        1,
        "nothing moved"
    );
    assert!(
        !folder.path().join("refs/heads/a.lock").exists(),
        "ours are given up"
    );
    fs::remove_file(&lock).unwrap();
    store.update(&both).unwrap();
    assert_eq!(store.heads("refs/heads/").unwrap().len(), 3);
}

#[test]
fn what_is_no_repository_of_ours_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |at: &Path| match Git::open(at) {
        Err(BackendError::Refused { what }) => what,
        other => panic!("{:?}", other.err()),
    };
    assert!(refused(folder.path()).contains("no Git repository"));
    drop(Git::init(folder.path(), Format::GitSha1, true).unwrap());
    assert!(Git::init(folder.path(), Format::GitSha1, true).is_err());
    assert!(Git::init(folder.path().join("n"), Format::Native, true).is_err());
    let config = folder.path().join("config");
    for (text, word) in [
        ("[core]\nrepositoryformatversion = 2\n", "format 2"),
        (
            "[core]\nrepositoryformatversion = 1\n[extensions]\nrefstorage = reftable\n",
            "reftable",
        ),
        (
            "[core]\nrepositoryformatversion = 1\n[extensions]\nobjectformat = sha3\n",
            "sha3",
        ),
        (
            "[core]\nrepositoryformatversion = 1\n[extensions]\nunheardof = 1\n",
            "unheardof",
        ),
    ] {
        fs::write(&config, text).unwrap();
        assert!(refused(folder.path()).contains(word), "{text}");
    }
    fs::write(&config, [0xff; 100]).unwrap();
    Git::open(folder.path()).unwrap();
}

#[test]
fn damaged_commit_graphs_are_errors() {
    let (folder, _) = packed();
    git(folder.path(), &["commit-graph", "write", "--reachable"]);
    let path = folder.path().join("objects/info/commit-graph");
    let sound = fs::read(&path).unwrap();
    let head = name("refs/heads/main");
    // No panic, whatever it says; and where there is no error, nothing but what a commit can say.
    let all = || -> Result<usize, BackendError> {
        let store = Git::open(folder.path()).unwrap();
        let Some(index) = store.commit_index()? else {
            return Ok(0);
        };
        index.position(&store.head(&head)?.unwrap())?;
        for at in 0..index.len() {
            index.parents(at, &mut Vec::new())?;
            index.id(at)?;
            index.tree(at)?;
            index.time(at)?;
            index.generation(at)?;
        }
        let _ = index.all(&mut |_, _| {});
        let repo = irmin::Repo::new(store);
        let head = repo.named(head.clone()).head().unwrap().unwrap();
        let root = head.log().last().unwrap().unwrap();
        let _ = (repo.lcas(&head, &root), head.has_ancestor(&root));
        let _ = head.log_of(irmin::Path::default()).count();
        Ok(index.len() as usize)
    };
    let commits = all().unwrap();
    assert!(commits > 0);
    for step in 0..400 {
        let at = step * sound.len() / 400;
        let mut broken = sound.clone();
        broken[at] ^= 1 << (step % 8);
        overwrite(&path, &broken);
        let _ = all();
        overwrite(&path, &sound[..at]);
        let _ = all();
    }
    overwrite(&path, &sound);
    assert_eq!(all().unwrap(), commits);
}

/// Not a test of its own: the writer that the next test kills.
#[test]
fn writer_to_be_killed() {
    let Some(at) = std::env::var_os("IRMIN_GIT_VICTIM") else {
        return;
    };
    let options = Options {
        durability: Durability::Relaxed,
        ..Options::default()
    };
    let store = Git::open_with(&at, &options).unwrap();
    for n in 0.. {
        let head = store.head(&name("refs/heads/main")).unwrap();
        let objects = snapshot(
            store.format(),
            head.as_slice(),
            &files(n),
            &format!("{n}\n"),
        );
        store.write(&objects).unwrap();
        let id = objects.last().unwrap().id;
        // Two names that always agree.
        let edits = ["refs/heads/main", "refs/heads/twin"].map(|at| set(at, head.into(), id));
        store
            .update(if n % 3 == 0 { &edits } else { &edits[..1] })
            .unwrap();
        if n % 3 != 0 {
            store.update(&edits[1..]).unwrap();
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_sound_repository() {
    let folder = tempfile::tempdir().unwrap();
    drop(Git::init(folder.path(), Format::GitSha1, true).unwrap());
    let this = std::env::current_exe().unwrap();
    for round in 0..12 {
        let mut victim = std::process::Command::new(&this)
            .args(["--exact", "writer_to_be_killed", "--nocapture"])
            .env("IRMIN_GIT_VICTIM", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // By its progress, not by a clock: each round it gets further, to another place.
        let packs = folder.path().join("objects/pack");
        let wanted = 3 + round * 5;
        let mut looks = 0;
        let before = fs::read_dir(&packs).unwrap().count();
        while fs::read_dir(&packs).unwrap().count() < before + 2 && looks < wanted * 50 {
            looks += 1;
            std::thread::yield_now();
        }
        for _ in 0..wanted * 400 {
            std::hint::black_box(fs::metadata(&packs).unwrap());
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        for lock in [
            "refs/heads/main.lock",
            "refs/heads/twin.lock",
            "packed-refs.lock",
        ] {
            let _ = fs::remove_file(folder.path().join(lock));
        }
        fsck(folder.path());
        let store = Git::open(folder.path()).unwrap();
        let heads = store.heads("refs/heads/").unwrap();
        for (_, id) in &heads {
            assert!(store.read(id).unwrap().is_some());
        }
        // Unless it was killed between its two updates, they agree; then twin is one behind.
        if let [(_, main), (_, twin)] = &heads[..]
            && main != twin
        {
            let main = store.read(main).unwrap().unwrap();
            let parent = irmin::raw::CommitData::decode(Format::GitSha1, &main.data)
                .unwrap()
                .parents;
            assert_eq!(parent.first(), Some(twin));
            store
                .update(&[set("refs/heads/twin", Expect::Any, heads[0].1)])
                .unwrap();
        }
    }
    assert!(
        git(folder.path(), &["rev-list", "--count", "main"])
            .parse::<u32>()
            .unwrap()
            > 12
    );
}

//! Whole packs, taken in and given out, against the real git in both formats.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{FORMATS, append, command, fsck, git, name, set, snapshot};
use irmin::{Backend, BackendError, Expect, Format, Id, Kind, Object};
use irmin_git::{GcOptions, Git};
use irmin_packfile::zlib::Effort;
use irmin_packfile::{
    Base, GiveOptions, Given, Limits, PackError, PackStore, TakeOptions, Taken, Writer, delta,
};
use tempfile::TempDir;

/// Runs `git` with these bytes as its input; returns what it printed.
fn git_with(at: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = command(at, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("git is installed");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(output.status.success(), "git {args:?}");
    output.stdout
}

/// A repository of 60 commits, each of which changes a line and adds a file; one pack, made by git.
fn history(format: Format) -> (TempDir, Git) {
    let (folder, store) = empty(format);
    let mut text: Vec<String> = (0..200u32)
        .map(|n| format!("line {}\n", n * n * n))
        .collect();
    let (mut files, mut head) = (Vec::new(), None);
    for n in 0..60 {
        text[3 * n] = format!("changed by {n}\n");
        files.retain(|(file, _)| file != "text");
        files.push((format!("file{n:02}"), format!("{n}\n")));
        files.push(("text".into(), text.concat()));
        let new = snapshot(format, head.as_slice(), &files, &format!("{n}\n"));
        store.write(&new).unwrap();
        head = Some(new.last().unwrap().id);
    }
    store
        .update(&[set("refs/heads/main", Expect::Missing, head.unwrap())])
        .unwrap();
    // With it ends the thread that folds, which would make a pack beside git's.
    drop(store);
    git(
        folder.path(),
        &[
            "-c",
            "repack.writeBitmaps=false",
            "repack",
            "-q",
            "-a",
            "-d",
            "-f",
        ],
    );
    let store = Git::open(folder.path()).unwrap();
    (folder, store)
}

fn empty(format: Format) -> (TempDir, Git) {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), format, true).unwrap();
    (folder, store)
}

fn objects(at: &Path, revisions: &[&str]) -> Vec<Id> {
    let args = [&["rev-list", "--objects"], revisions].concat();
    let line = |line: &str| line[..line.find(' ').unwrap_or(line.len())].parse();
    git(at, &args)
        .lines()
        .map(|text| line(text).unwrap())
        .collect()
}

fn take(store: &Git, pack: &[u8]) -> Result<Taken, PackError> {
    store.take_pack(&mut &pack[..], TakeOptions::default())
}

fn give(store: &Git, objects: &[Id], options: GiveOptions<'_>) -> (Vec<u8>, Given) {
    let mut pack = Vec::new();
    let given = store.give_pack(objects, &mut pack, options).unwrap();
    assert_eq!(
        (given.objects as usize, given.bytes),
        (objects.len(), pack.len() as u64)
    );
    (pack, given)
}

fn in_packs(at: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(at.join("objects/pack")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|last| last == extension))
        .collect()
}

#[test]
fn a_pack_of_git_becomes_one_of_ours_with_the_index_that_git_makes() {
    for (format, _) in FORMATS {
        let (from, source) = history(format);
        let head = source.head(&name("refs/heads/main")).unwrap().unwrap();
        for more in [
            &["--delta-base-offset"][..],
            &[],
            &["--depth=4095", "--window=200"],
        ] {
            let args = [&["pack-objects", "-q", "--stdout", "--revs"], more].concat();
            let pack = git_with(from.path(), &args, b"refs/heads/main\n");
            let (to, store) = empty(format);
            let taken = take(&store, &pack).unwrap();
            assert!(taken.deltas > 60 && taken.bytes == pack.len() as u64);
            assert_eq!(in_packs(to.path(), "keep").len(), 1, "until a name moves");
            store
                .update(&[set("refs/heads/main", Expect::Missing, head)])
                .unwrap();
            assert_eq!(in_packs(to.path(), "keep").len(), 0);
            fsck(to.path());
            let packs = in_packs(to.path(), "pack");
            let index = packs[0].with_extension("idx");
            let pack = packs[0].to_str().unwrap();
            let args = ["index-pack", "-o", "gits.idx", pack];
            let _ = fs::remove_file(to.path().join("gits.idx"));
            git(to.path(), &args);
            assert_eq!(
                fs::read(index).unwrap(),
                fs::read(to.path().join("gits.idx")).unwrap()
            );
            let all = ["--all"];
            assert_eq!(objects(to.path(), &all), objects(from.path(), &all));
        }
    }
}

#[test]
fn a_thin_pack_is_completed_from_what_is_here() {
    for (format, _) in FORMATS {
        let (from, _) = history(format);
        let pack = |input: &[u8]| {
            let args = ["pack-objects", "-q", "--stdout", "--revs", "--thin"];
            git_with(from.path(), &args, input)
        };
        let (to, store) = empty(format);
        let thin = pack(b"refs/heads/main\n^refs/heads/main~1\n");
        let refused = take(&store, &thin).unwrap_err();
        assert!(
            matches!(refused, PackError::MissingBase { .. }),
            "{refused}"
        );
        assert_eq!(
            fs::read_dir(to.path().join("objects/pack"))
                .unwrap()
                .count(),
            0
        );
        take(&store, &pack(b"refs/heads/main~1\n")).unwrap();
        take(&store, &thin).unwrap();
        let head = git(from.path(), &["rev-parse", "main"]).parse().unwrap();
        store
            .update(&[set("refs/heads/main", Expect::Missing, head)])
            .unwrap();
        fsck(to.path());
        assert_eq!(
            objects(to.path(), &["main"]),
            objects(from.path(), &["main"])
        );
    }
}

#[test]
fn what_is_given_is_copied_and_git_takes_it() {
    for (format, label) in FORMATS {
        let (from, store) = history(format);
        let all = objects(from.path(), &["--all"]);
        let (whole, given) = give(&store, &all, GiveOptions::default());
        assert!(given.deltas > 60, "copied as deltas: {}", given.deltas);
        let by_id = GiveOptions {
            offset_deltas: false,
            ..GiveOptions::default()
        };
        let (named, given) = give(&store, &all, by_id);
        assert!(given.deltas > 60);
        for (pack, strict) in [(&whole, "--strict"), (&named, "--fsck-objects")] {
            let (to, _) = empty(format);
            git_with(to.path(), &["index-pack", "--stdin", strict], pack);
            let head = git(from.path(), &["rev-parse", "main"]);
            git(to.path(), &["update-ref", "refs/heads/main", &head]);
            fsck(to.path());
            let (to, _) = empty(format);
            git_with(to.path(), &["unpack-objects", "-q", "--strict"], pack);
            assert_eq!(
                git(to.path(), &["cat-file", "-t", &head]),
                "commit",
                "{label}"
            );
        }
        // The older ones for who has the newest five, on which they stand: a thin pack is shorter.
        let (to, _) = empty(format);
        let new = objects(from.path(), &["main", "^main~5"]);
        let (alone, _) = give(&store, &new, GiveOptions::default());
        git_with(to.path(), &["index-pack", "--stdin"], &alone);
        let old = objects(from.path(), &["main~5"]);
        let old: Vec<Id> = old.into_iter().filter(|id| !new.contains(id)).collect();
        let (alone, _) = give(&store, &old, GiveOptions::default());
        let thin = GiveOptions {
            bases: &new,
            ..GiveOptions::default()
        };
        let (thin, _) = give(&store, &old, thin);
        assert!(thin.len() < alone.len(), "{} {}", thin.len(), alone.len());
        let fix = ["index-pack", "--stdin", "--fix-thin", "--strict"];
        git_with(to.path(), &fix, &thin);
        let head = git(from.path(), &["rev-parse", "main"]);
        git(to.path(), &["update-ref", "refs/heads/main", &head]);
        fsck(to.path());
    }
}

#[test]
fn what_lies_alone_in_many_packs_and_uncompressed_is_given_too() {
    for (format, label) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        git(
            folder.path(),
            &["init", "-q", "--bare", "--object-format", label, "."],
        );
        let blob = git_with(folder.path(), &["hash-object", "-w", "--stdin"], b"alone\n");
        let blob: Id = String::from_utf8(blob).unwrap().trim().parse().unwrap();
        let store = Git::open(folder.path()).unwrap();
        for n in 0..30 {
            append(&store, "refs/heads/main", n);
        }
        let mut all = objects(folder.path(), &["--all"]);
        all.push(blob);
        let (pack, _) = give(&store, &all, GiveOptions::default());
        let size: usize = all
            .iter()
            .map(|id| store.read(id).unwrap().unwrap().data.len())
            .sum();
        assert!(pack.len() < size / 2, "{} of {size}", pack.len());
        let (to, other) = empty(format);
        take(&other, &pack).unwrap();
        let gone = format.id(Kind::Blob, b"nowhere").unwrap();
        let missing = store.give_pack(&[gone], &mut Vec::new(), GiveOptions::default());
        assert!(matches!(missing, Err(PackError::Missing { id }) if id == gone));
        git(
            to.path(),
            &[
                "verify-pack",
                in_packs(to.path(), "idx")[0].to_str().unwrap(),
            ],
        );
    }
}

/// Bytes that nothing makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn large_values_are_written_given_and_collected_as_git_reads_them() {
    for (format, _) in FORMATS {
        let (folder, store) = empty(format);
        let at = folder.path();
        let text = "the same again and again\n".repeat(400_000);
        let files = [("text".into(), text)];
        let mut objects = snapshot(format, &[], &files, "m\n");
        let noise = Object::new(format, Kind::Blob, noise(3 << 20)).unwrap();
        let (of, head) = (noise.id, objects.last().unwrap().id);
        objects.push(noise);
        store.write(&objects).unwrap();
        let of_main = set("refs/heads/main", Expect::Missing, head);
        store
            .update(&[of_main, set("refs/tags/noise", Expect::Missing, of)])
            .unwrap();
        fsck(at);
        let all: Vec<Id> = objects.iter().map(|object| object.id).collect();
        let (pack, _) = give(&store, &all, GiveOptions::default());
        let (to, _) = empty(format);
        git_with(to.path(), &["index-pack", "--stdin", "--strict"], &pack);
        store.gc(GcOptions::default()).unwrap();
        fsck(at);
        let indexes = in_packs(at, "idx");
        assert_eq!(indexes.len(), 1);
        git(at, &["verify-pack", indexes[0].to_str().unwrap()]);
        for object in &objects {
            assert_eq!(store.read(&object.id).unwrap().unwrap().data, object.data);
        }
    }
}

#[test]
fn what_nothing_is_like_is_given_as_it_is_stored() {
    // One commit of one text, packed by git as small as it can: every entry is copied.
    let (from, store) = empty(Format::GitSha1);
    let text: String = (0..3000).map(|n| format!("{n} {}\n", n * n)).collect();
    let new = snapshot(Format::GitSha1, &[], &[("text".into(), text)], "m\n");
    store.write(&new).unwrap();
    let head = new.last().unwrap().id;
    store
        .update(&[set("refs/heads/main", Expect::Missing, head)])
        .unwrap();
    drop(store);
    let tight = ["-c", "core.compression=9", "repack", "-q", "-a", "-d", "-F"];
    git(from.path(), &tight);
    let theirs = fs::metadata(&in_packs(from.path(), "pack")[0]).unwrap();
    let store = Git::open(from.path()).unwrap();
    let all = objects(from.path(), &["--all"]);
    let (pack, given) = give(&store, &all, GiveOptions::default());
    assert_eq!((pack.len() as u64, given.deltas), (theirs.len(), 0));
}

#[test]
fn a_changed_byte_of_a_pack_is_neither_given_nor_collected() {
    let (from, store) = history(Format::GitSha1);
    let all = objects(from.path(), &["--all"]);
    drop(store);
    let packs = in_packs(from.path(), "pack");
    assert_eq!(packs.len(), 1);
    let path = packs[0].clone();
    let sound = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for at in (12..sound.len()).step_by(sound.len() / 25) {
        let mut changed = sound.clone();
        // All its bits: single ones may pad the end of a stream and mean nothing.
        changed[at] ^= 0xff;
        fs::write(&path, &changed).unwrap();
        let store = Git::open(from.path()).unwrap();
        let mut pack = Vec::new();
        let given = store.give_pack(&all, &mut pack, GiveOptions::default());
        assert!(given.is_err(), "{given:?} given, with a wrong byte at {at}");
        let collected = store.gc(GcOptions::default());
        assert!(collected.is_err(), "collected, with a wrong byte at {at}");
        drop(store);
        assert_eq!(fs::read(&path).unwrap(), changed, "{at}");
    }
    fs::write(&path, &sound).unwrap();
    fsck(from.path());
    assert_eq!(objects(from.path(), &["--all"]), all);
}

#[test]
fn an_index_that_has_an_object_beyond_all_files_hinders_no_other() {
    let (folder, store) = history(Format::GitSha1);
    drop(store);
    let path = in_packs(folder.path(), "idx").remove(0);
    let mut index = fs::read(&path).unwrap();
    let number = |at: usize| u32::from_be_bytes(index[at..at + 4].try_into().unwrap());
    let count = number(8 + 1020) as usize;
    let ids = 8 + 1024;
    let offsets = ids + 24 * count;
    let last = (0..count).max_by_key(|n| number(offsets + 4 * n)).unwrap();
    let id = |n: usize| Id::from_bytes(&index[ids + 20 * n..][..20]).unwrap();
    let others: Vec<Id> = (0..count).filter(|n| *n != last).map(id).collect();
    index[offsets + 4 * last..][..4].copy_from_slice(&0x8000_0000u32.to_be_bytes());
    let far = index.len() - 40;
    index.splice(far..far, (1u64 << 62).to_be_bytes());
    fs::remove_file(&path).unwrap();
    fs::write(&path, &index).unwrap();
    let store = Git::open(folder.path()).unwrap();
    let (_, given) = give(&store, &others, GiveOptions::default());
    assert_eq!(given.objects as usize, others.len());
}

#[test]
fn a_pack_that_is_cut_or_changed_leaves_nothing_behind() {
    let (from, _) = history(Format::GitSha1);
    let args = [
        "pack-objects",
        "-q",
        "--stdout",
        "--revs",
        "--delta-base-offset",
    ];
    let pack = git_with(from.path(), &args, b"refs/heads/main\n");
    let (to, store) = empty(Format::GitSha1);
    let step = pack.len() / 60;
    for at in (0..pack.len()).step_by(step) {
        let error = take(&store, &pack[..at]).unwrap_err();
        assert!(matches!(error, PackError::Cut { .. }), "{error}");
        let mut changed = pack.clone();
        changed[at] ^= 0x10;
        assert!(take(&store, &changed).is_err());
    }
    assert_eq!(
        fs::read_dir(to.path().join("objects/pack"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn deltas_without_an_end_and_absurd_sizes_are_refused_in_time() {
    let format = Format::GitSha1;
    let id = |n: u8| Id::from_bytes(&[n; 20]).unwrap();
    let pack = |count: u32, fill: &dyn Fn(&mut Writer<Vec<u8>>)| {
        let mut writer = Writer::new(Vec::new(), format, count, Effort::Usual);
        fill(&mut writer);
        writer.finish().unwrap().out
    };
    let (to, store) = empty(format);
    let base = vec![7u8; 100_000];
    let made = delta::make(&base, &[&base[..], b"x"].concat()[1..], 100).unwrap();
    let circle = pack(2, &|writer| {
        writer.delta(id(1), Base::Id(id(2)), &made).unwrap();
        writer.delta(id(2), Base::Id(id(1)), &made).unwrap();
    });
    let error = take(&store, &circle).unwrap_err();
    assert!(
        matches!(error, PackError::MissingBase { count: 2, .. }),
        "{error}"
    );
    // 5,000 deltas on one another: more than anybody may read.
    let deep = pack(5001, &|writer| {
        let mut at = writer.whole(id(1), Kind::Blob, &base).unwrap();
        for _ in 0..5000 {
            at = writer.delta(id(1), Base::Offset(at), &made).unwrap();
        }
    });
    let error = take(&store, &deep).unwrap_err();
    assert!(error.to_string().contains("4095"), "{error}");
    // 100 copies of one object, and 100 deltas that name it: each is applied once, not 100 times.
    let blob = format.id(Kind::Blob, &base).unwrap();
    let copies = pack(200, &|writer| {
        for n in 0..100 {
            writer.whole(blob, Kind::Blob, &base).unwrap();
            let other = [&base[..], &[n][..]].concat();
            let made = delta::make(&base, &other, 100).unwrap();
            writer.delta(id(n), Base::Id(blob), &made).unwrap();
        }
    });
    let most = Limits {
        total: 30 << 20,
        ..Limits::default()
    };
    let options = TakeOptions {
        limits: most,
        ..TakeOptions::default()
    };
    let taken = store.take_pack(&mut &copies[..], options).unwrap();
    assert_eq!((taken.objects, taken.deltas), (200, 100));
    // The same again: bytes that deltas make are counted too.
    let few = Limits {
        total: 12 << 20,
        ..Limits::default()
    };
    let options = TakeOptions {
        limits: few,
        ..TakeOptions::default()
    };
    let error = store.take_pack(&mut &copies[..], options);
    assert!(
        error.is_ok(),
        "10 MB came, and 10 MB were made: each within the limit"
    );
    let options = TakeOptions {
        limits: Limits {
            total: 8 << 20,
            ..Limits::default()
        },
        ..TakeOptions::default()
    };
    let error = store.take_pack(&mut &copies[..], options).unwrap_err();
    assert!(matches!(error, PackError::TooLarge { .. }), "{error}");
    drop(to);
}

#[test]
fn other_bytes_for_an_id_that_is_here_are_refused() {
    // Nobody can make two objects of one id; a damaged store looks the same to who compares.
    let format = Format::GitSha1;
    let (to, store) = empty(format);
    let object = Object::new(format, Kind::Blob, &b"the right bytes\n"[..]).unwrap();
    let hex = object.id.to_string();
    let folder = to.path().join("objects").join(&hex[..2]);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(&hex[2..]), b"nonsense").unwrap();
    assert!(matches!(
        store.read(&object.id),
        Err(BackendError::Corrupt { .. })
    ));
    // What came is sound, and heals it.
    let other = irmin::Memory::new(format);
    other.write(std::slice::from_ref(&object)).unwrap();
    let mut pack = Vec::new();
    other
        .give_pack(&[object.id], &mut pack, GiveOptions::default())
        .unwrap();
    take(&store, &pack).unwrap();
    assert_eq!(store.read(&object.id).unwrap(), Some(object));
}

//! Packs of the real git taken in, and ours given to it, in both of its formats.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use irmin::{Backend, Format, Id, Kind, Memory, Object};
use irmin_packfile::zlib::{Deflate, Effort};
use irmin_packfile::{
    Base, GiveOptions, PackError, PackStore, Progress, TakeOptions, Writer, encode_index,
};

const FORMATS: [(Format, &str); 2] = [(Format::GitSha1, "sha1"), (Format::GitSha256, "sha256")];

/// Runs `git` with these bytes as its input; returns what it printed.
fn git_with(at: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(at)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is installed");
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

fn git(at: &Path, args: &[&str]) -> String {
    String::from_utf8(git_with(at, args, b"")).unwrap()
}

/// A repository of 30 versions of some files, made by `git fast-import`, and a tag.
fn history(at: &Path, format: &str) {
    let at_text = at.to_str().unwrap();
    let init = ["init", "-q", "--bare", "--object-format", format, at_text];
    git(at.parent().unwrap(), &init);
    let mut stream = Vec::new();
    for version in 0..30u32 {
        let lines = |n: u32| format!("{}", n.wrapping_mul(2_654_435_761) >> (version % 7 / 6));
        let text: String = (0..300)
            .map(|n| match n == version * 7 {
                true => format!("changed by {version}\n"),
                false => lines(n) + "\n",
            })
            .collect();
        write!(
            stream,
            "commit refs/heads/main\ncommitter A <a@example.org> {version} +0000\ndata 2\nm\n\
             M 644 inline dir/text\ndata {}\n{text}\nM 644 inline file{version}\ndata 2\n{version:02}\n",
            text.len()
        )
        .unwrap();
    }
    stream.extend_from_slice(
        b"tag v1\nfrom refs/heads/main\ntagger A <a@example.org> 1 +0000\ndata 2\nt\n\n",
    );
    git_with(at, &["fast-import", "--quiet"], &stream);
}

fn ids(text: &str) -> Vec<Id> {
    text.lines()
        .map(|line| {
            line[..line.find(' ').unwrap_or(line.len())]
                .parse()
                .unwrap()
        })
        .collect()
}

fn take(store: &Memory, pack: &[u8]) -> Result<irmin_packfile::Taken, PackError> {
    store.take_pack(&mut &pack[..], TakeOptions::default())
}

#[test]
fn packs_of_git_are_taken_in_whole_with_deltas_of_both_kinds_and_thin() {
    for (format, name) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("r");
        history(&at, name);
        let all = ids(&git(&at, &["rev-list", "--objects", "--all"]));
        for more in [
            &["--delta-base-offset"][..],
            &[],
            &["--no-reuse-delta", "--depth=3"],
        ] {
            let args = [&["pack-objects", "-q", "--stdout", "--revs"], more].concat();
            let pack = git_with(&at, &args, b"refs/heads/main\nv1\n");
            let store = Memory::new(format);
            let mut last = None;
            let mut see = |progress: Progress| last = Some(progress);
            let taken = store
                .take_pack(
                    &mut &pack[..],
                    TakeOptions {
                        progress: Some(&mut see),
                        ..Default::default()
                    },
                )
                .unwrap();
            assert_eq!(taken.objects as usize, all.len());
            assert_eq!(taken.bytes, pack.len() as u64);
            assert!(pack.ends_with(taken.sum.as_bytes()) && taken.deltas > 15);
            assert_eq!(
                last.map(|last| (last.done, last.bytes)),
                Some((all.len() as u64, { pack.len() as u64 }))
            );
            assert_eq!(store.len(), all.len());
            assert!(all.iter().all(|id| store.contains(id).unwrap()));
        }
        let older = git_with(
            &at,
            &["pack-objects", "-q", "--stdout", "--revs"],
            b"refs/heads/main~5\n",
        );
        let thin = git_with(
            &at,
            &["pack-objects", "-q", "--stdout", "--revs", "--thin"],
            b"refs/heads/main\n^refs/heads/main~5\n",
        );
        let store = Memory::new(format);
        let refused = take(&store, &thin);
        assert!(
            matches!(refused, Err(PackError::MissingBase { .. })),
            "{refused:?}"
        );
        take(&store, &older).unwrap();
        take(&store, &thin).unwrap();
        assert_eq!(store.len(), all.len() - 1, "all but the tag");
    }
}

#[test]
fn git_takes_what_is_given_and_finds_nothing_wrong_with_it() {
    for (format, name) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let (at, to) = (folder.path().join("r"), folder.path().join("s"));
        history(&at, name);
        let all = ids(&git(&at, &["rev-list", "--objects", "--all"]));
        let store = Memory::new(format);
        let args = ["pack-objects", "-q", "--stdout", "--revs"];
        take(&store, &git_with(&at, &args, b"refs/heads/main\nv1\n")).unwrap();
        let mut pack = Vec::new();
        let twice = [&all[..], &all[..3]].concat();
        let given = store
            .give_pack(&twice, &mut pack, GiveOptions::default())
            .unwrap();
        assert_eq!(
            (given.objects as usize, given.bytes),
            (all.len(), pack.len() as u64)
        );
        for way in [
            &["index-pack", "--stdin", "--strict", "--fsck-objects"][..],
            &["unpack-objects", "-q", "--strict"],
        ] {
            let _ = std::fs::remove_dir_all(&to);
            git(
                folder.path(),
                &["init", "-q", "--bare", "--object-format", name, "s"],
            );
            git_with(&to, way, &pack);
            let head = git(&at, &["rev-parse", "main"]);
            git(&to, &["update-ref", "refs/heads/main", head.trim()]);
            git(&to, &["fsck", "--strict", "--full"]);
            assert_eq!(
                git(&at, &["rev-list", "--objects", "main"]),
                git(&to, &["rev-list", "--objects", "main"])
            );
        }
        let gone = format.id(Kind::Blob, b"nowhere").unwrap();
        let missing = store.give_pack(&[gone], &mut Vec::new(), GiveOptions::default());
        assert!(matches!(missing, Err(PackError::Missing { id }) if id == gone));
        // A pack of nothing is a pack.
        let mut empty = Vec::new();
        store
            .give_pack(&[], &mut empty, GiveOptions::default())
            .unwrap();
        git_with(&to, &["index-pack", "--stdin"], &empty);
        assert_eq!(take(&store, &empty).unwrap().objects, 0);
        empty[15] ^= 1;
        assert!(take(&store, &empty).is_err());
    }
}

/// Takes a pack, in pieces that are not large.
struct Pieces(Vec<u8>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(bytes.len() < 1 << 20, "{} bytes at once", bytes.len());
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_large_goes_out_in_pieces_and_git_finds_every_one() {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..3 << 20).map(|_| noise()).collect();
    let text = b"the same again and again\n".repeat(200_000);
    // At the ends of pieces too.
    let values = [
        &b"few"[..],
        &noise,
        &text,
        &noise[..256 << 10],
        &noise[..(512 << 10) + 1],
        b"",
    ];
    for (format, name) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git(at, &["init", "-q", "--bare", "--object-format", name, "."]);
        let count = values.len() as u32;
        let mut writer = Writer::new(Pieces(Vec::new()), format, count + 1, Effort::Usual);
        let blob = |data: &[u8]| format.id(Kind::Blob, data).unwrap();
        for value in values {
            writer.whole(blob(value), Kind::Blob, value).unwrap();
        }
        // One that is compressed already, which is in memory as a whole anyway.
        let (mut stream, copied) = (Vec::new(), &noise[..700_000]);
        Deflate::new(Effort::Usual).push(copied, &mut stream);
        let (base, size) = (Base::Whole(Kind::Blob), copied.len() as u64);
        writer.copy(blob(copied), base, size, &stream).unwrap();
        let written = writer.finish().unwrap();
        let pack = &written.out.0;
        assert_eq!(written.length, pack.len() as u64);
        git_with(at, &["index-pack", "--stdin", "--strict"], pack);
        let index = at.join(format!("objects/pack/pack-{}.idx", written.sum));
        let ours = encode_index(format, &written.places, &written.sum);
        assert!(std::fs::read(index).unwrap() == ours, "{name}");
        for value in [&values[..], &[copied]].concat() {
            let read = git_with(at, &["cat-file", "blob", &blob(value).to_string()], b"");
            assert!(read == value, "{} bytes", value.len());
        }
    }
}

#[test]
fn native_objects_travel_too() {
    let (from, to) = (Memory::new(Format::Native), Memory::new(Format::Native));
    let objects: Vec<Object> = (0..100u8)
        .map(|n| Object::new(Format::Native, Kind::Blob, vec![n; 1000]).unwrap())
        .collect();
    from.write(&objects).unwrap();
    let ids: Vec<Id> = objects.iter().map(|object| object.id).collect();
    let mut pack = Vec::new();
    from.give_pack(&ids, &mut pack, GiveOptions::default())
        .unwrap();
    take(&to, &pack).unwrap();
    assert!(
        objects
            .iter()
            .all(|object| to.read(&object.id).unwrap().as_ref() == Some(object))
    );
}

//! Collectors and receivers that are killed, and disks on which nothing more can be written.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{append, files, fsck, git, name, set, snapshot};
use irmin::{Backend, Expect, Format, Id, Memory};
use irmin_git::{GcOptions, Git};
use irmin_packfile::{GiveOptions, PackStore, TakeOptions};

const VICTIM: &str = "IRMIN_GIT_KILLED";

/// A pack of one more commit on its own branch, as a peer would send it.
fn sent(n: usize) -> (Vec<u8>, Id) {
    let peer = Memory::new(Format::GitSha1);
    let objects = snapshot(Format::GitSha1, &[], &files(n), &format!("sent {n}\n"));
    peer.write(&objects).unwrap();
    let ids: Vec<Id> = objects.iter().map(|object| object.id).collect();
    let mut pack = Vec::new();
    peer.give_pack(&ids, &mut pack, GiveOptions::default())
        .unwrap();
    (pack, *ids.last().unwrap())
}

/// Not a test of its own: what the next tests kill, or let run out of room. Prints a line for each commit
/// that is acknowledged.
#[test]
fn collector_to_be_killed() {
    let Some(at) = std::env::var_os(VICTIM) else {
        return;
    };
    let Ok(store) = Git::open(at) else { return };
    let main = name("refs/heads/main");
    for n in 0..24 {
        let head = store.head(&main).unwrap();
        let mut files = files(n);
        if n % 10 == 6 {
            // Written in several pieces.
            let numbers = (0..160_000u32).map(|n| n.wrapping_mul(0x9e37_79b9).to_string());
            files.push(("large".into(), numbers.collect()));
        }
        let objects = snapshot(store.format(), head.as_slice(), &files, "m\n");
        let id = objects.last().unwrap().id;
        let written = store.write(&objects).map_err(Into::into);
        let moved = written.and_then(|()| store.update(&[set("refs/heads/main", head.into(), id)]));
        if moved.is_ok() {
            println!("\nDONE {id}");
        }
        let (pack, id) = sent(n);
        let taken = store.take_pack(&mut &pack[..], TakeOptions::default());
        if taken.is_ok() {
            let sent = set(&format!("refs/heads/sent{n}"), Expect::Any, id);
            if store.update(&[sent]).is_ok() {
                println!("\nDONE {id}");
            }
        }
        if n % 4 == 3 {
            let _ = store.gc(GcOptions::default());
        }
    }
}

fn victim(at: &Path, before: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let run = format!("{before} exec \"$0\" --exact collector_to_be_killed --nocapture");
    let mut command = Command::new("sh");
    command.args(["-c", &run]).arg(this).env(VICTIM, at);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// All that was acknowledged is here, and the repository is sound.
fn sound(at: &Path, said: &str) -> usize {
    let mut locks = vec![at.to_path_buf()];
    while let Some(folder) = locks.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                locks.push(path);
            } else if path.extension().is_some_and(|last| last == "lock") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    fsck(at);
    let all = git(at, &["rev-list", "--all"]);
    let done: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("DONE "))
        .collect();
    for id in &done {
        assert!(all.contains(id), "{id} was acknowledged");
    }
    let store = Git::open(at).unwrap();
    assert_eq!(store.check(&mut |_| ()).unwrap().problems, [""; 0]);
    // The lock of who was killed is in nobody's way.
    store.gc(GcOptions::default()).unwrap();
    fsck(at);
    done.len()
}

#[test]
fn a_collector_or_receiver_killed_at_any_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let store = Git::init(at, Format::GitSha1, true).unwrap();
    append(&store, "refs/heads/main", 0);
    drop(store);
    let mut all = 0;
    for round in 0..10 {
        let mut child = victim(at, "").spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        // By its progress, not by a clock: so many lines, and some looks more.
        let (mut said, mut lines, mut byte) = (Vec::new(), 0, [0]);
        while lines < 5 + 7 * round && output.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
            lines += usize::from(byte[0] == b'\n');
        }
        for _ in 0..round * 300 {
            std::hint::black_box(fs::metadata(at).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        output.read_to_end(&mut said).unwrap();
        all += sound(at, &String::from_utf8(said).unwrap());
    }
    assert!(all > 20, "{all}");
}

#[test]
fn where_files_cannot_grow_nothing_is_half_there() {
    // A limit to the size of files stands for a full disk: writes end in the middle, with an error.
    for blocks in [0, 1, 2, 4, 8, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let store = Git::init(at, Format::GitSha1, true).unwrap();
        append(&store, "refs/heads/main", 0);
        drop(store);
        let limit = format!("trap '' XFSZ; ulimit -f {blocks};");
        let output = victim(at, &limit).output().unwrap();
        sound(at, &String::from_utf8(output.stdout).unwrap());
        let left = fs::read_dir(at.join("objects/pack")).unwrap();
        let left = left.filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("tmp_")
        });
        assert_eq!(left.count(), 0, "{blocks}");
    }
}

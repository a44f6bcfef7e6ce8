//! A process that is killed loses nothing that it acknowledged, flushed or not, and its lock.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use irmin::{Backend, Expect, Format, Id, Kind, Object, RefEdit, RefName};
use irmin_pack::{Files, MIN_SEGMENT, Pack};

const DIRECTORY: &str = "IRMIN_PACK_KILL_TEST";

fn object(n: u64) -> Object {
    let data = n.to_string().repeat(1 + n as usize % 300);
    Object::new(Format::Native, Kind::Blob, data.into_bytes()).unwrap()
}

fn main_branch() -> RefName {
    RefName::branch("main").unwrap()
}

/// What the killed process does; nothing when run as a test.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let store = Pack::open(Files::open(directory).unwrap()).unwrap();
    let from: u64 = match store.head(&main_branch()).unwrap() {
        Some(id) => (0..).find(|n| object(*n).id == id).unwrap() + 1,
        None => 0,
    };
    for n in from.. {
        let object = object(n);
        store.write(std::slice::from_ref(&object)).unwrap();
        let edit = RefEdit {
            name: main_branch(),
            expect: Expect::Any,
            new: Some(object.id),
        };
        store.update(&[edit]).unwrap();
        if n % 5 == 0 {
            store.flush().unwrap();
        }
        if n % 50 == 0 {
            store.collect_with(&mut |_, _| Ok(())).unwrap();
        }
        println!("\nwrote {n}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Files::open(directory.path()).unwrap();
    drop(Pack::create_with(open(), Format::Native, MIN_SEGMENT).unwrap());
    let mut last = None;
    for life in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wrote = lines.filter_map(|line| line.unwrap().strip_prefix("wrote ")?.parse().ok());
        let mut wrote = wrote.take(10 + life * 7);
        last = wrote.by_ref().last().or(last);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Pack::open(open()).unwrap();
        let head: Id = store.head(&main_branch()).unwrap().unwrap();
        let acknowledged = last.unwrap();
        let n = (acknowledged..acknowledged + 10_000).find(|n| object(*n).id == head);
        assert!(n.is_some(), "no commit from {acknowledged} on is the head");
        assert!(store.read(&head).unwrap().is_some());
        assert!(store.check().unwrap().is_sound());
    }
}

//! Servers that lie, stop in the middle, or never stop: nothing moves, and the error says why.

mod common;

use std::collections::VecDeque;
use std::io::{Cursor, Read};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{head, info};
use irmin::{Backend, Commit, Format, Id, Memory, Object, Repo};
use irmin_packfile::{GiveOptions, PackStore};
use irmin_sync::pktline::Writer;
use irmin_sync::server::Service;
use irmin_sync::transport::{Connection, Settings, Transport, WriteRequest};
use irmin_sync::{
    FetchOptions, Progress, PushOptions, PushStatus, Refspec, Remote, SyncError, walk,
};

/// A server that says what is written down, whatever it is told.
struct Script {
    greeting: Vec<u8>,
    answers: Vec<Vec<u8>>,
    /// What it was told.
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Script {
    fn new(greeting: Vec<u8>, answers: Vec<Vec<u8>>) -> Script {
        let heard = Arc::default();
        Script {
            greeting,
            answers,
            heard,
        }
    }
}

struct Playing<'a> {
    script: &'a Script,
    left: VecDeque<Vec<u8>>,
}

impl Transport for Script {
    fn url(&self) -> String {
        "script".into()
    }

    fn connect(&mut self, _: Service, _: u8) -> Result<Box<dyn Connection + '_>, SyncError> {
        let left = self.answers.iter().cloned().collect();
        Ok(Box::new(Playing { script: self, left }))
    }
}

impl Connection for Playing<'_> {
    fn is_stateless(&self) -> bool {
        true
    }

    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, SyncError> {
        Ok(Box::new(&self.script.greeting[..]))
    }

    fn request(&mut self, write: &mut WriteRequest<'_>) -> Result<Box<dyn Read + '_>, SyncError> {
        write(&mut *self.script.heard.lock().unwrap())?;
        Ok(Box::new(Cursor::new(
            self.left.pop_front().unwrap_or_default(),
        )))
    }
}

/// Packets: `0000` and `0001` are themselves, `1:` and so on are bands.
fn packets(lines: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for line in lines {
        match *line {
            b"0000" => writer.flush_packet().unwrap(),
            b"0001" => writer.delimiter().unwrap(),
            [band @ b'1'..=b'3', b':', rest @ ..] => writer.band(band - b'0', rest).unwrap(),
            line => writer.data(&[line, &b"\n"[..]].concat()).unwrap(),
        }
    }
    writer.into_inner()
}

/// A store with a little history, its head, and a pack of these objects.
struct Source {
    memory: Arc<Memory>,
    head: Commit,
    all: Vec<Id>,
}

impl Source {
    fn new(format: Format) -> Source {
        let memory = Arc::new(Memory::new(format));
        let repo = Repo::new(memory.clone());
        let main = repo.branch("main").unwrap();
        for n in 0..4 {
            main.change(&info(n), |edit| {
                edit.set(format!("a/{n}"), "text".repeat(300 + n as usize))
            })
            .unwrap();
        }
        let head = main.head().unwrap().unwrap();
        let all =
            walk::missing(&*memory, &[head.id()], &[], &mut walk::Options::default()).unwrap();
        Source { memory, head, all }
    }

    fn pack(&self, objects: &[Id]) -> Vec<u8> {
        let mut pack = Vec::new();
        self.memory
            .give_pack(objects, &mut pack, GiveOptions::default())
            .unwrap();
        pack
    }

    fn greeting(&self) -> Vec<u8> {
        packets(&[
            b"version 2",
            b"agent=x",
            b"ls-refs=unborn",
            b"fetch=shallow",
            b"object-format=sha1",
            b"0000",
        ])
    }

    fn names(&self) -> Vec<u8> {
        let head = self.head.id();
        packets(&[
            format!("{head} HEAD symref-target:refs/heads/main").as_bytes(),
            format!("{head} refs/heads/main").as_bytes(),
            b"0000",
        ])
    }

    fn pack_answer(&self, pack: &[u8]) -> Vec<u8> {
        let band = [b"1:", pack].concat();
        packets(&[b"packfile", b"2:Counting\x1b]0;x\x07", &band, b"0000"])
    }
}

fn tracking() -> FetchOptions<'static> {
    FetchOptions::new(vec![Refspec::tracking("origin").unwrap()])
}

/// Fetches into an empty store. Whatever comes of it, names lead to what is all here.
fn fetch(greeting: &[u8], names: &[u8], answer: &[u8]) -> (Memory, Result<(), SyncError>) {
    let script = Script::new(greeting.into(), vec![names.into(), answer.into()]);
    let store = Memory::new(Format::GitSha1);
    let result = Remote::over(script).fetch(&store, tracking());
    let tips = walk::tips(&store).unwrap();
    walk::connected(&store, &tips, &[], &mut walk::Options::default()).unwrap();
    if result.is_err() {
        assert!(tips.is_empty(), "nothing moves");
    }
    (store, result.map(drop))
}

#[test]
fn a_conversation_cut_off_anywhere_moves_nothing() {
    let source = Source::new(Format::GitSha1);
    let (greeting, names) = (source.greeting(), source.names());
    let answer = source.pack_answer(&source.pack(&source.all));
    let (store, result) = fetch(&greeting, &names, &answer);
    result.unwrap();
    assert_eq!(
        head(&store, "refs/remotes/origin/main"),
        Some(source.head.id())
    );
    for cut in 0..greeting.len() {
        fetch(&greeting[..cut], &names, &answer).1.unwrap_err();
    }
    for cut in 0..names.len() {
        fetch(&greeting, &names[..cut], &answer).1.unwrap_err();
    }
    for cut in 0..answer.len() {
        fetch(&greeting, &names, &answer[..cut]).1.unwrap_err();
    }
}

#[test]
fn flipped_bits_are_an_error_or_change_nothing_that_counts() {
    let source = Source::new(Format::GitSha1);
    let answer = source.pack_answer(&source.pack(&source.all));
    let parts = [source.greeting(), source.names(), answer];
    let mut failed = 0;
    for part in 0..3 {
        for at in 0..parts[part].len() {
            let mut parts = parts.clone();
            parts[part][at] ^= 1 << (at % 8);
            let (store, result) = fetch(&parts[0], &parts[1], &parts[2]);
            failed += usize::from(result.is_err());
            if result.is_ok() && part == 2 {
                assert_eq!(
                    head(&store, "refs/remotes/origin/main"),
                    Some(source.head.id())
                );
            }
        }
    }
    assert!(failed > 500);
}

#[test]
fn a_pack_that_lacks_an_object_or_holds_another_moves_nothing() {
    let source = Source::new(Format::GitSha1);
    for at in 0..source.all.len() {
        let mut part = source.all.clone();
        let left_out = part.remove(at);
        let answer = source.pack_answer(&source.pack(&part));
        let error = fetch(&source.greeting(), &source.names(), &answer)
            .1
            .unwrap_err();
        assert!(matches!(&error, SyncError::Incomplete(_)), "{error}");
        assert!(error.to_string().contains(&left_out.to_string()));
    }
    // A blob where a tree should be.
    let blob = Object::new(Format::GitSha1, irmin::Kind::Blob, &b"x"[..]).unwrap();
    source.memory.write(std::slice::from_ref(&blob)).unwrap();
    let text = format!(
        "tree {}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n",
        blob.id
    );
    let commit = Object::new(Format::GitSha1, irmin::Kind::Commit, text.into_bytes()).unwrap();
    source.memory.write(std::slice::from_ref(&commit)).unwrap();
    let names = packets(&[format!("{} refs/heads/main", commit.id).as_bytes(), b"0000"]);
    let answer = source.pack_answer(&source.pack(&[commit.id, blob.id]));
    fetch(&source.greeting(), &names, &answer).1.unwrap_err();
}

#[test]
fn hostile_names_formats_and_acknowledgments_are_refused() {
    let source = Source::new(Format::GitSha1);
    let head = source.head.id();
    let answer = source.pack_answer(&source.pack(&source.all));
    let line = |text: String| packets(&[text.as_bytes(), b"0000"]);
    for names in [
        line(format!("{head} refs/heads/../../x")),
        line(format!("{head} refs/heads/x.lock")),
        line(format!("{head} refs/heads/\x1b[2J")),
        line(format!("{head} config")),
        line(format!("{head}00 refs/heads/main")),
        line("0123 refs/heads/main".into()),
        line(format!("{head} refs/heads/main symref-target:../x")),
        packets(&[
            format!("{head} refs/heads/a").as_bytes(),
            format!("{head} refs/heads/a").as_bytes(),
            b"0000",
        ]),
        packets(&[b"ERR go\x1b[1m away"]),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
    ] {
        let error = fetch(&source.greeting(), &names, &answer).1.unwrap_err();
        assert!(!error.to_string().contains('\x1b'), "{error:?}");
    }
    // Names that nobody asked for are not kept.
    let more = packets(&[
        format!("{head} refs/heads/main").as_bytes(),
        format!("{head} refs/remotes/origin/other").as_bytes(),
        b"0000",
    ]);
    let (store, result) = fetch(&source.greeting(), &more, &answer);
    result.unwrap();
    assert_eq!(store.heads("refs/").unwrap().len(), 1);
    let other = packets(&[
        b"version 2",
        b"ls-refs",
        b"fetch",
        b"object-format=sha256",
        b"0000",
    ]);
    let empty = packets(&[b"0000"]);
    let error = fetch(&other, &empty, &answer).1.unwrap_err();
    assert!(matches!(error, SyncError::Format { .. }), "{error}");
    let endless = [
        packets(&[b"version 2"]),
        packets(&[&[b'x'; 60000][..]]).repeat(40),
    ]
    .concat();
    let error = fetch(&endless, &empty, &answer).1.unwrap_err();
    assert!(error.to_string().contains("no end"), "{error}");

    // Our own history is told; what it acknowledges must be of it.
    let store = Arc::new(Memory::new(Format::GitSha1));
    Repo::new(store.clone())
        .branch("mine")
        .unwrap()
        .change(&info(9), |edit| edit.set("x", "y"))
        .unwrap();
    for bad in [format!("ACK {head}"), "ACK nonsense".into(), "what".into()] {
        let acknowledgments = packets(&[b"acknowledgments", bad.as_bytes(), b"0000"]);
        let script = Script::new(source.greeting(), vec![source.names(), acknowledgments]);
        let error = Remote::over(script).fetch(&*store, tracking()).unwrap_err();
        assert!(matches!(error, SyncError::Protocol { .. }), "{error}");
    }
    // A history nobody asked to be made longer.
    let lie = [
        packets(&[
            b"acknowledgments",
            b"ready",
            b"0001",
            b"shallow-info",
            format!("unshallow {head}").as_bytes(),
            b"0001",
        ]),
        answer,
    ];
    let script = Script::new(source.greeting(), vec![source.names(), lie.concat()]);
    Remote::over(script).fetch(&*store, tracking()).unwrap_err();
    assert_eq!(store.heads("refs/").unwrap().len(), 1);
}

#[test]
fn what_a_server_says_is_shown_without_control_characters() {
    let source = Source::new(Format::GitSha1);
    let pack = source.pack(&source.all);
    let answer = source.pack_answer(&pack);
    let script = Script::new(source.greeting(), vec![source.names(), answer]);
    let mut said = String::new();
    let mut progress = |progress: Progress<'_>| {
        if let Progress::Remote(line) = progress {
            said += line;
        }
    };
    let options = FetchOptions {
        progress: Some(&mut progress),
        ..tracking()
    };
    Remote::over(script)
        .fetch(&Memory::new(Format::GitSha1), options)
        .unwrap();
    assert_eq!(said, "Counting ]0;x");
    let fatal = packets(&[b"packfile", b"1:PACK", b"3:dis\x1bk full", b"0000"]);
    let error = fetch(&source.greeting(), &source.names(), &fatal)
        .1
        .unwrap_err();
    assert_eq!(error.to_string(), "the other side says: dis k full");
}

#[test]
fn reports_of_a_push_are_believed_name_by_name() {
    let source = Source::new(Format::GitSha1);
    Repo::new(source.memory.clone())
        .branch("b")
        .unwrap()
        .set_head(&source.head)
        .unwrap();
    let zero = "0".repeat(40);
    let greeting = packets(&[
        format!("{zero} capabilities^{{}}\0report-status delete-refs ofs-delta").as_bytes(),
        b"0000",
    ]);
    let push = |answer: Vec<u8>| {
        let script = Script::new(greeting.clone(), vec![answer]);
        let heard = script.heard.clone();
        let options = PushOptions {
            refspecs: vec!["main".parse().unwrap(), "b".parse().unwrap()],
            tracking: vec![Refspec::tracking("origin").unwrap()],
            ..PushOptions::default()
        };
        let pushed = Remote::over(script).push(&*source.memory, options);
        (pushed, heard)
    };
    let (pushed, heard) = push(packets(&[
        b"unpack ok",
        b"ok refs/heads/main",
        b"ng refs/heads/b no\x1bw",
        b"0000",
    ]));
    let statuses: Vec<_> = pushed
        .unwrap()
        .names
        .into_iter()
        .map(|one| one.status)
        .collect();
    assert_eq!(
        statuses,
        [PushStatus::Done, PushStatus::Rejected("no w".into())]
    );
    assert_eq!(
        head(&*source.memory, "refs/remotes/origin/main"),
        Some(source.head.id())
    );
    assert_eq!(head(&*source.memory, "refs/remotes/origin/b"), None);
    assert!(heard.lock().unwrap().windows(4).any(|four| four == b"PACK"));
    let (silent, _) = push(packets(&[b"unpack ok", b"0000"]));
    assert!(!silent.unwrap().is_complete());
    for bad in [
        packets(&[b"unpack no space", b"ng refs/heads/main x", b"0000"]),
        packets(&[b"ok refs/heads/main", b"0000"]),
        packets(&[b"unpack ok"]),
        Vec::new(),
    ] {
        push(bad).0.unwrap_err();
    }
}

#[test]
fn a_server_that_does_nothing_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings {
        idle: Duration::from_millis(30),
        ..Settings::default()
    };
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            held.push(stream);
        }
    });
    for url in [format!("git://{address}/x"), format!("http://{address}/x")] {
        let error = Remote::at(&url, &settings).unwrap().ls(&[]).unwrap_err();
        assert!(matches!(error, SyncError::Connect(_)), "{error}");
    }
    // A program that waits for more than it is told.
    let ssh = Settings {
        ssh_command: Some("cat >&2; : ".into()),
        ..settings
    };
    let mut remote = Remote::at("host:x", &ssh).unwrap();
    let error = remote.ls(&[]).unwrap_err();
    assert!(error.to_string().contains("did nothing"), "{error}");
    let failing = Settings {
        ssh_command: Some("echo who are you >&2; false".into()),
        ..Settings::default()
    };
    let error = Remote::at("host:x", &failing).unwrap().ls(&[]).unwrap_err();
    assert!(error.to_string().contains("who are you"), "{error}");
}

use std::sync::Arc;

use irmin::{Backend as _, Expect, Format, Id, Info, Memory, RefEdit, RefName, Repo, Signature};
use irmin_packfile::{PackStore as _, TakeOptions};
use irmin_sync::pktline::{Bands, Packet, Reader};
use irmin_sync::server::{Gate, Host, Policy, Service, Session, Version};
use irmin_sync::server::{advertise, receive_pack, upload_pack};
use irmin_sync::walk;

use crate::input::Input;

/// Reads and writes `main` and what begins with `a`.
struct Narrow;

impl Gate for Narrow {
    fn reads_all(&self) -> bool {
        false
    }

    fn may_read(&self, name: &RefName) -> bool {
        name.short() == "main" || self.may_write(name)
    }

    fn may_write(&self, name: &RefName) -> bool {
        name.short().starts_with('a')
    }
}

/// A client of a store's server that says any bytes, or what it says with one of its own ids in the
/// place of `@`: what it may not read it does not get, a name that moves leads to objects that are
/// all here, and a name that it may not write stays.
pub fn git_server(input: &[u8]) {
    let mut input = Input::new(input);
    let kind = input.byte();
    let version = [Version::V0, Version::V1, Version::V2][usize::from(kind % 3)];
    let session = [Session::Stateless, Session::Stateful][usize::from(kind >> 2 & 1)];
    let store = Arc::new(Memory::new(Format::GitSha1));
    let repo = Repo::new(store.clone());
    let [first, main, secret] = history(&repo);
    let said = named(input.rest(), &[first, main, secret]);
    let host = Host {
        repo: &repo,
        store: &store,
        gate: &Narrow,
        policy: Policy::default(),
    };
    let mut out = Vec::new();
    if kind & 8 == 0 {
        let _ = upload_pack(&host, version, session, &mut &*said, &mut out);
        let got = received(&out);
        assert!(
            !got.contains(&secret).unwrap(),
            "what may not be read is given away"
        );
        let mut names = Vec::new();
        if advertise(&host, Service::UploadPack, version, &mut names).is_ok() {
            let secret = secret.to_hex();
            assert!(!names.windows(secret.len()).any(|part| part == secret));
        }
        return;
    }
    let _ = receive_pack(&host, &mut &*said, &mut out);
    let head = |name: &str| store.head(&RefName::branch(name).unwrap()).unwrap();
    assert_eq!((head("main"), head("secret")), (Some(main), Some(secret)));
    let tips = walk::tips(&store).unwrap();
    walk::connected(&store, &tips, &[], &mut walk::Options::default()).expect("all is here");
}

/// Two commits on `main`, and one on `secret` that follows the first. Always the same.
fn history(repo: &Repo) -> [Id; 3] {
    let info = |n| Info::new(Signature::new("A", "a@b", n, 0), "m\n");
    let commit = |branch: &str, path: &str, n: i64| {
        let branch = repo.branch(branch).unwrap();
        let commit = branch.change(&info(n), |edit| edit.set(path, n.to_string()));
        commit.unwrap().id()
    };
    let first = commit("main", "d/x", 1);
    let name = RefName::branch("secret").unwrap();
    let (expect, new) = (Expect::Missing, Some(first));
    repo.update(&[RefEdit { name, expect, new }]).unwrap();
    [first, commit("main", "d/y", 2), commit("secret", "s", 3)]
}

/// The bytes with `@0`, `@1` and `@2` replaced by ids.
fn named(bytes: &[u8], ids: &[Id]) -> Vec<u8> {
    let mut named = Vec::new();
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let id = after
            .first()
            .and_then(|digit| ids.get(usize::from(digit.wrapping_sub(b'0'))));
        match id.filter(|_| *byte == b'@') {
            Some(id) => {
                named.extend(id.to_hex());
                rest = &after[1..];
            }
            None => named.push(*byte),
        }
    }
    named
}

/// What a client has after it took the pack in an answer, if there is one.
fn received(out: &[u8]) -> Memory {
    let store = Memory::new(Format::GitSha1);
    let mut reader = Reader::new(out);
    let mut silent = |_: &str| {};
    loop {
        if reader.get_mut().starts_with(b"PACK") {
            let mut pack: &[u8] = reader.get_mut();
            store
                .take_pack(&mut pack, TakeOptions::default())
                .expect("a whole pack");
            return store;
        }
        let before: &[u8] = reader.get_mut();
        match reader.read() {
            Ok(Packet::Data([1 | 2, ..])) => {
                let mut reader = Reader::new(before);
                let mut bands = Bands::new(&mut reader, &mut silent);
                // A pack, or the report of a failure.
                let _ = store.take_pack(&mut bands, TakeOptions::default());
                return store;
            }
            Ok(_) => {}
            Err(_) => {
                assert!(reader.get_mut().is_empty(), "an answer is packets");
                return store;
            }
        }
    }
}

//! Our own client, over HTTP, from store to store.

mod common;

use std::sync::Arc;

use common::Served;
use irmin::{Backend as _, Format, Info, Memory, RefName, Repo, Signature};
use irmin_serve::{Options, Tokens};
use irmin_sync::transport::{Credentials, Settings};
use irmin_sync::{CloneOptions, FetchOptions, PushOptions, Remote};
use serde_json::json;

#[test]
fn stores_of_every_format_are_cloned_fetched_and_pushed_between_our_own_two_ends() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        let tokens = Tokens::parse(
            "ada-token-01234567890 read=main write=ada/*\nroot-token-0123456789 write=*\n",
        )
        .unwrap();
        let theirs = Arc::new(Memory::new(format));
        let served = Served::new(
            theirs.clone(),
            Options {
                tokens: Some(tokens),
                ..Options::default()
            },
        );
        let set = |branch: &str, n: usize| {
            let info = Info::new(Signature::new("Ada", "ada@example.org", n as i64, 0), "m\n");
            let branch = Repo::new(theirs.clone()).branch(branch).unwrap();
            branch
                .change(&info, |edit| {
                    edit.set(format!("a/{}", n % 90), "x".repeat(900 + n))
                })
                .unwrap()
                .id()
        };
        for n in 0..100 {
            set("main", n);
        }
        let secret = set("secret", 1000);
        let settings = Settings {
            credentials: Some(Credentials::Bearer("ada-token-01234567890".into())),
            ..Settings::default()
        };
        let mut remote = Remote::at(&format!("{}/store.git", served.url), &settings).unwrap();
        let cloned = remote
            .clone_to(
                |format| Ok(Arc::new(Memory::new(format))),
                CloneOptions::default(),
            )
            .unwrap();
        let ours = cloned.store;
        let head = |store: &Memory, name: &str| store.head(&RefName::new(name).unwrap()).unwrap();
        assert_eq!(
            head(&ours, "refs/heads/main"),
            head(&theirs, "refs/heads/main")
        );
        assert!(!ours.contains(&secret).unwrap());
        let new = set("main", 500);
        let tracking = vec!["+refs/heads/*:refs/remotes/origin/*".parse().unwrap()];
        remote.fetch(&*ours, FetchOptions::new(tracking)).unwrap();
        assert_eq!(head(&ours, "refs/remotes/origin/main"), Some(new));
        let info = Info::new(Signature::new("Ada", "ada@example.org", 1, 0), "m\n");
        let mine = Repo::new(ours.clone());
        let mine = mine
            .branch("ada/notes")
            .unwrap()
            .change(&info, |edit| edit.set("mine", "y".repeat(999)))
            .unwrap()
            .id();
        let push = |to: &str| PushOptions {
            refspecs: vec![to.parse().unwrap()],
            ..PushOptions::default()
        };
        assert!(
            remote
                .push(&*ours, push("ada/notes"))
                .unwrap()
                .is_complete()
        );
        assert_eq!(head(&theirs, "refs/heads/ada/notes"), Some(mine));
        let refused = remote
            .push(&*ours, push("ada/notes:refs/heads/other"))
            .unwrap();
        assert!(!refused.is_complete(), "it may not write there");
        let bearer = "Authorization: Bearer root-token-0123456789";
        assert_eq!(
            served
                .curl("/api/v1/commits/ada/notes", &["-H", bearer])
                .json()["commit"],
            json!(mine.to_string())
        );
    }
}

//! What the book's chapter on watches shows.

use std::error::Error;
use std::sync::mpsc;

use irmin::{Format, Info, Memory, Path, Repo, Signature};

fn main() -> Result<(), Box<dyn Error>> {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main")?;
    let who = Signature::new("Ada", "ada@example.org", 1_429_538_400, 0);
    let info = Info::new(who, "Change");
    main.change(&info, |edit| edit.set("todo/paint", "the fence"))?;

    // The state now, and everything that comes after it.
    let mut watch = main.watch("todo".parse()?)?;
    let snapshot = watch.snapshot()?.unwrap();
    assert_eq!(snapshot.tree().get("todo/paint")?.unwrap(), "the fence");

    // Two changes before anybody looks: one event, from the first state to the last.
    main.change(&info, |edit| edit.set("todo/paint", "the door"))?;
    main.change(&info, |edit| edit.set("todo/call", "the bank"))?;
    let event = watch.try_next()?.unwrap();
    for change in event.changes() {
        println!("{}", change?.path);
    }
    assert!(watch.try_next()?.is_none());

    // Another process may go on from here later.
    let position = event.position();
    main.change(&info, |edit| edit.remove("todo/call"))?;
    let mut later = main.watch_after("todo".parse()?, position)?;
    let event = later.next_blocking()?;
    assert_eq!(event.changes().count(), 1);

    // A function, called from a pool of threads, until the callback is dropped.
    let (send, heard) = mpsc::channel();
    let _callback = main.watch(Path::default())?.on_event(move |event| {
        let event = event.expect("memory does not fail");
        send.send(event.after().map(|commit| commit.message())).ok();
    });
    main.change(&info, |edit| edit.set("done/call", "the bank"))?;
    assert_eq!(heard.recv()?.as_deref(), Some("Change"));
    Ok(())
}

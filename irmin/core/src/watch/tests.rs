use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::*;
use crate::{Backend, Expect, Format, Info, Memory, RefEdit, Signature};

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn info(n: u64) -> Info {
    Info::new(Signature::new("A", "a@b", n as i64, 0), "m\n")
}

fn path(path: &str) -> Path {
    Path::new(path).unwrap()
}

/// xorshift64*, so that a failing run is repeated by its number.
fn below(seed: &mut u64, limit: u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
}

/// A subscriber and what it knows.
struct Subscriber {
    watch: Watch,
    woken: Arc<Count>,
    /// Where the last event ended.
    head: Option<Id>,
    sequence: u64,
    /// It was told to wait, and not woken since.
    waits: bool,
}

impl Subscriber {
    fn new(watch: Watch) -> Subscriber {
        let Position { sequence, head } = watch.position();
        Subscriber {
            watch,
            woken: Arc::new(Count(AtomicUsize::new(0))),
            head,
            sequence,
            waits: false,
        }
    }

    fn poll(&mut self, run: u64) {
        let waker: Waker = self.woken.clone().into();
        match Pin::new(&mut self.watch).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(event)) => {
                let event = event.unwrap();
                assert_eq!(
                    event.before().map(Commit::id),
                    self.head,
                    "run {run}: events join on to each other"
                );
                assert!(
                    event.position().sequence > self.sequence,
                    "run {run}: sequence numbers grow"
                );
                assert_ne!(
                    event.before(),
                    event.after(),
                    "run {run}: an event is a change"
                );
                assert!(
                    event.changes().count() <= 30,
                    "run {run}: the difference can be read"
                );
                self.sequence = event.position().sequence;
                self.head = event.position().head;
                self.waits = false;
            }
            Poll::Ready(None) => panic!("run {run}: a watch has no end"),
            Poll::Pending => {
                self.woken.0.store(0, Ordering::SeqCst);
                self.waits = true;
            }
        }
    }
}

/// The promises, in ten thousand random orders of what may happen. Nothing sleeps: a step is what
/// somebody does.
#[test]
fn every_promise_holds_in_ten_thousand_orders_of_events() {
    for run in 1..=10_000u64 {
        let mut seed = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let backend = Arc::new(Memory::new(Format::Native));
        let repo = Repo::new(backend.clone());
        let main = repo.branch("main").unwrap();
        let mut subscribers: Vec<Subscriber> = Vec::new();
        for step in 0..25 {
            let someone = below(&mut seed, subscribers.len().max(1) as u64) as usize;
            let moved = match below(&mut seed, 9) {
                0 | 1 => {
                    let key = below(&mut seed, 3).to_string();
                    main.change(&info(step), |edit| edit.set(&key, step.to_string()))
                        .unwrap();
                    true
                }
                2 => main
                    .head()
                    .unwrap()
                    .is_some_and(|head| main.delete(&head).is_ok()),
                3 => {
                    // Another process, which this one has to notice.
                    let name = RefName::branch("main").unwrap();
                    let other = repo
                        .commit_tree(&repo.empty_tree(), &[], &info(100 + step))
                        .unwrap();
                    backend
                        .update(&[RefEdit {
                            name,
                            expect: Expect::Any,
                            new: Some(other.id()),
                        }])
                        .unwrap();
                    repo.poll_watches().unwrap();
                    true
                }
                4 => {
                    let watch = main.watch(Path::default()).unwrap();
                    assert_eq!(watch.snapshot().unwrap(), main.head().unwrap());
                    subscribers.push(Subscriber::new(watch));
                    false
                }
                5 if !subscribers.is_empty() => {
                    drop(subscribers.swap_remove(someone));
                    false
                }
                6 if !subscribers.is_empty() => {
                    let old = &subscribers[someone];
                    let watch = main
                        .watch_after(Path::default(), old.watch.position())
                        .unwrap();
                    let (head, sequence) = (old.head, old.sequence);
                    subscribers[someone] = Subscriber {
                        head,
                        sequence,
                        ..Subscriber::new(watch)
                    };
                    false
                }
                _ => {
                    if let Some(one) = subscribers.get_mut(someone) {
                        one.poll(run);
                    }
                    false
                }
            };
            for one in &mut subscribers {
                if moved && one.waits {
                    assert_eq!(
                        one.woken.0.load(Ordering::SeqCst),
                        1,
                        "run {run}: who waits is woken, once"
                    );
                    one.waits = false;
                }
            }
        }
        let head = main.head().unwrap().map(|head| head.id());
        for one in &mut subscribers {
            one.poll(run);
            one.poll(run);
            assert_eq!(one.head, head, "run {run}: everybody sees the last state");
            assert!(
                one.waits,
                "run {run}: and then waits, after one event however much happened"
            );
        }
        drop(subscribers);
        assert_eq!(repo.store.hub.watches.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn only_changes_at_or_below_the_path_are_told() {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let main = repo.branch("main").unwrap();
    let set = |n: u64, at: &str| {
        main.change(&info(n), |edit| edit.set(at, n.to_string()))
            .unwrap()
    };
    let mut dir = main.watch(path("d")).unwrap();
    let mut file = main.watch(path("d/x")).unwrap();
    set(1, "other");
    assert!(dir.try_next().unwrap().is_none() && file.try_next().unwrap().is_none());
    let second = set(2, "d/y");
    let event = dir.try_next().unwrap().unwrap();
    assert_eq!(event.after(), Some(&second));
    let changes: Vec<_> = event
        .changes()
        .map(|one| one.unwrap().path.to_string())
        .collect();
    assert_eq!(changes, ["y"]);
    assert!(file.try_next().unwrap().is_none());
    set(3, "d/x");
    assert!(file.try_next().unwrap().is_some() && dir.try_next().unwrap().is_some());
    assert!(file.try_next().unwrap().is_none() && dir.try_next().unwrap().is_none());
}

#[test]
fn a_position_of_an_earlier_process_is_resumed_from() {
    let backend = Arc::new(Memory::new(Format::Native));
    let set = |repo: &Repo, n: u64| {
        repo.branch("main")
            .unwrap()
            .change(&info(n), |edit| edit.set("x", n.to_string()))
            .unwrap()
    };
    let first = Repo::new(backend.clone());
    let mut watch = first
        .branch("main")
        .unwrap()
        .watch(Path::default())
        .unwrap();
    for n in 0..5 {
        set(&first, n);
        watch.try_next().unwrap().unwrap();
    }
    let (position, seen) = (watch.position(), watch.snapshot().unwrap());
    drop((watch, first));
    let second = Repo::new(backend);
    let missed = set(&second, 9);
    let mut watch = second
        .branch("main")
        .unwrap()
        .watch_after(Path::default(), position)
        .unwrap();
    let event = watch.try_next().unwrap().unwrap();
    assert_eq!(
        (event.before(), event.after()),
        (seen.as_ref(), Some(&missed))
    );
    assert!(event.position().sequence > position.sequence);
    assert!(watch.try_next().unwrap().is_none());
}

#[test]
fn watchers_in_threads_see_the_last_of_what_threads_commit() {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main").unwrap();
    std::thread::scope(|threads| {
        let watchers: Vec<_> = (0..3)
            .map(|_| {
                let mut watch = main.watch(Path::default()).unwrap();
                threads.spawn(move || {
                    let mut head = watch.position().head;
                    loop {
                        // Without the feature for waiting in a thread: ask again and again.
                        let Some(event) = watch.try_next().unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert_eq!(event.before().map(Commit::id), head);
                        let new = event.after().unwrap();
                        head = Some(new.id());
                        if new.tree().get("end").unwrap().is_some() {
                            return new.id();
                        }
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let main = &main;
                threads.spawn(move || {
                    for n in 0..50 {
                        let key = alloc::format!("{writer}");
                        main.change(&info(n), |edit| edit.set(&key, n.to_string()))
                            .unwrap();
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        let end = main
            .change(&info(99), |edit| edit.set("end", ""))
            .unwrap()
            .id();
        watchers
            .into_iter()
            .for_each(|watcher| assert_eq!(watcher.join().unwrap(), end));
    });
    let tree = main.tree().unwrap();
    assert!(
        (0..3).all(|writer| tree.get(writer.to_string()).unwrap().unwrap() == "49"),
        "no change was lost"
    );
}

//! The key-value example is killed again and again under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::system::{PATIENCE, free_port, listens, local, start};
use super::{Context, Test};
use crate::http::{self, Response};
use crate::process::{Process, family};

pub const TESTS: &[Test] = &[
    Test {
        name: "a key-value unikernel killed at any moment loses nothing that it acknowledged",
        needs: &[],
        run: sealed,
    },
    Test {
        name: "so does the same program on the host",
        needs: &[],
        run: host,
    },
    Test {
        name: "a disk that holds something else stops the key-value unikernel and stays as it is",
        needs: &[],
        run: foreign,
    },
];

const EXAMPLE: &str = "examples/kv";
const CLIENTS: u64 = 4;
const KEYS: u64 = 3;
/// How often it is killed.
const LIVES: u64 = 8;

/// What one client knows of its own keys, which it changes one after the other.
#[derive(Clone, Default)]
struct Known {
    /// Changes that were acknowledged.
    done: u64,
    /// The next may have been asked for.
    asked: bool,
}

impl Known {
    /// The keys after so many changes. Each seventh change deletes.
    fn after(client: u64, changes: u64) -> BTreeMap<u64, String> {
        let mut state = BTreeMap::new();
        for n in 0..changes {
            match n % 7 {
                6 => state.remove(&(n % KEYS)),
                _ => state.insert(n % KEYS, value(client, n)),
            };
        }
        state
    }

    /// Compares what the store holds.
    fn check(&mut self, client: u64, server: SocketAddr) -> Result<()> {
        let mut found = BTreeMap::new();
        for key in 0..KEYS {
            let answer = http::get(server, &format!("/keys/{client}/{key}"), PATIENCE)?;
            match answer.status {
                200 => drop(found.insert(key, String::from_utf8(answer.body)?)),
                404 => {}
                _ => bail!("{}", answer.head),
            }
        }
        let last = self.done + u64::from(self.asked);
        let changes = (self.done..=last).find(|&n| Known::after(client, n) == found);
        self.done = changes.with_context(|| {
            format!(
                "client {client}: {} changes were acknowledged, and the store holds {found:?}",
                self.done
            )
        })?;
        self.asked = false;
        Ok(())
    }

    /// Changes keys until the store is gone.
    fn change(&mut self, client: u64, server: SocketAddr, acknowledged: &Sender<()>) -> Result<()> {
        loop {
            let n = self.done;
            let deletes = n % 7 == 6 && Known::after(client, n).contains_key(&(n % KEYS));
            if n % 7 == 6 && !deletes {
                self.done += 1;
                continue;
            }
            let (method, content) = match deletes {
                true => ("DELETE", String::new()),
                false => ("PUT", value(client, n)),
            };
            self.asked = true;
            let path = format!("/keys/{client}/{}", n % KEYS);
            let Some(answer) = ask(server, method, &path, &content) else {
                return Ok(());
            };
            ensure!(
                matches!(answer.status, 201 | 204),
                "{method} {path}: {} {}",
                answer.head,
                String::from_utf8_lossy(&answer.body)
            );
            self.done += 1;
            self.asked = false;
            // Nobody counts any more once it is to be killed.
            let _ = acknowledged.send(());
        }
    }
}

fn value(client: u64, n: u64) -> String {
    format!("{client} {n} {}", "x".repeat((n * 577 % 4000) as usize))
}

/// A whole answer; `None` if the connection ends before.
fn ask(server: SocketAddr, method: &str, path: &str, content: &str) -> Option<Response> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    );
    let answer = http::exchange(server, request.as_bytes(), PATIENCE).ok()?;
    http::parse(&answer).map(|(response, _)| response)
}

fn sealed(context: &Context) -> Result<()> {
    killed(context, &[])
}

fn host(context: &Context) -> Result<()> {
    killed(context, &["--on", "host"])
}

fn run(context: &Context, disk: &Path, options: &[&str]) -> Result<(Process, SocketAddr)> {
    let server = local(free_port()?);
    let publish = format!("{}:80", server.port());
    let block = format!("disk={}", disk.display());
    let mut words = vec!["run", EXAMPLE, "--memory", "64M"];
    words.extend(["--block", &block, "--publish", &publish]);
    words.extend(options);
    Ok((start(context.product.mirage(&words))?, server))
}

/// An empty disk, which takes no room before it is written to.
fn disk(folder: &Path, size: u64) -> Result<std::path::PathBuf> {
    let file = folder.join("disk");
    std::fs::File::create(&file)?.set_len(size)?;
    Ok(file)
}

fn killed(context: &Context, options: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    // So small that it is full, and forgets, several times.
    let disk = disk(folder.path(), 1 << 20)?;
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => UNIX_EPOCH.elapsed()?.as_nanos() as u64 | 1,
    };
    let outcome = lives(context, &disk, options, seed);
    outcome.with_context(|| format!("SEED={seed} kills it after the same numbers of changes"))
}

fn lives(context: &Context, disk: &Path, options: &[&str], seed: u64) -> Result<()> {
    let mut random = seed;
    let mut known = vec![Known::default(); CLIENTS as usize];
    for life in 0..=LIVES {
        let (mut process, server) = run(context, disk, options)?;
        listens(&process)?;
        let check = http::get(server, "/check", PATIENCE);
        let check = check.with_context(|| process.output())?;
        let text = String::from_utf8_lossy(&check.body);
        ensure!(check.status == 200, "life {life}: {text}");
        for (client, known) in (0..).zip(&mut known) {
            known
                .check(client, server)
                .context(format!("life {life}"))?;
        }
        if life == LIVES {
            break;
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let changes = 1 + (random >> 33 & 0xff);
        let (acknowledged, count) = channel();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..)
                .zip(&mut known)
                .map(|(client, known)| {
                    let acknowledged = acknowledged.clone();
                    scope.spawn(move || known.change(client, server, &acknowledged))
                })
                .collect();
            for _ in 0..changes {
                if let Err(error) = count.recv_timeout(PATIENCE) {
                    let _ = process.signal(Signal::KILL);
                    bail!("nothing was acknowledged: {error}\n{}", process.output());
                }
            }
            let image = *family(process.id()).last().context("no process")?;
            let image = Pid::from_raw(image as i32).context("no process")?;
            kill_process(image, Signal::KILL)?;
            process.exit(PATIENCE)?;
            for client in clients {
                client.join().map_err(|_| anyhow!("a client panicked"))??;
            }
            Ok(())
        })?;
    }
    let total: u64 = known.iter().map(|known| known.done).sum();
    ensure!(total > LIVES * CLIENTS, "{total} changes in {LIVES} lives");
    Ok(())
}

fn foreign(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    let disk = disk(folder.path(), 1 << 20)?;
    let photos = b"not a store".repeat(1000);
    std::fs::write(&disk, &photos)?;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&disk)?
        .set_len(1 << 20)?;
    let (mut process, _) = run(context, &disk, &[])?;
    let status = process.exit(PATIENCE * 15)?;
    let output = process.output();
    ensure!(
        status.code() == Some(1),
        "it ended with {status}:\n{output}"
    );
    ensure!(output.contains("no Irmin store"), "it says:\n{output}");
    let bytes = std::fs::read(&disk)?;
    ensure!(bytes.starts_with(&photos), "the disk was written to");
    let rest = &bytes[photos.len()..];
    ensure!(
        rest.iter().all(|&byte| byte == 0),
        "the disk was written to"
    );
    Ok(())
}

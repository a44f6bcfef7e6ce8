//! Recordings: what was seen once is seen again, and nothing else is taken for it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mirage_record::Recording;
use rustix::process::{Pid, Signal, kill_process};

use super::need::Need;
use super::system::{PATIENCE, answers, free_port, local, start};
use super::{Context, Test};
use crate::http;
use crate::process::{Process, family, until};

pub const TESTS: &[Test] = &[
    Test {
        name: "a recorded run is repeated byte for byte, with its exit status",
        needs: &[],
        run: hello,
    },
    Test {
        name: "a server recorded under load is repeated to the moment at which it was ended",
        needs: &[],
        run: website,
    },
    Test {
        name: "a race that a recording caught breaks in the same way 100 times out of 100",
        needs: &[],
        run: race,
    },
    Test {
        name: "a recording longer than its file is repeated from a checkpoint",
        needs: &[],
        run: ring,
    },
    Test {
        name: "a state too large for a checkpoint ends the recording and says what to do",
        needs: &[],
        run: too_large,
    },
    Test {
        name: "what was recorded is there when the unikernel is killed, and when the tool is",
        needs: &[],
        run: killed,
    },
    Test {
        name: "a recording names its image and refuses every other",
        needs: &[],
        run: other_image,
    },
    Test {
        name: "a file that is damaged, cut or something else is refused in words",
        needs: &[],
        run: damaged,
    },
    Test {
        name: "a disk without room for a recording is an error before the start",
        needs: &[Need::Tap],
        run: full_disk,
    },
    Test {
        name: "gdb shows the line at which a recorded unikernel broke",
        needs: &[Need::Program("gdb", "gdb")],
        run: debugger,
    },
];

/// A folder and a recording in it that does not exist yet.
fn place(context: &Context) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    let file = folder.path().join("recording");
    Ok((folder, file))
}

/// `mirage run APPLICATION --record FILE` with these words.
fn record(context: &Context, application: &str, file: &Path, words: &[&str]) -> Command {
    let mut command = context.product.mirage(&["run", application]);
    command.arg("--record").arg(file).args(words);
    command
}

/// `mirage replay FILE`, to its end.
fn replay(context: &Context, file: &Path) -> Result<Output> {
    let mut command = context.product.mirage(&["replay"]);
    Ok(command.arg(file).output()?)
}

/// It ended with this status and said this on the error stream.
fn ended(output: &Output, status: i32, says: &str) -> Result<()> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(status) && error.contains(says),
        "it ended with {} instead of {status}, and said, without `{says}`:\n{error}",
        output.status
    );
    Ok(())
}

/// What the unikernel wrote, of the events of `--json`.
fn console(events: &str) -> Vec<String> {
    let values = events
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines = values.filter(|value| value["event"] == "console");
    lines
        .filter_map(|value| value["text"].as_str().map(String::from))
        .collect()
}

/// Repeats a recording and compares the console with that of the run.
fn same_console(context: &Context, file: &Path, run: &Process, status: i32) -> Result<()> {
    let mut command = context.product.mirage(&["replay", "--json"]);
    let output = command.arg(file).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(status),
        "the replay ended with {}:\n{text}{error}",
        output.status
    );
    let (was, is) = (console(&run.output()), console(&text));
    ensure!(!was.is_empty(), "the run wrote nothing:\n{}", run.output());
    ensure!(was == is, "the run wrote {was:#?}, the replay {is:#?}");
    Ok(())
}

fn hello(context: &Context) -> Result<()> {
    let (_folder, file) = place(context)?;
    let ran = record(context, "examples/hello", &file, &["--", "name=Ada"]).output()?;
    ended(&ran, 0, "Recorded")?;
    let len = fs::metadata(&file)?.len();
    ensure!(len < 64 << 10, "of 64 MiB there stay {len} bytes");
    for _ in 0..3 {
        let again = replay(context, &file)?;
        ended(&again, 0, "it ended as recorded, with status 0")?;
        ensure!(again.stdout == ran.stdout, "{again:?} is not {ran:?}");
    }
    // The same image again, an error of its own.
    let ran = record(context, "examples/hello", &file, &["--", "log=loud"]).output()?;
    ensure!(ran.status.code() == Some(2), "{ran:?}");
    Ok(())
}

/// A published application that is being recorded, answering.
fn publish(
    context: &Context,
    application: &str,
    port: u16,
    file: &Path,
    words: &[&str],
) -> Result<(Process, SocketAddr)> {
    let server = local(free_port()?);
    let publish = format!("{}:{port}", server.port());
    let mut command = record(
        context,
        application,
        file,
        &["--json", "--publish", &publish],
    );
    command.args(words);
    let mut process = start(command)?;
    let up = || {
        let listens =
            process.output().contains("TCP port") || process.output().contains("UDP port");
        match process.exit(Duration::ZERO) {
            Ok(status) => Some(Err(anyhow::anyhow!("it ended with {status}"))),
            Err(_) => listens.then_some(Ok(())),
        }
    };
    let up = until(PATIENCE * 15, "the application", up).and_then(|up| up);
    up.with_context(|| process.output())?;
    Ok((process, server))
}

fn website(context: &Context) -> Result<()> {
    let (_folder, file) = place(context)?;
    let (mut process, server) = publish(context, "examples/website", 80, &file, &[])?;
    answers(&process, server)?;
    std::thread::scope(|scope| {
        let client = || -> Result<()> {
            for _ in 0..200 {
                let response = http::get(server, "/", PATIENCE)?;
                ensure!(response.status == 200, "{}", response.head);
            }
            Ok(())
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        for client in clients {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        anyhow::Ok(())
    })?;
    process.signal(Signal::TERM)?;
    let status = process.exit(PATIENCE)?;
    ensure!(status.code() == Some(143), "it ended with {status}");
    let bytes = fs::read(&file)?;
    let recording = Recording::read(&bytes)?;
    ensure!(
        recording.is_whole() && recording.len() > 5_000,
        "{recording:?}"
    );
    same_console(context, &file, &process, 143)
}

/// A line to the shop, and its answer.
fn say(customer: &mut TcpStream, line: &str) -> Result<String> {
    customer.write_all(line.as_bytes())?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while customer.read(&mut byte)? == 1 && byte != *b"\n" {
        answer.extend(byte);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn race(context: &Context) -> Result<()> {
    let (_folder, file) = place(context)?;
    let keys = ["--", "stock=1", "port=80"];
    let (mut process, server) = publish(context, "xtask/images/race", 80, &file, &keys)?;
    let customer = || -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let (mut first, mut second) = (customer()?, customer()?);
    for customer in [&mut first, &mut second] {
        let answer = say(customer, "buy\n")?;
        ensure!(answer == "sure?", "the shop says {answer:?}");
    }
    let answer = say(&mut first, "yes\n")?;
    ensure!(answer == "sold, 0 left", "the shop says {answer:?}");
    // The shop breaks: there is no answer.
    let _ = say(&mut second, "yes\n");
    let status = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(
        status.code() == Some(101),
        "it ended with {status}:\n{text}"
    );
    let panic = "an item was sold that is not there";
    ensure!(text.contains(panic), "it does not say why:\n{text}");
    let mut first: Option<Vec<u8>> = None;
    for number in 1..=100 {
        let again = replay(context, &file)?;
        ended(&again, 101, "it ended as recorded, with status 101")
            .with_context(|| format!("in replay {number}"))?;
        let first = first.get_or_insert_with(|| again.stdout.clone());
        ensure!(
            again.stdout == *first,
            "replay {number} wrote something else"
        );
    }
    same_console(context, &file, &process, 101)
}

/// Sends so many bytes to the echo server and reads them back.
fn echo(server: SocketAddr, len: usize) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut sender = stream.try_clone()?;
    let sending = std::thread::spawn(move || -> std::io::Result<()> {
        // Not all the same: a replay that mixed pieces up would be found.
        let piece: Vec<u8> = (0..65_536u32).map(|n| (n * 167 + n / 256) as u8).collect();
        for _ in 0..len / piece.len() {
            sender.write_all(&piece)?;
        }
        sender.shutdown(Shutdown::Write)
    });
    let mut received = 0;
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => received += count,
        }
    }
    match sending.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the sender panicked"),
    }
    ensure!(received == len, "{received} of {len} bytes came back");
    Ok(())
}

fn ring(context: &Context) -> Result<()> {
    const SIZE: usize = 8 << 20;
    let (_folder, file) = place(context)?;
    let words = ["--record-size", "8M"];
    let (mut process, server) = publish(context, "examples/echo", 7, &file, &words)?;
    echo(server, 3 * SIZE)?;
    process.signal(Signal::TERM)?;
    process.exit(PATIENCE)?;
    let bytes = fs::read(&file)?;
    ensure!(
        (SIZE / 2..=SIZE).contains(&bytes.len()),
        "the file has {} bytes",
        bytes.len()
    );
    let recording = Recording::read(&bytes)?;
    ensure!(
        !recording.is_whole(),
        "nothing made room for the newest part"
    );
    let first = recording.events().next().context("no event")??.0;
    ensure!(first > 100 && recording.len() > 100, "{recording:?}");
    for _ in 0..3 {
        let again = replay(context, &file)?;
        ended(&again, 143, "Replayed the last")?;
        ended(
            &again,
            143,
            "here the recording ends: it was ended, with status 143",
        )?;
    }
    Ok(())
}

fn too_large(context: &Context) -> Result<()> {
    let (_folder, file) = place(context)?;
    let words = ["--record-size", "1M"];
    let (mut process, server) = publish(context, "examples/echo", 7, &file, &words)?;
    echo(server, 8 << 20)?;
    process.signal(Signal::TERM)?;
    process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(
        text.contains("too many for a checkpoint") && text.contains("--record-size"),
        "it said:\n{text}"
    );
    let bytes = fs::read(&file)?;
    ensure!(Recording::read(&bytes)?.is_whole(), "the beginning is gone");
    let again = replay(context, &file)?;
    ended(&again, 143, "too many for a checkpoint")
}

fn killed(context: &Context) -> Result<()> {
    for tool in [false, true] {
        let (_folder, file) = place(context)?;
        let (mut process, server) = publish(context, "examples/echo", 7, &file, &[])?;
        echo(server, 1 << 20)?;
        let image = *family(process.id()).last().context("no process")?;
        if tool {
            process.signal(Signal::KILL)?;
        } else {
            let image = Pid::from_raw(image as i32).context("no process")?;
            kill_process(image, Signal::KILL)?;
        }
        process.exit(PATIENCE)?;
        until(PATIENCE, "the end of the image", || {
            (!Path::new(&format!("/proc/{image}")).exists()).then_some(())
        })?;
        let bytes = fs::read(&file)?;
        let recording = Recording::read(&bytes)?;
        let expected = (!tool).then_some(137);
        ensure!(
            recording.status() == expected,
            "tool killed: {tool}, status {:?}",
            recording.status()
        );
        let end = match tool {
            false => "here the recording ends: it was ended, with status 137",
            true => "here the recording ends, and nobody has seen how it went on",
        };
        ended(&replay(context, &file)?, 137, end)?;
    }
    Ok(())
}

fn other_image(context: &Context) -> Result<()> {
    let (folder, file) = place(context)?;
    ended(
        &record(context, "examples/hello", &file, &[]).output()?,
        0,
        "Recorded",
    )?;
    let image = context.product.image("examples/hello", &[])?;
    let mut changed = fs::read(&image)?;
    *changed.last_mut().context("an empty image")? ^= 1;
    let other = folder.path().join("other");
    fs::write(&other, changed)?;
    let with = |path: &Path| {
        let mut command = context.product.mirage(&["replay"]);
        command.arg(&file).arg("--image").arg(path).output()
    };
    let refused = with(&other)?;
    ended(&refused, 1, "the recording is not of the image")?;
    let bytes = fs::read(&file)?;
    let needed = Recording::read(&bytes)?.description().image.clone();
    ended(&refused, 1, &needed)?;
    ended(&with(&folder.path().join("missing"))?, 1, &needed)?;
    ended(&with(&image)?, 0, "it ended as recorded")?;
    let application = context.product.root.join("examples/hello");
    ended(&with(&application)?, 0, "it ended as recorded")
}

fn damaged(context: &Context) -> Result<()> {
    let (folder, file) = place(context)?;
    ended(
        &record(context, "examples/hello", &file, &[]).output()?,
        0,
        "Recorded",
    )?;
    let whole = fs::read(&file)?;
    let changed = folder.path().join("changed");
    let refused = |bytes: &[u8], says: &str| -> Result<()> {
        fs::write(&changed, bytes)?;
        ended(&replay(context, &changed)?, 1, says)
    };
    refused(b"", "it is not a recording")?;
    refused(&whole[..5_000], "cannot be repeated")?;
    let mut version = whole.clone();
    version[7] = 2;
    refused(
        &version,
        "it is a recording of version 2; this is for version 1",
    )?;

    // The last event's status: the program does something else than that says.
    let recording = Recording::read(&whole)?;
    let (_, exit) = recording.events().last().context("no event")??;
    let mut other = whole.clone();
    other[exit.payload - 1] = 7;
    refused(
        &other,
        "in the recording it ends with status 7, now it ends with status 0",
    )?;

    // What is no recording is not written to.
    fs::write(&changed, "a letter")?;
    let words = ["run", "examples/hello", "--record"];
    let output = context.product.mirage(&words).arg(&changed).output()?;
    ended(&output, 1, "exists and is not a recording")?;
    ensure!(fs::read(&changed)? == b"a letter", "it was written to");
    let words = ["run", "examples/hello", "--on", "host", "--record"];
    let output = context.product.mirage(&words).arg(&file).output()?;
    ended(
        &output,
        2,
        "--record: a program on the host uses the host's own network",
    )
}

fn full_disk(context: &Context) -> Result<()> {
    let (folder, _) = place(context)?;
    context.product.image("examples/hello", &[])?;
    let full = "mount -t tmpfs -o size=8M none \"$1\" && shift && exec \"$@\" 2>&1";
    let limited = "shift; ulimit -f 4096; exec \"$@\" 2>&1";
    for (script, says) in [
        (full, "there is no room for a recording"),
        (limited, "File too large"),
    ] {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(folder.path());
        command
            .arg(&context.product.mirage)
            .args(["run", "examples/hello", "--record"]);
        command.arg(folder.path().join("recording"));
        let output = command.current_dir(&context.product.root).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.code() == Some(1) && text.contains(says),
            "it ended with {}, without `{says}`:\n{text}",
            output.status
        );
        ensure!(!text.contains("Hello"), "it was started:\n{text}");
    }
    Ok(())
}

fn debugger(context: &Context) -> Result<()> {
    let (_folder, file) = place(context)?;
    let words = ["--", "how=panic"];
    let ran = record(context, "xtask/images/crash", &file, &words).output()?;
    ended(&ran, 101, "Recorded")?;
    let address = local(free_port()?);
    let mut command = context.product.mirage(&["replay"]);
    command.arg(&file).args(["--gdb", &address.to_string()]);
    let mut replay = start(command)?;
    until(PATIENCE, "the debugger's port", || {
        replay.output().contains("Waiting").then_some(())
    })?;
    let twin = context.product.image("xtask/images/crash", &[])?;
    let twin = twin.with_added_extension("debug");
    let output = Command::new("gdb")
        .args(["--batch", "--nx"])
        .arg(&twin)
        .args(["-ex", &format!("target remote {address}")])
        .args(["-ex", "break rust_begin_unwind", "-ex", "continue"])
        .args(["-ex", "backtrace", "-ex", "delete", "-ex", "continue"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("crash/src/lib.rs:"),
        "gdb shows no line of the crash:\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let status = replay.exit(PATIENCE)?;
    let said = replay.output();
    ensure!(
        status.code() == Some(101),
        "it ended with {status}:\n{said}"
    );
    Ok(())
}

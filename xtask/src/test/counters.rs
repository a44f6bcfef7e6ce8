//! What a running unikernel counts, seen from outside.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::need::Need;
use super::system::{PATIENCE, answers, free_port, local, start};
use super::{Context, Test};
use crate::http;
use crate::process::{Process, until};

pub const TESTS: &[Test] = &[
    Test {
        name: "mirage top shows the requests of a website and the frames that carried them",
        needs: &[],
        run: requests,
    },
    Test {
        name: "mirage top shows a program on the host as it does an image",
        needs: &[],
        run: host,
    },
    Test {
        name: "the counters of a tool that was killed are gone with the next mirage top",
        needs: &[],
        run: killed,
    },
    Test {
        name: "where a disk is full, a unikernel runs all the same",
        needs: &[Need::Tap],
        run: full_disk,
    },
    Test {
        name: "the key counters writes them to the console",
        needs: &[],
        run: console,
    },
    Test {
        name: "the example metrics shows its counters at /metrics",
        needs: &[],
        run: metrics,
    },
];

/// A folder of the test's own for what it runs. `mirage top` sees others of this user, too: each
/// look is at one process.
struct Folder(PathBuf);

impl Folder {
    fn new(context: &Context) -> Result<Self> {
        let folder = tempfile::tempdir_in(context.scratch.path())?.keep();
        Ok(Self(folder))
    }

    fn mirage(&self, context: &Context, words: &[&str]) -> Command {
        let mut command = context.product.mirage(words);
        command.env("XDG_RUNTIME_DIR", &self.0);
        command
    }

    /// Runs `example`, published, until it answers.
    fn run(
        &self,
        context: &Context,
        example: &str,
        more: &[&str],
    ) -> Result<(Process, std::net::SocketAddr)> {
        let server = local(free_port()?);
        let publish = format!("{}:80", server.port());
        let words = [&["run", example, "--publish", &publish], more].concat();
        let process = start(self.mirage(context, &words))?;
        answers(&process, server)?;
        Ok((process, server))
    }

    /// The files of what runs.
    fn files(&self) -> Result<Vec<String>> {
        let files = std::fs::read_dir(self.0.join("mirage"))?;
        let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    /// The process of the only unikernel.
    fn process(&self) -> Result<String> {
        let files = self.files()?;
        let [file] = &*files else {
            bail!("not one file: {files:?}");
        };
        let number = file.rsplit_once('.').map(|(_, number)| number.to_owned());
        number.with_context(|| format!("{file} has no number"))
    }

    fn top(&self, context: &Context, words: &[&str]) -> Result<(i32, String)> {
        let words = [&["top"], words].concat();
        let output = self.mirage(context, &words).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8(text)?))
    }

    /// The value of a counter of the only unikernel.
    fn value(&self, context: &Context, device: &str, name: &str) -> Result<u64> {
        let (_, text) = self.top(context, &[&self.process()?, "--once", "--json"])?;
        let view: Value = serde_json::from_str(text.trim()).with_context(|| text.clone())?;
        let counters = view["counters"].as_array().context("no counters")?;
        let found = counters
            .iter()
            .find(|row| row["device"] == device && row["name"] == name);
        let value = found.and_then(|row| row["value"].as_u64());
        value.with_context(|| format!("no {device} {name} in {text}"))
    }

    /// Waits until a counter shows at least `least`.
    fn reaches(&self, context: &Context, device: &str, name: &str, least: u64) -> Result<()> {
        until(PATIENCE, &format!("{least} of {device} {name}"), || {
            let value = self.value(context, device, name).ok()?;
            (value >= least).then_some(())
        })
    }
}

fn requests(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    let (process, server) = folder.run(context, "examples/website", &[])?;
    let before = folder.value(context, "http", "requests_total")?;
    for _ in 0..5 {
        http::get(server, "/", PATIENCE)?;
    }
    http::get(server, "/absent", PATIENCE)?;
    let value = |device, name| folder.value(context, device, name);
    // A request is counted before its answer leaves, an answer soon after.
    ensure!(value("http", "requests_total")? == before + 6);
    folder.reaches(context, "http", "responses_total{code=\"2xx\"}", before + 5)?;
    folder.reaches(context, "http", "responses_total{code=\"4xx\"}", 1)?;
    let received = value("net", "frames_received_total")?;
    ensure!(received >= 6 * 4, "{received} frames");
    ensure!(value("stack", "connections_accepted_total")? >= 6);
    ensure!(value("stack", "frames_received_total")? >= received);
    ensure!(value("heap", "allocations_total")? > 0);
    ensure!(value("runtime", "wakeups_total")? > 0);
    // The gateway tells what it has carried a moment later.
    folder.reaches(context, "gateway", "connections_total", 6)?;

    let number = folder.process()?;
    let (status, table) = folder.top(context, &[&number, "--once"])?;
    ensure!(
        status == 0 && table.starts_with("website  process "),
        "{table}"
    );
    ensure!(
        table.contains("requests_total") && !table.contains('\x1b'),
        "{table}"
    );
    let (_, text) = folder.top(context, &[&number, "--prometheus"])?;
    let labels = format!("unikernel=\"website\",process=\"{number}\",device=\"http\"");
    let sample = format!("mirage_requests_total{{{labels}}} {}\n", before + 6);
    ensure!(text.contains(&sample), "no {sample} in {text}");
    let (status, text) = folder.top(context, &["other", "--once"])?;
    ensure!(
        status == 1 && text.contains("no unikernel `other` runs here"),
        "{text}"
    );

    drop(process);
    let (status, text) = folder.top(context, &[&number, "--once"])?;
    ensure!(status == 1 && text.contains("no unikernel"), "{text}");
    let left = folder.files()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn host(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    let (_process, server) = folder.run(context, "examples/website", &["--on", "host"])?;
    http::get(server, "/", PATIENCE)?;
    folder.reaches(context, "http", "requests_total", 2)?;
    folder.reaches(context, "stack", "connections_accepted_total", 2)
}

fn killed(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    let (process, _) = folder.run(context, "examples/website", &[])?;
    let number = folder.process()?;
    process.signal(Signal::KILL)?;
    until(PATIENCE, "the end of the image", || {
        let (status, _) = folder.top(context, &[&number, "--once"]).ok()?;
        (status == 1).then_some(())
    })?;
    let left = folder.files()?;
    ensure!(
        left.is_empty(),
        "the file of a killed tool is left: {left:?}"
    );
    Ok(())
}

fn console(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    let more = ["--", "counters=20ms"];
    let (mut process, _) = folder.run(context, "examples/website", &more)?;
    until(PATIENCE, "counters on the console", || {
        let _ = process.exit(Duration::ZERO);
        process
            .output()
            .contains("counter http requests_total 1\n")
            .then_some(())
    })
}

fn metrics(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    let (_process, server) = folder.run(context, "examples/metrics", &[])?;
    let response = http::get(server, "/metrics", PATIENCE)?;
    let text = String::from_utf8(response.body)?;
    ensure!(
        text.contains("mirage_greetings_total{device=\"metrics\"} 1\n"),
        "{text}"
    );
    ensure!(text.contains("# TYPE mirage_tasks gauge\n"), "{text}");
    ensure!(
        text.contains("mirage_frames_received_total{device=\"net\"} "),
        "{text}"
    );
    Ok(())
}

/// The place for the counters is full, and so is the one for what the tool says.
fn full_disk(context: &Context) -> Result<()> {
    let folder = Folder::new(context)?;
    context.product.image("examples/hello", &[])?;
    let script = "mount -t tmpfs -o size=64K none \"$XDG_RUNTIME_DIR\" || exit
        head -c 64K /dev/zero > \"$XDG_RUNTIME_DIR/full\" 2>/dev/null
        exec \"$@\" 2> /dev/full";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(&context.product.mirage);
    command.args(["run", "examples/hello"]);
    command.env("XDG_RUNTIME_DIR", &folder.0);
    let output = command.current_dir(&context.product.root).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && text.contains("Hello"),
        "it ended with {}:\n{text}",
        output.status
    );
    Ok(())
}

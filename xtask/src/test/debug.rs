//! What is there for whoever looks for a mistake: backtraces, cores, a debugger, captures.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::need::Need;
use super::system::{PATIENCE, Tap, answers, free_port, local, start};
use super::{Context, Test};
use crate::process::{Process, family};

pub const TESTS: &[Test] = &[
    Test {
        name: "whatever breaks a unikernel is told, with the line where it happened",
        needs: &[],
        run: told,
    },
    Test {
        name: "a backtrace is an event of --json",
        needs: &[],
        run: event,
    },
    Test {
        name: "the return addresses in an image's own log are named by mirage backtrace",
        needs: &[],
        run: own_log,
    },
    Test {
        name: "a watched unikernel is stopped, goes on and ends by signals like any process",
        needs: &[],
        run: signals,
    },
    Test {
        name: "gdb opens the core that --dump leaves, and shows the line and its variables",
        needs: &[Need::Program("gdb", "gdb")],
        run: core,
    },
    Test {
        name: "gdb stops a unikernel at a breakpoint by its source line, and where it breaks",
        needs: &[Need::Program("gdb", "gdb")],
        run: breakpoint,
    },
    Test {
        name: "gdb interrupts a unikernel and leaves it, and it goes on",
        needs: &[Need::Program("gdb", "gdb")],
        run: interrupted,
    },
    Test {
        name: "Ctrl-C ends a unikernel that waits for a debugger",
        needs: &[],
        run: given_up,
    },
    Test {
        name: "tshark reads the frames of a request over the gateway",
        needs: &[Need::Program("tshark", "tshark")],
        run: capture_gateway,
    },
    Test {
        name: "tshark reads the frames of a request over a tap",
        needs: &[Need::Tap, Need::Program("tshark", "tshark")],
        run: capture_tap,
    },
];

const CRASH: &str = "xtask/images/crash";
const SOURCE: &str = "xtask/images/crash/src/lib.rs";

/// The line of the source that is marked `line: WHAT`.
fn line(context: &Context, what: &str) -> Result<usize> {
    let text = std::fs::read_to_string(context.product.root.join(SOURCE))?;
    let mark = format!("// line: {what}");
    let at = text.lines().position(|line| line.ends_with(&mark));
    Ok(at.with_context(|| format!("no line is marked {mark}"))? + 1)
}

/// `mirage run` of the image that breaks as told.
fn crash(context: &Context, how: &str, options: &[&str]) -> Result<Process> {
    let how = format!("how={how}");
    let mut words = vec!["run", CRASH];
    words.extend(options);
    words.extend(["--", &how]);
    start(context.product.mirage(&words))
}

fn told(context: &Context) -> Result<()> {
    for (how, status, cause) in [
        ("panic", 101, "a panic"),
        ("unwrap", 101, "a panic"),
        ("memory", 102, "an allocation that failed"),
        ("read", 139, "a read of address 0x8"),
        ("write", 139, "a write to address 0x10"),
        ("jump", 139, "a jump to address 0x10"),
        ("stack", 139, "a stack overflow"),
        ("call", 159, "the forbidden system call 39 (getpid)"),
        ("trap", 132, "an illegal instruction"),
        ("divide", 136, "an integer division that has no result"),
    ] {
        let mut process = crash(context, how, &[])?;
        let ended = process.exit(PATIENCE * 15)?;
        let text = process.output();
        ensure!(ended.code() == Some(status), "{how}: {ended}:\n{text}");
        let title = format!("Backtrace of {cause} at ");
        ensure!(
            text.contains(&title),
            "{how} is not told as {cause}:\n{text}"
        );
        let place = format!("             at {SOURCE}:{}:", line(context, how)?);
        ensure!(text.contains(&place), "{how} is not at {place}:\n{text}");
        for function in ["crash::inner", "crash::main::{{closure}}"] {
            // Of an endless recursion only the innermost calls are shown.
            let shown = how == "stack" || text.contains(&format!(": {function}\n"));
            ensure!(shown, "{how}: {function} is not shown:\n{text}");
        }
        let own = "return addresses";
        ensure!(!text.contains(own), "{how} is told twice:\n{text}");
    }
    let mut process = crash(context, "none", &[])?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(
        ended.code() == Some(0) && !text.contains("Backtrace"),
        "{text}"
    );
    Ok(())
}

fn event(context: &Context) -> Result<()> {
    let mut process = crash(context, "panic", &["--json"])?;
    process.exit(PATIENCE * 15)?;
    let text = process.output();
    let mut events = text.lines().filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value)
    });
    let event = events.find(|value| value["event"] == "backtrace");
    let event = event.with_context(|| format!("there is no such event:\n{text}"))?;
    let first = &event["frames"][0];
    ensure!(event["cause"] == "a panic", "{event}");
    ensure!(first["function"] == "crash::inner", "{event}");
    ensure!(
        first["file"] == SOURCE && first["inlined"] == true,
        "{event}"
    );
    ensure!(first["line"] == line(context, "panic")?, "{event}");
    Ok(())
}

fn own_log(context: &Context) -> Result<()> {
    let image = context.product.image(CRASH, &[])?;
    let mut command = Command::new(context.product.tender()?);
    let log = context.scratch.path().join("log");
    command
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log)?);
    let status = command.arg(&image).arg("how=unwrap").status()?;
    ensure!(status.code() == Some(101), "it ended with {status}");
    let mut command = context.product.mirage(&["backtrace", CRASH]);
    let output = command.stdin(std::fs::File::open(&log)?).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let place = format!("crash::unwrap at {SOURCE}:{}:", line(context, "unwrap")?);
    ensure!(text.contains(&place), "there is no {place}:\n{text}");
    ensure!(
        text.contains("panic at crash/src/lib.rs:"),
        "the rest is lost:\n{text}"
    );
    Ok(())
}

/// The image that `process`, the tool, runs.
fn image_of(process: &Process) -> Result<Pid> {
    let child = || family(process.id()).get(1).copied();
    let child = crate::process::until(PATIENCE, "a child of the tool", child)?;
    Pid::from_raw(child.cast_signed()).context("a process id is not zero")
}

/// What the kernel says of a process: its line in proc(5) from its state on.
fn stat(pid: Pid) -> Result<String> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path)?;
    let rest = text.rsplit_once(") ").context("no state")?.1;
    Ok(rest.into())
}

/// Waits until a process has computed for so long that it has come to its endless loop.
fn loops(pid: Pid) -> Result<()> {
    crate::process::until(PATIENCE, "the loop", || {
        // utime: hundredths of a second.
        let used: u64 = stat(pid).ok()?.split(' ').nth(11)?.parse().ok()?;
        (used > 1).then_some(())
    })
}

/// Waits until a process stands still, or goes on.
fn stands(pid: Pid, still: bool) -> Result<()> {
    crate::process::until(PATIENCE, "another state", || {
        let stat = stat(pid).ok()?;
        (stat.starts_with(['T', 't']) == still).then_some(())
    })
}

fn signals(context: &Context) -> Result<()> {
    let mut process = crash(context, "loop", &[])?;
    process.says(PATIENCE * 15, "now\n")?;
    let image = image_of(&process)?;
    for _ in 0..2 {
        kill_process(image, Signal::STOP)?;
        stands(image, true)?;
        kill_process(image, Signal::CONT)?;
        stands(image, false)?;
    }
    kill_process(image, Signal::TERM)?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(ended.code() == Some(143), "{ended}:\n{text}");
    ensure!(
        !text.contains("Backtrace"),
        "an end by somebody is told:\n{text}"
    );

    // Where does it hang?
    let mut process = crash(context, "loop", &[])?;
    process.says(PATIENCE, "now\n")?;
    let image = image_of(&process)?;
    loops(image)?;
    kill_process(image, Signal::QUIT)?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(ended.code() == Some(131), "{ended}:\n{text}");
    let place = format!(
        "Backtrace of the signal SIGQUIT at {SOURCE}:{}",
        line(context, "loop")?
    );
    ensure!(text.contains(&place), "there is no {place}:\n{text}");
    Ok(())
}

/// Runs gdb on the image's twin with these commands; yields what it says.
fn gdb(context: &Context, arguments: &[&str], commands: &[&str]) -> Result<String> {
    let output = debugger(context, arguments, commands).output()?;
    let (said, error) = (&output.stdout, &output.stderr);
    let text = String::from_utf8_lossy(said) + String::from_utf8_lossy(error);
    ensure!(
        output.status.success(),
        "gdb ended with {}:\n{text}",
        output.status
    );
    Ok(text.into_owned())
}

fn debugger(context: &Context, arguments: &[&str], commands: &[&str]) -> Command {
    let mut command = Command::new("gdb");
    command
        .args(["--nx", "--batch", "target/mirage/crash.debug"])
        .args(arguments);
    for text in commands {
        command.args(["-ex", text]);
    }
    command
        .stdin(Stdio::null())
        .current_dir(&context.product.root);
    command
}

fn core(context: &Context) -> Result<()> {
    let file = context.scratch.path().join("core");
    let option = file.display().to_string();
    let mut process = crash(context, "none", &["--dump", &option])?;
    process.exit(PATIENCE * 15)?;
    ensure!(!file.exists(), "a core of what did not break");
    for (how, signal) in [("read", "SIGSEGV"), ("panic", "SIGABRT")] {
        let mut process = crash(context, how, &["--dump", &option])?;
        process.exit(PATIENCE * 15)?;
        let text = gdb(context, &[&option], &["bt"])?;
        ensure!(text.contains(signal), "the signal is not {signal}:\n{text}");
        let place = format!("src/lib.rs:{}", line(context, how)?);
        ensure!(text.contains(&place), "{how} is not at {place}:\n{text}");
    }
    let mut process = crash(context, "read", &["--dump", &option])?;
    process.exit(PATIENCE)?;
    let text = gdb(context, &[&option], &["bt"])?;
    ensure!(
        text.contains("crash::read (address=8)"),
        "the argument is not shown:\n{text}"
    );
    // 32 MiB of memory, most of it never used.
    use std::os::unix::fs::MetadataExt as _;
    let blocks = std::fs::metadata(&file)?.blocks() * 512;
    ensure!(
        blocks < 1 << 20,
        "the core takes {blocks} bytes on the disk"
    );

    let mut process = crash(context, "read", &["--dump", "/nowhere/core"])?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(ended.code() == Some(1), "{ended}:\n{text}");
    ensure!(
        text.contains("--dump: /nowhere/core cannot be written"),
        "{text}"
    );
    ensure!(
        !text.contains("now\n"),
        "it was started all the same:\n{text}"
    );
    Ok(())
}

/// Starts the image, which waits for a debugger; yields the command that connects one.
fn waiting(context: &Context, how: &str) -> Result<(Process, String)> {
    let process = crash(context, how, &["--gdb"])?;
    process.says(PATIENCE * 15, "'\n")?;
    let text = process.output();
    let command = text.split('\'').nth(1).context("no command is told")?;
    ensure!(command.starts_with("target remote 127.0.0.1:"), "{text}");
    Ok((process, command.into()))
}

fn breakpoint(context: &Context) -> Result<()> {
    let (mut process, connect) = waiting(context, "call")?;
    let at = line(context, "call")?;
    let place = format!("break {SOURCE}:{at}");
    let commands = [
        &*connect,
        "info registers rip",
        &place,
        "continue",
        "bt",
        "continue",
        "bt 1",
    ];
    let text = gdb(context, &[], &commands)?;
    ensure!(
        text.contains("<_start>"),
        "it does not begin at its entry point:\n{text}"
    );
    ensure!(
        text.contains("Breakpoint 1, crash::call"),
        "no breakpoint was hit:\n{text}"
    );
    ensure!(
        text.contains("crash::inner"),
        "there is no backtrace:\n{text}"
    );
    ensure!(
        text.contains(&format!("\n{at}\t")),
        "the source is not shown:\n{text}"
    );
    ensure!(
        text.contains("received signal SIGSYS"),
        "the end is not shown:\n{text}"
    );
    let ended = process.exit(PATIENCE)?;
    ensure!(
        ended.code() == Some(159),
        "it ended with {ended}:\n{}",
        process.output()
    );

    let (mut process, connect) = waiting(context, "read")?;
    let commands = [
        &*connect,
        "break crash::read",
        "continue",
        "stepi",
        "continue",
    ];
    let text = gdb(context, &[], &commands)?;
    ensure!(text.contains("terminated with signal SIGSEGV"), "{text}");
    let ended = process.exit(PATIENCE)?;
    ensure!(
        ended.code() == Some(139),
        "it ended with {ended}:\n{}",
        process.output()
    );
    Ok(())
}

fn interrupted(context: &Context) -> Result<()> {
    let (mut process, connect) = waiting(context, "loop")?;
    let commands = [&*connect, "continue", "bt", "detach"];
    let mut gdb = Process::start(&mut debugger(context, &[], &commands))?;
    process.says(PATIENCE, "now\n")?;
    loops(image_of(&process)?)?;
    gdb.signal(Signal::INT)?;
    let ended = gdb.exit(PATIENCE)?;
    let text = gdb.output();
    ensure!(ended.success(), "gdb ended with {ended}:\n{text}");
    ensure!(text.contains("received signal SIGINT"), "{text}");
    ensure!(
        text.contains("crash::spin"),
        "there is no backtrace:\n{text}"
    );
    let image = image_of(&process)?;
    stands(image, false)?;
    kill_process(image, Signal::ABORT)?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(ended.code() == Some(134), "{ended}:\n{text}");
    ensure!(text.contains("Backtrace of the signal SIGABRT"), "{text}");
    Ok(())
}

fn given_up(context: &Context) -> Result<()> {
    let (mut process, _) = waiting(context, "loop")?;
    let image = image_of(&process)?;
    stands(image, true)?;
    process.signal(Signal::INT)?;
    let ended = process.exit(PATIENCE)?;
    ensure!(ended.code() == Some(130), "{ended}:\n{}", process.output());
    Ok(())
}

/// What tshark finds in a capture with this filter, a line each.
pub fn frames(file: &Path, filter: &str) -> Result<usize> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", filter]);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("tshark ended with {}:\n{error}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().count())
}

/// Looks for a request and its answer, and where they came from.
fn has_request(file: &Path) -> Result<()> {
    for filter in [
        "http.request.uri == \"/\"",
        "http.response.code == 200",
        "arp.opcode == 1",
        "frame.time_delta >= 0 && frame.number == 1",
    ] {
        ensure!(frames(file, filter)? > 0, "no frame with {filter}");
    }
    ensure!(frames(file, "_ws.malformed")? == 0, "a frame is malformed");
    Ok(())
}

fn capture_gateway(context: &Context) -> Result<()> {
    let file = context.scratch.path().join("gateway.pcap");
    let option = file.display().to_string();
    let server = local(free_port()?);
    let publish = format!("{}:80", server.port());
    let words = [
        "run",
        "examples/website",
        "--publish",
        &publish,
        "--pcap",
        &option,
    ];
    let process = start(context.product.mirage(&words))?;
    answers(&process, server)?;
    // However the tool ends, what it has seen is in the file.
    process.signal(Signal::KILL)?;
    has_request(&file)
}

fn capture_tap(context: &Context) -> Result<()> {
    let file: PathBuf = context.scratch.path().join("tap.pcap");
    let tap = Tap::new()?;
    let (process, _) = tap.website_with(context, &["--pcap", &file.display().to_string()])?;
    drop(process);
    has_request(&file)
}

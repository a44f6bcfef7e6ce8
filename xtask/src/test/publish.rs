//! `mirage run --publish`: user-mode networking, without any privilege.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::need::Need;
use super::system::{PATIENCE, answers, free_port, listens, local, start, website};
use super::{Context, Test};
use crate::bench::peers;
use crate::http;
use crate::process::{Process, ended, family};

pub const TESTS: &[Test] = &[
    Test {
        name: "curl loads the website over --publish",
        needs: &[Need::Program("curl", "curl")],
        run: curl_loads_it,
    },
    Test {
        name: "wrk loads the website over --publish without an error",
        needs: &[Need::Program("wrk", "wrk")],
        run: wrk_loads_it,
    },
    Test {
        name: "an unprivileged user builds the website, serves it, and curl loads it",
        needs: &[Need::Program("curl", "curl")],
        run: unprivileged,
    },
    Test {
        name: "a folder of one's own is served with --set assets=DIR",
        needs: &[],
        run: own_folder,
    },
    Test {
        name: "1,000 connections opened at once over --publish are all served",
        needs: &[],
        run: burst,
    },
    Test {
        name: "echo answers over TCP and UDP over --publish",
        needs: &[],
        run: echo,
    },
    Test {
        name: "Ctrl-C stops mirage run, the image and the port",
        needs: &[],
        run: interrupted,
    },
    Test {
        name: "kill -9 of the tool ends the image",
        needs: &[],
        run: killed,
    },
];

fn curl_loads_it(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    curl(server)
}

fn wrk_loads_it(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    let rate = peers::wrk(server, 2)?;
    ensure!(rate > 0.0, "wrk counts {rate} requests a second");
    Ok(())
}

/// The page whole, its head with the same length, and "not modified" for who has it already.
fn curl(server: std::net::SocketAddr) -> Result<()> {
    let url = format!("http://{server}/");
    let curl = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("curl")
            .args(["-sS", "--fail", "--max-time", "20"])
            .args(arguments)
            .arg(&url)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "curl ended with {}: {error}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let page = curl(&[])?;
    ensure!(
        page.contains("</html>") || page.contains("<title>"),
        "no page came: {page}"
    );
    ensure!(
        curl(&["--compressed"])? == page,
        "the compressed page is another one"
    );
    let head = curl(&["--head"])?.to_ascii_lowercase();
    ensure!(
        head.contains(&format!("content-length: {}\r\n", page.len())),
        "HEAD says:\n{head}"
    );
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
    let condition = format!("If-None-Match: {}", tag.context("no ETag")?);
    let status = curl(&["-o", "/dev/null", "-w", "%{http_code}", "-H", &condition])?;
    ensure!(
        status == "304",
        "a page that did not change was answered with {status}"
    );
    Ok(())
}

fn own_folder(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    std::fs::create_dir(folder.path().join("sub"))?;
    std::fs::write(folder.path().join("index.html"), "mine")?;
    std::fs::write(folder.path().join("sub/other.txt"), "my other")?;
    let server = local(free_port()?);
    let publish = format!("{}:80", server.port());
    let set = format!("assets={}", folder.path().display());
    let words = [
        "run",
        "examples/website",
        "--set",
        &set,
        "--publish",
        &publish,
    ];
    let process = start(context.product.mirage(&words))?;
    ensure!(
        answers(&process, server)?.body == b"mine",
        "another page was served"
    );
    let other = http::get(server, "/sub/other.txt", PATIENCE)?;
    ensure!(other.body == b"my other", "{other:?}");
    ensure!(http::get(server, "/absent", PATIENCE)?.status == 404);
    Ok(())
}

fn burst(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    all_served(server)
}

/// Opens a thousand connections and asks that each is answered.
pub fn all_served(server: std::net::SocketAddr) -> Result<()> {
    let result = http::burst(server, 1000, PATIENCE)?;
    ensure!(result.served == 1000, "not all were served: {result:?}");
    Ok(())
}

fn echo(context: &Context) -> Result<()> {
    let port = free_port()?;
    let tcp = format!("{port}:7");
    let udp = format!("{port}:7/udp");
    let words = ["run", "examples/echo", "--publish", &tcp, "--publish", &udp];
    let process = start(context.product.mirage(&words))?;
    listens(&process)?;
    echoes_tcp(local(port)).with_context(|| process.output())?;
    echoes_udp(local(port)).with_context(|| process.output())
}

/// Sends some hundred KB while reading them back, closes its side and reads to the end.
pub fn echoes_tcp(server: std::net::SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = stream.try_clone()?;
    let received = std::thread::scope(|scope| -> Result<Vec<u8>> {
        let writing = scope.spawn(|| {
            writer.write_all(&sent)?;
            writer.shutdown(Shutdown::Write)
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        writing
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        Ok(received)
    })?;
    ensure!(
        received == sent,
        "{} bytes came back of {}",
        received.len(),
        sent.len()
    );
    Ok(())
}

/// Sends datagrams of several lengths and expects each back.
pub fn echoes_udp(server: std::net::SocketAddr) -> Result<()> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    // A datagram may get lost: it is sent again.
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    for length in [1_usize, 100, 1400] {
        let sent = vec![length as u8; length];
        let mut buffer = [0; 2000];
        let back = (0..100).any(|_| {
            let received = socket.send(&sent).and_then(|_| socket.recv(&mut buffer));
            received.is_ok_and(|count| buffer[..count] == sent[..])
        });
        ensure!(back, "{length} bytes did not come back");
    }
    Ok(())
}

fn interrupted(context: &Context) -> Result<()> {
    let (mut process, server) = website(context)?;
    let everyone = family(process.id());
    ensure!(everyone.len() > 1, "the image is not a child of the tool");
    process.signal(Signal::INT)?;
    let status = process.exit(PATIENCE)?;
    // 128 and the number of SIGINT.
    ensure!(status.code() == Some(130), "it ended with {status}");
    all_gone(&everyone)?;
    ensure!(
        TcpStream::connect(server).is_err(),
        "the port is still open"
    );
    Ok(())
}

fn killed(context: &Context) -> Result<()> {
    let (process, _) = website(context)?;
    let everyone = family(process.id());
    ensure!(everyone.len() > 1, "the image is not a child of the tool");
    process.signal(Signal::KILL)?;
    all_gone(&everyone)
}

fn all_gone(everyone: &[u32]) -> Result<()> {
    everyone.iter().try_for_each(|&pid| ended(pid, PATIENCE))
}

/// As root: as the user `nobody`, who sees workspace and toolchain read-only through bind mounts
/// of its own, and owns nothing but an empty target folder. As anybody else: as oneself.
fn unprivileged(context: &Context) -> Result<()> {
    if !geteuid().is_root() {
        return curl_loads_it(context);
    }
    const NOBODY: u32 = 65534;
    let folder = tempfile::Builder::new()
        .permissions(open_to_all())
        .tempdir()?;
    let home = folder.path().join("home");
    let place = |name: &str| folder.path().join(name);
    for name in ["workspace", "cargo", "rustup", "home", "target"] {
        std::fs::create_dir(place(name))?;
    }
    for name in ["home", "target"] {
        std::os::unix::fs::chown(place(name), Some(NOBODY), Some(NOBODY))?;
    }
    let variable = |name: &str, default: &str| {
        let home = std::env::home_dir().unwrap_or_default();
        std::env::var_os(name).map_or_else(|| home.join(default), Into::into)
    };
    let server = local(free_port()?);
    let mut command = Command::new("unshare");
    // $1.. are pairs of a folder and its place, up to "--".
    let script = "while [ \"$1\" != -- ]; do
            if [ -d \"$1\" ]; then mount --bind \"$1\" \"$2\" && mount -o remount,bind,ro \"$2\" || exit; fi
            shift 2
        done; shift
        exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(&context.product.root).arg(place("workspace"));
    command
        .arg(variable("CARGO_HOME", ".cargo"))
        .arg(place("cargo"));
    command
        .arg(variable("RUSTUP_HOME", ".rustup"))
        .arg(place("rustup"));
    // The tool itself may lie in a folder that only root can enter.
    let tool = place("mirage");
    std::fs::copy(&context.product.mirage, &tool)?;
    command
        .arg("--")
        .arg(tool)
        .args(["run"])
        .arg(place("workspace").join("examples/website"));
    command
        .arg("--publish")
        .arg(format!("{}:80", server.port()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(place("cargo").join("bin")).chain(std::env::split_paths(&path));
    command
        .env("PATH", std::env::join_paths(path)?)
        .env("HOME", &home)
        .env("CARGO_HOME", place("cargo"))
        .env("RUSTUP_HOME", place("rustup"))
        .env("CARGO_TARGET_DIR", place("target"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO")
        .current_dir("/");
    let mut process: Process = start(command)?;
    answers(&process, server)?;
    for pid in family(process.id()) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let owner = status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .unwrap_or_default();
        ensure!(
            owner.contains(&NOBODY.to_string()),
            "process {pid} has {owner}"
        );
    }
    curl(server)?;
    // Where it is can be told of a process in a user namespace of its own, too.
    let image = family(process.id()).get(1).copied();
    let image = image.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    kill_process(image.context("the tool has no child")?, Signal::QUIT)?;
    let ended = process.exit(PATIENCE)?;
    let text = process.output();
    ensure!(ended.code() == Some(131), "{ended}:\n{text}");
    let told = "Backtrace of the signal SIGQUIT at ";
    ensure!(text.contains(told), "there is no backtrace:\n{text}");
    Ok(())
}

fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

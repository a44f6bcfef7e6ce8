//! Network namespaces, virtual Ethernet pairs and taps, all of them gone with their last handle.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace without a name: the kernel removes it, and every device in it, when this
/// handle and the processes inside are gone. A crash of ours leaves nothing behind.
pub struct Namespace {
    handle: File,
}

impl Namespace {
    /// A new namespace whose loopback device is up. Needs `CAP_SYS_ADMIN`.
    pub fn new() -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start unshare(1)")?;
        // The echo tells that `unshare` has done its work and has become `cat`.
        let entered = || -> std::io::Result<File> {
            let (Some(stdin), Some(stdout)) = (&mut holder.stdin, &mut holder.stdout) else {
                unreachable!("both are piped");
            };
            stdin.write_all(b"\n")?;
            stdout.read_exact(&mut [0])?;
            File::open(format!("/proc/{}/ns/net", holder.id()))
        }();
        drop(holder.stdin.take());
        holder.wait().context("cannot wait for unshare(1)")?;
        let namespace = Self {
            handle: entered.context("cannot make a network namespace")?,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `f` on a thread inside the namespace. Sockets and processes it makes stay there.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("cannot enter the network namespace")?;
                f()
            });
            inside
                .join()
                .map_err(|_| anyhow::anyhow!("a thread in the namespace panicked"))?
        })
    }

    /// Runs `ip` with these words inside the namespace.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.enter(|| run(Command::new("ip").args(words.split_whitespace())))
    }

    /// Makes a persistent tap, up, with this address for the host's side.
    pub fn tap(&self, name: &str, address: &str) -> Result<()> {
        self.ip(&format!("tuntap add dev {name} mode tap"))?;
        self.ip(&format!("address add {address} dev {name}"))?;
        self.ip(&format!("link set {name} up"))
    }

    /// Switches IPv6 off on a device.
    pub fn without_ipv6(&self, device: &str) -> Result<()> {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
        self.enter(|| std::fs::write(&path, "1").with_context(|| format!("cannot write {path}")))
    }

    /// Connects two namespaces: `(name here, address here)` to `(name there, address there)`.
    pub fn veth(&self, here: (&str, &str), other: &Self, there: (&str, &str)) -> Result<()> {
        // `ip` takes a path for a namespace; it reads this one while we hold it open.
        let path = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            other.handle.as_raw_fd()
        );
        self.ip(&format!(
            "link add {} type veth peer name {} netns {path}",
            here.0, there.0
        ))?;
        for (namespace, (name, address)) in [(self, here), (other, there)] {
            namespace.ip(&format!("address add {address} dev {name}"))?;
            namespace.ip(&format!("link set {name} up"))?;
        }
        Ok(())
    }
}

/// Whether namespaces and taps can be made here; the error says why not.
pub fn ready() -> Result<()> {
    Namespace::new()?.tap("tap0", "10.0.0.1/24")
}

/// Runs a short command to its end; an error carries what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed with {}: {}", output.status, said.trim());
    }
    Ok(())
}

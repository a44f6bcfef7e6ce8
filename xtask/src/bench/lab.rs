//! The test bed: a client's namespace with a tap for the image and a veth to the peer's.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::peers;
use crate::net::Namespace;
use crate::process::{Process, family, until};

/// The tap of the image in the client's namespace.
pub const TAP: &str = "tap0";
const IMAGE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 8, 0, 2));

/// Two namespaces: the client's, and the peer's at the end of a veth.
pub struct Lab {
    /// Where clients run; the tap is here.
    pub client: Namespace,
    /// Where the peers' servers run.
    pub peer: Namespace,
}

impl Lab {
    /// Lays the devices out.
    pub fn new() -> Result<Self> {
        let lab = Self {
            client: Namespace::new()?,
            peer: Namespace::new()?,
        };
        lab.client.tap(TAP, "10.9.0.1/24")?;
        lab.client.veth(
            ("veth0", "10.8.0.1/24"),
            &lab.peer,
            ("veth0", "10.8.0.2/24"),
        )?;
        // The host's own router solicitations would wake an idle image.
        lab.client.without_ipv6(TAP)?;
        Ok(lab)
    }

    /// Starts an image on the tap with `keys` besides its address.
    pub fn start(&self, tender: &Path, image: &Path, keys: &[&str]) -> Result<Process> {
        let mut command = Command::new(tender);
        self.start_with(&mut command, image, keys)
    }

    fn start_with(&self, tender: &mut Command, image: &Path, keys: &[&str]) -> Result<Process> {
        let command = on_tap(tender, image)
            .arg(format!("stack.ipv4={IMAGE}/24"))
            .args(keys);
        self.client.enter(|| Process::start(command))
    }

    /// Starts an image that serves pages and waits until it does.
    pub fn serve(&self, tender: &Path, image: &Path) -> Result<Process> {
        self.serving(self.start(tender, image, &[])?)
    }

    /// The same, recorded to a file that the tender can inherit.
    pub fn serve_recorded(&self, tender: &Path, image: &Path, file: &File) -> Result<Process> {
        let mut command = Command::new(tender);
        command
            .arg("--record")
            .arg(format!("fd:{}", file.as_raw_fd()));
        self.serving(self.start_with(&mut command, image, &[])?)
    }

    fn serving(&self, mut process: Process) -> Result<Process> {
        let answered = self.client.enter(|| peers::ready(image_at(80)));
        if answered.is_err() {
            // It may have ended with a reason of its own.
            let _ = process.exit(Duration::ZERO);
            answered.with_context(|| format!("the image said:\n{}", process.output()))?;
        }
        Ok(process)
    }
}

/// Lets a tender's command give the image the tap as its network device.
pub fn on_tap<'a>(tender: &'a mut Command, image: &Path) -> &'a mut Command {
    tender.arg("--net").arg(format!("net=tap:{TAP}")).arg(image)
}

/// The process of the image itself, the last one that the tender became or started.
pub fn image_of(process: &Process) -> Result<u32> {
    until(Duration::from_secs(5), "the image's process", || {
        family(process.id()).last().copied()
    })
}

/// A port of the image.
pub fn image_at(port: u16) -> SocketAddr {
    SocketAddr::new(IMAGE, port)
}

/// A port of the peer.
pub fn peer_at(port: u16) -> SocketAddr {
    SocketAddr::new(PEER, port)
}

//! A running system: the tool with an image, published or on a tap.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::Context;
use crate::http::{self, Response};
use crate::net::Namespace;
use crate::process::Process;

/// Long enough for a busy machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A free TCP port of the loopback device.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A port of the loopback device.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// `mirage run` with these words. Dropping it is a Ctrl-C.
pub fn start(mut command: Command) -> Result<Process> {
    Ok(Process::start(&mut command)?.ending_with(Signal::INT))
}

/// The website example behind `--publish`, answering.
pub fn website(context: &Context) -> Result<(Process, SocketAddr)> {
    let server = local(free_port()?);
    let publish = format!("{}:80", server.port());
    let words = ["run", "examples/website", "--publish", &publish];
    let process = start(context.product.mirage(&words))?;
    answers(&process, server)?;
    Ok((process, server))
}

/// Waits until the image listens; an error at once when the process ends first.
pub fn listens(process: &Process) -> Result<()> {
    // A build may come first.
    process.says(PATIENCE * 15, "listening on")
}

/// Waits until the image listens, and has `/` answered.
pub fn answers(process: &Process, server: SocketAddr) -> Result<Response> {
    listens(process)?;
    let response = http::get(server, "/", PATIENCE);
    let response = response.with_context(|| format!("the output was:\n{}", process.output()))?;
    ensure!(
        response.status == 200,
        "`/` was answered with {}",
        response.head
    );
    Ok(response)
}

/// The namespace of a client with a tap, for an image at the other end.
pub struct Tap {
    /// The client's namespace.
    pub client: Namespace,
}

impl Tap {
    /// The tap's name.
    pub const NAME: &str = "tap0";
    /// The image's IPv4 address.
    pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
    /// The image's IPv6 address.
    pub const V6: &str = "fd09::2";
    /// The client's IPv4 address, also the image's router.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

    /// Makes both.
    pub fn new() -> Result<Self> {
        let client = Namespace::new()?;
        client.tap(Self::NAME, &format!("{}/24", Self::CLIENT))?;
        client.ip(&format!("address add fd09::1/64 dev {} nodad", Self::NAME))?;
        Ok(Self { client })
    }

    /// Runs an example on the tap with static addresses.
    pub fn run(&self, context: &Context, example: &str) -> Result<Process> {
        self.run_with(context, example, &[])
    }

    fn run_with(&self, context: &Context, example: &str, options: &[&str]) -> Result<Process> {
        let v4 = format!("stack.ipv4={}/24", Self::V4);
        let gateway = format!("stack.gateway={}", Self::CLIENT);
        let v6 = format!("stack.ipv6={}/64", Self::V6);
        let mut words = vec!["run", example, "--tap", Self::NAME];
        words.extend(options);
        words.extend(["--", &v4, &gateway, &v6]);
        self.client.enter(|| start(context.product.mirage(&words)))
    }

    /// Runs the website on the tap and waits until it answers.
    pub fn website(&self, context: &Context) -> Result<(Process, SocketAddr)> {
        self.website_with(context, &[])
    }

    /// The same with more options of `mirage run`.
    pub fn website_with(
        &self,
        context: &Context,
        options: &[&str],
    ) -> Result<(Process, SocketAddr)> {
        let process = self.run_with(context, "examples/website", options)?;
        let server = SocketAddr::new(Self::V4, 80);
        self.client.enter(|| answers(&process, server))?;
        Ok((process, server))
    }
}

//! What a server is told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::{Tls, Tokens};

/// How a store is served. The default is a loopback address, any free port, no tokens and no TLS.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one, see [`Server::address`](crate::Server::address).
    pub listen: SocketAddr,
    /// The store's name: Git finds it at `/NAME.git`.
    pub name: String,
    /// Who may read and write what; `None` lets everybody who reaches the port do everything.
    pub tokens: Option<Tokens>,
    /// Whether nothing may be changed, whatever tokens say.
    pub read_only: bool,
    /// Certificate and key; `None` speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Web pages of other origins (`https://app.example.org`) that may use this server from a browser.
    /// Without any, no page but the server's own may.
    pub origins: Vec<String>,
    /// Host names, without a port, under which a server on a loopback address may be addressed, beside
    /// `localhost` and loopback addresses: for a proxy in front of it. A page of any other name,
    /// made to lead here (DNS rebinding), is refused.
    pub hosts: Vec<String>,
    /// Whether the store has a work tree: then a push to the branch that is checked out there is
    /// refused, as Git's `receive.denyCurrentBranch` does, since the files would not follow.
    pub has_work_tree: bool,
    /// Whether pushes that the store takes itself may move branches only forwards, as Git's
    /// `receive.denyNonFastForwards` says.
    pub only_forwards: bool,
    /// Names that no client of Git's protocol is told of or moves, see [`Veil`](irmin_sync::server::Veil).
    pub hidden: Hidden,
    /// Who takes pushes instead of the store.
    pub receiver: Option<Receiver>,
    /// What clients may cost.
    pub limits: Limits,
}

/// Rules by which names are hidden, see [`Veil`](irmin_sync::server::Veil).
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// From clones and fetches (Git's `uploadpack.hideRefs` and `transfer.hideRefs`).
    pub from_fetches: Vec<String>,
    /// From pushes (`receive.hideRefs` and `transfer.hideRefs`).
    pub from_pushes: Vec<String>,
}

/// Asked at each push who takes it: a program (`git receive-pack --stateless-rpc PATH`), the store itself
/// (`None`), or nobody, and why.
#[derive(Clone)]
pub struct Receiver(pub Arc<dyn Fn() -> Result<Option<Command>, String> + Send + Sync>);

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            name: "store".into(),
            tokens: None,
            read_only: false,
            tls: None,
            origins: Vec::new(),
            hosts: Vec::new(),
            has_work_tree: false,
            only_forwards: false,
            hidden: Hidden::default(),
            receiver: None,
            limits: Limits::default(),
        }
    }
}

/// What clients may cost. What goes beyond is refused with a status that says so.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections, waiting event streams included; further ones wait to be accepted (32,768).
    pub connections: usize,
    /// Short calls that are in the store at once; further ones wait their turn (64).
    pub calls: usize,
    /// Long answers under way at once, such as logs, differences, clones and pushes; further ones get
    /// status 503 (64).
    pub streams: usize,
    /// Bytes of a request's line and headers (32 KiB).
    pub head: usize,
    /// Bytes of a body that is JSON or a request of Git, after it was unpacked (16 MiB).
    pub body: usize,
    /// Bytes of a push (16 GiB).
    pub pack: u64,
    /// How long a client may take for a request's headers, and how long a connection may be without a
    /// request (30 s).
    pub idle: Duration,
    /// How long a client may take to send or take 4 KiB that are on their way, before its
    /// connection ends (30 s). A watch on which nothing happens is not concerned.
    pub stall: Duration,
    /// How often a waiting event stream gets a sign of life (15 s).
    pub heartbeat: Duration,
    /// How long requests under way may take to end after [`Stop::stop`](crate::Stop::stop) (10 s).
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 32_768,
            calls: 64,
            streams: 64,
            head: 32 << 10,
            body: 16 << 20,
            pack: 16 << 30,
            idle: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
            farewell: Duration::from_secs(10),
        }
    }
}

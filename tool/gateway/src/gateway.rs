//! What is decided before the guest starts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::counters::Counters;
use crate::publish::{Protocol, Publish};
use crate::run;
use crate::udp::Port;

/// Connections that the kernel keeps for us until the guest takes them; it takes what it allows.
const BACKLOG: i32 = 4096;

/// What a gateway shall do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Ports of the host that lead to the guest.
    pub publish: Vec<Publish>,
    /// The guest may open connections and send datagrams to the outside, and look names up.
    pub outgoing: bool,
    /// The guest may reach the host itself: the gateway's address stands for the host's loopback
    /// interface, and the addresses of the host's other interfaces are not refused.
    pub allow_host: bool,
    /// The name servers to ask; `None` for those of the system.
    pub resolvers: Option<Vec<SocketAddr>>,
}

impl Default for Config {
    /// Outgoing allowed, the host itself not, nothing published.
    fn default() -> Self {
        Self {
            publish: Vec::new(),
            outgoing: true,
            allow_host: false,
            resolvers: None,
        }
    }
}

/// Why a gateway could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the port.
    #[error("port {} of {} is in use; publish another one or stop what uses it", .0.host.port(), .0.host.ip())]
    InUse(Publish),
    /// The port is reserved.
    #[error("no permission for port {} of {}; ports below 1024 are reserved, publish a higher one", .0.host.port(), .0.host.ip())]
    Denied(Publish),
    /// The address is no address of this host.
    #[error("{} is not an address of this host; publish on 127.0.0.1, or on 0.0.0.0 for everybody", .0.host.ip())]
    NoSuchAddress(Publish),
    /// Something else is wrong with a port.
    #[error("cannot publish {0}: {1}")]
    Port(Publish, #[source] io::Error),
    /// Something is wrong that has nothing to do with a port.
    #[error("cannot set up the network gateway: {0}")]
    Setup(#[from] io::Error),
}

impl BindError {
    fn port(publish: Publish, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse(publish),
            ErrorKind::PermissionDenied => Self::Denied(publish),
            ErrorKind::AddrNotAvailable => Self::NoSuchAddress(publish),
            _ => Self::Port(publish, error),
        }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The guest has sent its first frame: it has booted.
    FirstFrame {
        /// When it came.
        at: std::time::Instant,
    },
    /// The guest has this address, the first of its family: published ports lead to it.
    GuestAddress(IpAddr),
    /// The guest has answered at a published TCP port for the first time.
    Answered {
        /// The guest's port.
        port: u16,
    },
    /// What was counted until now. Told before it waits, ten times a second at most.
    Counted(Counters),
}

/// A published port with its socket.
pub(crate) enum Socket {
    Tcp { listener: TcpListener, guest: u16 },
    Udp(Port),
}

/// A gateway with all its ports open and no guest yet.
pub struct Gateway {
    pub(crate) sockets: Vec<Socket>,
    pub(crate) config: Config,
    pub(crate) stop: Arc<OwnedFd>,
}

/// Stops a running gateway, from any thread.
#[derive(Debug, Clone)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Makes [`Gateway::run`] return. Returns at once; a second call does nothing.
    pub fn stop(&self) {
        // It fails only when the count is at its limit: then it says "stop" already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Gateway {
    /// Opens every published port. Returns at once.
    ///
    /// From now on the kernel takes connections and keeps them until the guest is there. Each
    /// connection has a descriptor, so the process's own limit of open files is raised as far as
    /// it may be.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        raise_descriptor_limit();
        let sockets = config
            .publish
            .iter()
            .map(|publish| open(publish).map_err(|error| BindError::port(*publish, error)))
            .collect::<Result<_, _>>()?;
        let stop =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
        Ok(Self {
            sockets,
            config,
            stop: Arc::new(stop),
        })
    }

    /// The published ports in the order of [`Config::publish`], with the ports that the kernel
    /// chose.
    pub fn published(&self) -> impl Iterator<Item = Publish> {
        self.config
            .publish
            .iter()
            .zip(&self.sockets)
            .map(|(publish, socket)| {
                let host = match socket {
                    Socket::Tcp { listener, .. } => listener.local_addr(),
                    Socket::Udp(port) => port.socket.local_addr(),
                };
                Publish {
                    host: host.unwrap_or(publish.host),
                    ..*publish
                }
            })
    }

    /// A handle that makes [`Gateway::run`] return.
    pub fn stop_handle(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Carries frames between the guest at the other end of `link` and the host's sockets.
    ///
    /// `link` is one end of a `SOCK_SEQPACKET` socket pair. Waits until the other end is closed
    /// or [`Stop::stop`] is called; tells `observe` what happens meanwhile, on this thread. An
    /// error is one of the host's, no frame causes one.
    pub fn run(self, link: OwnedFd, observe: impl FnMut(Event)) -> io::Result<Counters> {
        run::run(self, link, observe)
    }
}

fn open(publish: &Publish) -> io::Result<Socket> {
    Ok(match publish.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(publish.host)?;
            listener.set_nonblocking(true)?;
            // Again, for a longer queue than the standard library asks for.
            rustix::net::listen(&listener, BACKLOG)?;
            Socket::Tcp {
                listener,
                guest: publish.guest,
            }
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(publish.host)?;
            socket.set_nonblocking(true)?;
            Socket::Udp(Port {
                socket,
                guest: publish.guest,
            })
        }
    })
}

fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With the old limit fewer connections are carried at once, no more than that.
    let _ = setrlimit(Resource::Nofile, limit);
}

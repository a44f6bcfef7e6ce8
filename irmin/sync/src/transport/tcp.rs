//! `git://`: plain TCP, no secrets and no proof of who answers (git-daemon(1)).

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{Connection, Service, Settings, Stream, Transport};
use crate::error::SyncError;
use crate::pktline::Writer;

/// A server that listens as `git daemon` does.
pub struct Daemon {
    host: String,
    port: u16,
    path: String,
    connect: Duration,
    idle: Duration,
}

/// The port of `git daemon`.
pub(super) const PORT: u16 = 9418;

impl Daemon {
    /// The server at this host and port (9418 is usual), and the path of the repository there.
    pub fn new(host: &str, port: u16, path: &str, settings: &Settings) -> Daemon {
        Daemon {
            host: host.into(),
            port,
            path: path.into(),
            connect: settings.connect,
            idle: settings.idle,
        }
    }

    fn open(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other("the host has no address");
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.connect) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.idle))?;
                    stream.set_write_timeout(Some(self.idle))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Transport for Daemon {
    fn url(&self) -> String {
        let port = if self.port == PORT {
            String::new()
        } else {
            format!(":{}", self.port)
        };
        format!("git://{}{port}{}", self.host, self.path)
    }

    fn connect(
        &mut self,
        service: Service,
        version: u8,
    ) -> Result<Box<dyn Connection + '_>, SyncError> {
        let failed = |error| SyncError::Connect(format!("{}: {error}", self.url()));
        let read = self.open().map_err(failed)?;
        let write = read.try_clone().map_err(failed)?;
        let mut first = format!("{} {}\0host={}", service.name(), self.path, self.host);
        if self.port != PORT {
            first += &format!(":{}", self.port);
        }
        first.push('\0');
        if version > 0 {
            first += &format!("\0version={version}\0");
        }
        Writer::new(&write).data(first.as_bytes()).map_err(failed)?;
        let read = Late {
            inner: read,
            limit: self.idle,
        };
        Ok(Box::new(Stream::new(read, Half(write))))
    }
}

/// What we say on a socket: the server sees its end when this is dropped.
struct Half(TcpStream);

impl Write for Half {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// A socket whose time limit says what it is.
struct Late {
    inner: TcpStream,
    limit: Duration,
}

impl std::io::Read for Late {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(into).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                super::timed::late(self.limit)
            }
            _ => error,
        })
    }
}

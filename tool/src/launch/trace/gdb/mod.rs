//! A unikernel under a debugger: GDB's remote protocol over TCP.

mod registers;
mod signals;
mod target;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;

use gdbstub::conn::ConnectionExt as _;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, SingleThreadStopReason};
use miette::Diagnostic;
use nix::libc::SIGCHLD;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::low_level::{pipe, unregister};
use thiserror::Error;

use super::Tracer;
use super::tracee::Stop;
use target::Target;

/// Why no debugger can be awaited.
#[derive(Debug, Error, Diagnostic)]
#[error("--gdb: {address} cannot be listened on: {why}")]
#[diagnostic(help("give an address and a port of this machine that are free, or neither"))]
pub struct GdbError {
    address: SocketAddr,
    why: io::Error,
}

/// Where a debugger is awaited when nobody says where: a port that the kernel chooses.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Opens the place where a debugger is awaited.
pub fn listen(address: Option<SocketAddr>) -> Result<TcpListener, GdbError> {
    let address = address.unwrap_or(LOCAL);
    TcpListener::bind(address).map_err(|why| GdbError { address, why })
}

/// What a session waits for.
enum Event {
    /// The debugger has sent something, or has gone.
    Data,
    /// The process has stopped, or ended.
    Stop(Stop),
}

/// SIGCHLD as something to wait for: the kernel sends it when a traced process stops.
struct Stops {
    stream: UnixStream,
    id: signal_hook::SigId,
}

impl Stops {
    fn new() -> io::Result<Self> {
        let (stream, other) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let id = pipe::register(SIGCHLD, other)?;
        Ok(Self { stream, id })
    }

    /// Waits for the process, or for something to read.
    fn wait(&self, tracer: &Tracer<'_>, data: impl AsFd) -> io::Result<Event> {
        loop {
            // First forget what has been reported, then look: nothing is missed.
            while let Ok(1..) = io::Read::read(&mut &self.stream, &mut [0; 64]) {}
            if let Some(stop) = tracer.tracee.poll()? {
                return Ok(Event::Stop(stop));
            }
            let mut both = [
                PollFd::new(&data, PollFlags::IN),
                PollFd::new(&self.stream, PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                answer => answer?,
            };
            if !both[0].revents().is_empty() {
                return Ok(Event::Data);
            }
        }
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        unregister(self.id);
    }
}

/// Waits for a debugger, and serves it until it leaves: the process, which stands still, then goes
/// on. Yields its status when it ended before that.
pub fn serve(listener: &TcpListener, tracer: &mut Tracer<'_>) -> io::Result<Option<ExitStatus>> {
    let stops = Stops::new()?;
    let connection = loop {
        match stops.wait(tracer, listener)? {
            Event::Data => break listener.accept()?.0,
            Event::Stop(Stop::Ended(status)) => return Ok(Some(status)),
            Event::Stop(Stop::Exiting(_)) => tracer.tracee.resume(0),
            Event::Stop(_) => {}
        }
    };
    connection.set_nodelay(true)?;
    let mut target = Target::new(tracer);
    let reason = session(&stops, connection, &mut target)?;
    if let Some(status) = target.ended {
        return Ok(Some(status));
    }
    match reason {
        Some(DisconnectReason::Kill) => target.tracer.tracee.kill(),
        _ => target.leave()?,
    }
    Ok(target.ended)
}

/// Serves one debugger. Yields why it left; `None` when it just went.
fn session(
    stops: &Stops,
    connection: TcpStream,
    target: &mut Target<'_, '_>,
) -> io::Result<Option<DisconnectReason>> {
    let Ok(mut state) = GdbStub::new(connection).run_state_machine(target) else {
        return Ok(None);
    };
    loop {
        let next = match state {
            GdbStubStateMachine::Idle(mut gdb) => {
                match stops.wait(target.tracer, &*gdb.borrow_conn())? {
                    Event::Data => {
                        let Ok(byte) = gdb.borrow_conn().read() else {
                            return Ok(None);
                        };
                        gdb.incoming_data(target, byte)
                    }
                    // Somebody has ended it while it stood still.
                    Event::Stop(Stop::Ended(status)) => {
                        target.ended = Some(status);
                        return Ok(None);
                    }
                    Event::Stop(stop) => {
                        if let Stop::Exiting(_) = stop {
                            target.tracer.tracee.resume(0);
                        }
                        Ok(gdb.into())
                    }
                }
            }
            GdbStubStateMachine::Running(mut gdb) => {
                match stops.wait(target.tracer, &*gdb.borrow_conn())? {
                    Event::Data => {
                        let Ok(byte) = gdb.borrow_conn().read() else {
                            return Ok(None);
                        };
                        gdb.incoming_data(target, byte)
                    }
                    Event::Stop(stop) => match target.stopped(stop) {
                        Some(reason) => gdb.report_stop(target, reason),
                        None => Ok(gdb.into()),
                    },
                }
            }
            GdbStubStateMachine::CtrlCInterrupt(gdb) => {
                target.interrupt();
                gdb.interrupt_handled(target, None::<SingleThreadStopReason<u64>>)
            }
            GdbStubStateMachine::Disconnected(gdb) => return Ok(Some(gdb.get_reason())),
        };
        state = match next {
            Ok(state) => state,
            // The connection is gone, or what comes over it is no such protocol.
            Err(_) => return Ok(None),
        };
    }
}

//! A guest for tests: a plain smoltcp stack at the other end of the pair.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::VecDeque;
use std::io::{PipeWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mirage_gateway::{Config, Counters, Event, Gateway, Publish, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, tcp, udp};
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Cidr};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const HEADER: usize = 10;
pub const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0xaa, 0xbb, 0xcc]);

pub struct Wire {
    fd: OwnedFd,
    mtu: usize,
    buffer: Vec<u8>,
    unsent: VecDeque<Vec<u8>>,
    /// The longest frame received.
    pub longest: usize,
    /// How many TCP connections were asked for.
    pub syns: usize,
    /// How often the guest has told its groups; it does so when it likes.
    pub reports: u64,
}

impl Wire {
    /// Sends a frame as it is, a well-formed header before it.
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.unsent.push_back([&[0; HEADER], frame].concat());
        self.flush();
    }

    /// Sends bytes as they are.
    pub fn send_message(&mut self, message: &[u8]) {
        self.unsent.push_back(message.to_vec());
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.unsent.front() {
            if send(&self.fd, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_err() {
                return;
            }
            self.reports += u64::from(is_report(message));
            self.unsent.pop_front();
        }
    }

    /// The gateway has taken every frame.
    pub fn is_drained(&mut self) -> bool {
        self.flush();
        self.unsent.is_empty()
    }

    pub fn receive_frame(&mut self) -> Option<Vec<u8>> {
        let message = &mut self.buffer[..];
        let (_, len) = recv(&self.fd, &mut *message, RecvFlags::DONTWAIT).ok()?;
        assert!(len > HEADER, "an empty message, or the end of the pair");
        assert_eq!(message[0], 2, "VIRTIO_NET_HDR_F_DATA_VALID");
        self.longest = self.longest.max(len - HEADER);
        let frame = &message[HEADER..len];
        if frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 && frame[47] == 2 {
            self.syns += 1;
        }
        Some(frame.to_vec())
    }

    fn wait(&self, others: &[BorrowedFd<'_>], timeout: Option<Duration>) {
        let interest = if self.unsent.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let mut fds = vec![PollFd::new(&self.fd, interest)];
        fds.extend(
            others
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        );
        let timeout = timeout.unwrap_or(PATIENCE).min(PATIENCE);
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        poll(&mut fds, Some(&timeout)).unwrap();
    }
}

/// A report of multicast groups (RFC 3810 §5.2), behind a router alert.
fn is_report(message: &[u8]) -> bool {
    const HOP_BY_HOP: u8 = 0;
    const REPORT: u8 = 143;
    message.get(HEADER..).is_some_and(|frame| {
        frame.len() > 62
            && frame[12..14] == [0x86, 0xdd]
            && (frame[20], frame[62]) == (HOP_BY_HOP, REPORT)
    })
}

pub struct Rx(Vec<u8>);
pub struct Tx<'a>(&'a mut Wire);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.send_frame(&frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Rx, Tx<'_>)> {
        let frame = self.receive_frame()?;
        Some((Rx(frame), Tx(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Tx<'_>> {
        self.flush();
        self.unsent.is_empty().then_some(Tx(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        let mut checksum = ChecksumCapabilities::default();
        checksum.tcp = smoltcp::phy::Checksum::None;
        capabilities.checksum = checksum;
        capabilities
    }
}

pub struct Guest {
    pub wire: Wire,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub published: Vec<Publish>,
    pub events: Receiver<Event>,
    pub stop: Stop,
    gateway: Option<JoinHandle<Counters>>,
    started: Instant,
}

impl Guest {
    /// A guest that has no address yet, and a gateway for it.
    pub fn start(config: Config) -> Self {
        Self::with_mtu(config, 1500)
    }

    pub fn with_mtu(config: Config, mtu: usize) -> Self {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let gateway = Gateway::bind(config).unwrap();
        let published = gateway.published().collect();
        let stop = gateway.stop_handle();
        let (sender, events) = channel();
        let thread = std::thread::Builder::new().name("gateway".into());
        let gateway = thread
            .spawn(move || {
                gateway
                    .run(theirs, |event| sender.send(event).unwrap_or(()))
                    .unwrap()
            })
            .unwrap();
        let mut wire = Wire {
            fd: ours,
            mtu,
            buffer: vec![0; 70_000],
            unsent: VecDeque::new(),
            longest: 0,
            syns: 0,
            reports: 0,
        };
        let mut config = smoltcp::iface::Config::new(MAC.into());
        config.random_seed = 1;
        config.slaac = true;
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        let link_local = smoltcp::wire::Ipv6Cidr::from_link_prefix(
            &smoltcp::wire::Ipv6Cidr::new("fe80::".parse().unwrap(), 64),
            MAC.into(),
        );
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::Ipv6(link_local.unwrap())).unwrap();
        });
        Self {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            published,
            events,
            stop,
            gateway: Some(gateway),
            started: Instant::now(),
        }
    }

    /// A guest that has its address by DHCP.
    pub fn up(config: Config) -> Self {
        let mut guest = Self::start(config);
        guest.dhcp();
        guest
    }

    pub fn dhcp(&mut self) {
        let handle = self.sockets.add(dhcpv4::Socket::new());
        let lease = self.until("a lease", |guest| {
            match guest.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
                Some(dhcpv4::Event::Configured(lease)) => {
                    Some((lease.address, lease.router, lease.dns_servers.to_vec()))
                }
                _ => None,
            }
        });
        self.sockets.remove(handle);
        let (address, router, servers) = lease;
        assert_eq!(address, Ipv4Cidr::new(Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!(router, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(servers, [Ipv4Addr::new(10, 0, 2, 2)]);
        self.fix(address);
    }

    /// Gives itself an address.
    pub fn fix(&mut self, address: Ipv4Cidr) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::Ipv4(address)).unwrap();
        });
        let router = Ipv4Addr::new(10, 0, 2, 2);
        self.interface
            .routes_mut()
            .add_default_ipv4_route(router)
            .unwrap();
    }

    pub fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.started.elapsed().as_micros() as i64)
    }

    pub fn poll(&mut self) -> Option<Duration> {
        let now = self.now();
        self.wire.flush();
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        self.interface
            .poll_delay(now, &self.sockets)
            .map(Into::into)
    }

    /// Sends what there is, without taking frames in; how long nothing need be done then.
    pub fn flush(&mut self) -> Option<Duration> {
        let now = self.now();
        while self
            .interface
            .poll_egress(now, &mut self.wire, &mut self.sockets)
            == smoltcp::iface::PollResult::SocketStateChanged
        {}
        self.interface
            .poll_delay(now, &self.sockets)
            .map(Into::into)
    }

    /// Lives until `condition` has an answer.
    pub fn until<T>(&mut self, what: &str, condition: impl FnMut(&mut Self) -> Option<T>) -> T {
        self.until_with(what, &[], condition)
    }

    fn until_with<T>(
        &mut self,
        what: &str,
        others: &[BorrowedFd<'_>],
        mut condition: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.poll();
            if let Some(answer) = condition(self) {
                self.poll();
                return answer;
            }
            // Only what `condition` has left to send: a frame taken in here would not be seen
            // before the next.
            let delay = self.flush();
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.wire.wait(others, delay);
        }
    }

    /// Lives, calling `step` whenever something happened, while `host` runs on a thread.
    pub fn during<T: Send>(
        &mut self,
        host: impl FnOnce() -> T + Send,
        mut step: impl FnMut(&mut Self),
    ) -> T {
        let (done, mut notify) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            let host = scope.spawn(move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(host));
                PipeWriter::write_all(&mut notify, &[1]).unwrap();
                result
            });
            self.until_with("the host's side", &[done.as_fd()], |guest| {
                step(guest);
                host.is_finished().then_some(())
            });
            match host.join().unwrap() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Sends what is still to be sent without reading anything.
    pub fn drain_unread(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.wire.is_drained() {
            assert!(Instant::now() < deadline, "the gateway does not read");
            let mut fds = [PollFd::new(&self.wire.fd, PollFlags::OUT)];
            poll(
                &mut fds,
                Some(&Timespec {
                    tv_sec: 20,
                    tv_nsec: 0,
                }),
            )
            .unwrap();
        }
    }

    pub fn listen(&mut self, port: u16) -> SocketHandle {
        self.listen_with(port, 64 << 10)
    }

    pub fn listen_with(&mut self, port: u16, buffer: usize) -> SocketHandle {
        let handle = self.tcp(buffer);
        self.sockets
            .get_mut::<tcp::Socket>(handle)
            .listen(port)
            .unwrap();
        handle
    }

    pub fn tcp(&mut self, buffer: usize) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        self.sockets.add(socket)
    }

    pub fn connect(&mut self, address: IpAddr, port: u16, local: u16) -> SocketHandle {
        let handle = self.tcp(64 << 10);
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket
            .connect(self.interface.context(), (address, port), local)
            .unwrap();
        handle
    }

    pub fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub fn bind_udp(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 256 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn datagrams(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Ends the guest: what the gateway counted.
    pub fn end(mut self) -> Counters {
        self.finish()
    }

    fn finish(&mut self) -> Counters {
        rustix::net::shutdown(&self.wire.fd, rustix::net::Shutdown::Both).unwrap();
        self.gateway.take().unwrap().join().unwrap()
    }

    /// Waits for the gateway to return by itself.
    pub fn join(mut self) -> Counters {
        self.gateway.take().unwrap().join().unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.gateway.is_some() && !std::thread::panicking() {
            self.finish();
        }
    }
}

/// Sends back what came, and closes when the other side has.
pub fn echo(socket: &mut tcp::Socket<'_>) {
    while socket.can_recv() && socket.can_send() {
        let data = socket
            .recv(|bytes| (0, bytes.len()))
            .unwrap()
            .min(socket.send_capacity() - socket.send_queue());
        if data == 0 {
            break;
        }
        let bytes = socket.recv(|bytes| (data, bytes[..data].to_vec())).unwrap();
        socket.send_slice(&bytes).unwrap();
    }
    if finished(socket) {
        socket.close();
    }
}

/// Everything was read, the end included.
pub fn finished(socket: &mut tcp::Socket<'_>) -> bool {
    socket.recv(|_| (0, ())) == Err(tcp::RecvError::Finished)
}

/// Reads what is there.
pub fn take(socket: &mut tcp::Socket<'_>) -> Vec<u8> {
    let mut all = Vec::new();
    while socket.can_recv() {
        all.extend(socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap());
    }
    all
}

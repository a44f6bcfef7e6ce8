//! The contract of [`Stack`], with those of [`Listener`], [`Udp`](crate::udp) and [`Flow`](crate::flow).

use alloc::vec::Vec;
use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{AddressFamily, Flow, FlowError, Listener, Sleep, Stack, StackError};

use crate::sentence::{because, contract};
use crate::watch::{MOMENT, at_once, both, cancelled, patiently, within};
use crate::{Report, flow, listener, udp};

contract! { "stack"
    "Stack" {
        _: Does "A TCP/IP stack: TCP and UDP over IPv4 and IPv6, and names.", because::IT_DESCRIBES;
        CLONE: Does "A clone is another handle on the same stack.";
        UNSPECIFIED: Does "An unspecified IPv6 address (`[::]`) to listen on or bind stands for every address of both families, `0.0.0.0` for every IPv4 address.";
    }
    "Stack::Flow" {
        _: Does "A TCP connection.", because::IT_DESCRIBES;
    }
    "Stack::Listener" {
        _: Does "A listening TCP port.", because::IT_DESCRIBES;
    }
    "Stack::Udp" {
        _: Does "A bound UDP port.", because::IT_DESCRIBES;
    }
    "Stack::up" {
        UP: Waits "Waits until the stack has an address that is not link-local.";
        UP_AT_ONCE: Waits "Completes at once when it has one already.";
        UP_DROPPED: Cancel "Cancel-safe: a dropped call changes nothing.";
    }
    "Stack::addresses" {
        ADDRESSES: Does "The addresses the stack has now, link-local ones included.";
        ADDRESSES_AT_ONCE: Waits "Returns at once.";
    }
    "Stack::listen" {
        LISTENS: Does "Listens on a TCP port; port 0 lets the stack choose.";
        LISTEN_AT_ONCE: Waits "Returns at once, listening.";
        BACKLOG: Does "`backlog` bounds the connections that are open or half-open and not accepted yet; what arrives beyond it is dropped so that the peer tries again, never reset.";
        IN_USE: Errors "[`StackError::AddressInUse`] when somebody listens there already, [`StackError::InvalidAddress`] for an address that is not the stack's.";
        LISTENER_DROPPED: Does "Dropping the listener closes the port and resets what was not accepted.";
    }
    "Stack::connect" {
        CONNECTS: Does "Opens a TCP connection.";
        CONNECT_WAITS: Waits "Waits for the peer's answer.";
        REFUSED: Errors "[`StackError::Refused`] when nobody listens there.";
        CONNECT_DROPPED: Cancel "Dropping the future abandons the attempt, and harms no other connection.";
    }
    "Stack::bind_udp" {
        BINDS: Does "Binds a UDP port; port 0 lets the stack choose.";
        BIND_AT_ONCE: Waits "Returns at once, bound.";
        PORT_TAKEN: Errors "[`StackError::AddressInUse`] when the port is taken.";
        SOCKET_DROPPED: Does "Dropping the socket frees it.";
    }
    "Stack::resolve" {
        RESOLVES: Does "Looks a host name up in the DNS; an address in text form is answered without asking.";
        RESOLVE_WAITS: Waits "Waits for a name server's answer, and not for ever.";
        RESOLVE_DROPPED: Cancel "Cancel-safe: a dropped call changes nothing.";
        FAMILY: Errors "Never `Ok` with no address, nor with one of another family than asked for.";
    }
}

/// What the rig knows of the network that its stacks are on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network<'a> {
    /// A name that the stack under test can look up, and one of its addresses.
    pub name: Option<(&'a str, IpAddr)>,
    /// Datagrams to a multicast group reach every host.
    pub multicast: bool,
}

/// An address of nobody (RFC 5737).
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)), 0);
/// Every address, and a port of the stack's choice.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
const ANY_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// How long a name server may take to be given up.
const NAMES: Duration = Duration::from_secs(60);

/// Checks `near`, with everything that it hands out: listeners, UDP ports and flows. `far` is a
/// stack, perhaps the same, that reaches it and is reached by it over a network that loses
/// nothing for long.
pub async fn check(
    near: &impl Stack,
    far: &impl Stack,
    sleep: &impl Sleep,
    network: Network<'_>,
) -> Report {
    let mut report = Report::new();
    let Some(targets) = up(&mut report, near, far, sleep).await else {
        return report.complete(&CONTRACT);
    };
    ports(&mut report, near, far, sleep).await;
    if connecting(&mut report, near, far, sleep, targets[0]).await {
        backlog(&mut report, near, far, sleep).await;
        dropping(&mut report, near, far, sleep).await;
    }
    names(&mut report, near, sleep, network).await;
    let mut report = report.complete(&CONTRACT);
    report.append(listener::check(near, far, sleep).await);
    report.append(udp::check(near, far, sleep, network).await);
    // Over one family as the side that connects, and over the other as the one that accepts.
    let (first, last) = (targets[0], targets[targets.len() - 1]);
    let connected = async || connection(near, far, first, sleep).await;
    report.append(flow::check(connected, sleep).await);
    let back = crate::stack::targets(far, near);
    let same = back
        .iter()
        .find(|target| target.is_ipv4() == last.is_ipv4());
    if let Some(target) = same {
        let accepted = async || {
            let (theirs, ours) = connection(far, near, *target, sleep).await?;
            Some((ours, theirs))
        };
        report.append(flow::check(accepted, sleep).await);
    }
    report
}

/// The addresses at which `to` is reached from `from`, the one to prefer first.
pub(crate) fn targets(from: &impl Stack, to: &impl Stack) -> Vec<IpAddr> {
    let of = |stack: &dyn Fn() -> Vec<mirage_device::Cidr>| -> Vec<IpAddr> {
        let addresses = stack().into_iter().map(|cidr| cidr.address);
        addresses
            .filter(|address| !is_link_local(*address))
            .collect()
    };
    let ours = of(&|| from.addresses());
    let mut theirs = of(&|| to.addresses());
    theirs.retain(|to| ours.iter().any(|from| from.is_ipv4() == to.is_ipv4()));
    theirs.sort_by_key(|address| !address.is_ipv4());
    theirs
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A connection from one stack to the other: both its ends.
pub(crate) async fn connection<A: Stack, B: Stack>(
    from: &A,
    to: &B,
    target: IpAddr,
    sleep: &impl Sleep,
) -> Option<(A::Flow, B::Flow)> {
    let mut listener = to.listen(ANY, 8).ok()?;
    let remote = SocketAddr::new(target, listener.local().port());
    let (connected, accepted) = both(
        patiently(sleep, from.connect(remote)),
        patiently(sleep, listener.accept()),
    )
    .await;
    Some((connected?.ok()?, accepted?.ok()?))
}

/// Whether bytes go from one end to the other.
pub(crate) async fn carries(
    from: &mut impl Write<Error = FlowError>,
    to: &mut impl Read<Error = FlowError>,
    sleep: &impl Sleep,
) -> bool {
    let mut buffer = [0; 4];
    let wrote = patiently(sleep, from.write_all(b"here")).await;
    let read = patiently(sleep, to.read_exact(&mut buffer)).await;
    matches!((wrote, read), (Some(Ok(())), Some(Ok(())))) && buffer == *b"here"
}

async fn up(
    report: &mut Report,
    near: &impl Stack,
    far: &impl Stack,
    sleep: &impl Sleep,
) -> Option<Vec<IpAddr>> {
    let _ = cancelled(near.up()).await;
    let came = within(sleep, NAMES, near.up()).await;
    report.check(UP, came.is_some(), "an address within a minute", "none");
    report.check(
        UP_DROPPED,
        came.is_some(),
        "an address after a call that was dropped",
        "none",
    );
    came?;
    report.equal(UP_AT_ONCE, cancelled(near.up()).await, Some(()));
    let addresses = at_once(report, ADDRESSES_AT_ONCE, sleep, || near.addresses());
    let usable = addresses.iter().any(|cidr| !is_link_local(cidr.address));
    report.check(
        ADDRESSES,
        usable,
        "an address that is not link-local, as the stack is up",
        &addresses,
    );
    let came = within(sleep, NAMES, far.up()).await;
    let targets = targets(near, far);
    let reach = came.is_some() && !targets.is_empty();
    report.check(
        UP,
        reach,
        "two stacks with addresses of one family",
        (addresses, far.addresses()),
    );
    reach.then_some(targets)
}

async fn ports(report: &mut Report, near: &impl Stack, far: &impl Stack, sleep: &impl Sleep) {
    let listener = at_once(report, LISTEN_AT_ONCE, sleep, || near.listen(ANY, 4));
    match listener {
        Ok(mut listener) => {
            let local = listener.local();
            report.check(
                LISTENS,
                local.port() != 0,
                "a port of the stack's choice",
                local,
            );
            let again = near
                .clone()
                .listen(SocketAddr::new(ANY.ip(), local.port()), 4);
            let again = again.err();
            report.equal(IN_USE, again, Some(StackError::AddressInUse));
            report.equal(CLONE, again, Some(StackError::AddressInUse));
            // It is reached at every address.
            for target in targets(far, near) {
                let remote = SocketAddr::new(target, local.port());
                let reached = reaches(far, &mut listener, remote, sleep).await;
                report.check(
                    UNSPECIFIED,
                    reached,
                    "a connection to each of its addresses",
                    remote,
                );
                report.check(LISTENS, reached, "a connection to the port", remote);
            }
        }
        Err(error) => report.check(LISTENS, false, "a listener", error),
    }
    if let Ok(mut listener) = near.listen(ANY_V4, 4) {
        for target in targets(far, near).into_iter().filter(IpAddr::is_ipv4) {
            let remote = SocketAddr::new(target, listener.local().port());
            let reached = reaches(far, &mut listener, remote, sleep).await;
            report.check(
                UNSPECIFIED,
                reached,
                "a connection to each of its IPv4 addresses",
                remote,
            );
        }
    }
    let foreign = near.listen(NOBODY, 4).err();
    report.equal(IN_USE, foreign, Some(StackError::InvalidAddress));

    let first = at_once(report, BIND_AT_ONCE, sleep, || near.bind_udp(ANY));
    match first {
        Ok(socket) => {
            use mirage_device::Udp;
            let local = socket.local();
            report.check(
                BINDS,
                local.port() != 0,
                "a port of the stack's choice",
                local,
            );
            let again = near.bind_udp(local).err();
            report.equal(PORT_TAKEN, again, Some(StackError::AddressInUse));
            drop(socket);
            let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
            let free = near.bind_udp(local).map(|socket| socket.local().port());
            report.equal(SOCKET_DROPPED, free, Ok(local.port()));
        }
        Err(error) => report.check(BINDS, false, "a socket", error),
    }
}

async fn reaches<L: Listener>(
    from: &impl Stack,
    listener: &mut L,
    remote: SocketAddr,
    sleep: &impl Sleep,
) -> bool {
    let connecting = patiently(sleep, from.connect(remote));
    let (theirs, ours) = both(connecting, patiently(sleep, listener.accept())).await;
    match (theirs, ours) {
        (Some(Ok(mut theirs)), Some(Ok(mut ours))) => carries(&mut theirs, &mut ours, sleep).await,
        _ => false,
    }
}

/// Connections from `near` to `far`. `false` when there is none, and so no sense in more.
async fn connecting(
    report: &mut Report,
    near: &impl Stack,
    far: &impl Stack,
    sleep: &impl Sleep,
    target: IpAddr,
) -> bool {
    let Ok(mut listener) = far.listen(ANY, 8) else {
        report.check(CONNECTS, false, "the other stack to listen", "an error");
        return false;
    };
    let remote = SocketAddr::new(target, listener.local().port());
    // Nobody accepts yet: the answer is the stack's.
    match patiently(sleep, near.connect(remote)).await {
        Some(Ok(mut flow)) => {
            report.check(CONNECT_WAITS, true, "", "");
            let accepted = patiently(sleep, listener.accept()).await;
            let carried = match accepted {
                Some(Ok(mut accepted)) => carries(&mut flow, &mut accepted, sleep).await,
                _ => false,
            };
            report.check(CONNECTS, carried, "a connection that carries bytes", "none");

            // An attempt that is dropped leaves this one, and the next, alone.
            let _ = cancelled(near.connect(remote)).await;
            let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
            let next = patiently(sleep, near.connect(remote)).await;
            let carried = match next {
                Some(Ok(mut next)) => loop {
                    match patiently(sleep, listener.accept()).await {
                        Some(Ok(mut other)) if other.peer() == next.local() => {
                            break carries(&mut next, &mut other, sleep).await;
                        }
                        // The one that was dropped had come further.
                        Some(Ok(_)) => {}
                        _ => break false,
                    }
                },
                _ => false,
            };
            report.check(
                CONNECT_DROPPED,
                carried,
                "a connection after a dropped attempt",
                "none",
            );
        }
        other => {
            let seen = other.map(|result| result.err());
            report.check(CONNECT_WAITS, false, "a connection", seen);
            return false;
        }
    }
    drop(listener);
    let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    let refused = patiently(sleep, near.connect(remote))
        .await
        .map(|result| result.err());
    report.equal(REFUSED, refused, Some(Some(StackError::Refused)));
    true
}

/// More connections than the backlog of `near` holds: none is refused, all come through.
async fn backlog(report: &mut Report, near: &impl Stack, far: &impl Stack, sleep: &impl Sleep) {
    const CONNECTIONS: usize = 6;
    let Some(target) = targets(far, near).first().copied() else {
        return;
    };
    let Ok(mut listener) = near.listen(ANY, 2) else {
        return;
    };
    let remote = SocketAddr::new(target, listener.local().port());
    let open = Cell::new(0);
    let attempt = async || {
        let flow = within(sleep, NAMES, far.connect(remote)).await;
        open.set(open.get() + 1);
        flow.map(|flow| flow.is_ok())
    };
    let three = || both(attempt(), both(attempt(), attempt()));
    let accepting = async {
        let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
        let early = open.get();
        let mut flows = Vec::new();
        while flows.len() < CONNECTIONS {
            match within(sleep, NAMES, listener.accept()).await {
                Some(Ok(flow)) => flows.push(flow),
                _ => break,
            }
        }
        (flows.len(), early)
    };
    let ((first, second), (accepted, early)) = both(both(three(), three()), accepting).await;
    let yes = (Some(true), (Some(true), Some(true)));
    let kept = first == yes && second == yes && accepted == CONNECTIONS;
    let expected = "six attempts at a backlog of two all to succeed while somebody accepts";
    report.check(
        BACKLOG,
        kept,
        expected,
        (first, second, "accepted", accepted),
    );
    let expected = "fewer than six connections at a backlog of two before somebody accepts";
    report.check(BACKLOG, early < CONNECTIONS, expected, early);
}

async fn dropping(report: &mut Report, near: &impl Stack, far: &impl Stack, sleep: &impl Sleep) {
    let Some(target) = targets(far, near).first().copied() else {
        return;
    };
    let Ok(listener) = near.listen(ANY, 4) else {
        return;
    };
    let remote = SocketAddr::new(target, listener.local().port());
    let Some(Ok(mut waiting)) = patiently(sleep, far.connect(remote)).await else {
        return report.check(
            LISTENER_DROPPED,
            false,
            "a connection to begin with",
            "none",
        );
    };
    let _ = patiently(sleep, sleep.sleep(MOMENT)).await;
    drop(listener);
    let end = patiently(sleep, waiting.read(&mut [0; 8])).await;
    report.equal(LISTENER_DROPPED, end, Some(Err(FlowError::Reset)));
    let closed = patiently(sleep, far.connect(remote))
        .await
        .map(|result| result.err());
    report.equal(LISTENER_DROPPED, closed, Some(Some(StackError::Refused)));
    let free = near
        .listen(SocketAddr::new(ANY.ip(), remote.port()), 4)
        .err();
    report.equal(LISTENER_DROPPED, free, None);
}

async fn names(report: &mut Report, near: &impl Stack, sleep: &impl Sleep, network: Network<'_>) {
    let resolve = async |name, family| within(sleep, NAMES, near.resolve(name, family)).await;
    let v4: IpAddr = NOBODY.ip();
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77));
    for (text, address, own, other) in [
        ("192.0.2.77", v4, AddressFamily::V4, AddressFamily::V6),
        ("2001:db8::4d", v6, AddressFamily::V6, AddressFamily::V4),
    ] {
        let at_once = cancelled(near.resolve(text, AddressFamily::Any)).await;
        report.equal(RESOLVES, at_once, Some(Ok(Vec::from([address]))));
        let same = resolve(text, own).await;
        report.equal(RESOLVES, same, Some(Ok(Vec::from([address]))));
        let none = resolve(text, other).await;
        report.equal(FAMILY, none, Some(Err(StackError::NameNotFound)));
    }
    let Some((name, address)) = network.name else {
        for sentence in [RESOLVE_WAITS, RESOLVE_DROPPED] {
            report.not_applicable(sentence, "this rig has no name server");
        }
        return;
    };
    let _ = cancelled(near.resolve(name, AddressFamily::Any)).await;
    let found = resolve(name, AddressFamily::Any).await;
    let kept = matches!(&found, Some(Ok(found)) if found.contains(&address));
    report.check(
        RESOLVE_DROPPED,
        kept,
        "the address, after a call that was dropped",
        &found,
    );
    report.check(RESOLVES, kept, "the address that the rig knows", &found);
    let (own, other) = match address {
        IpAddr::V4(_) => (AddressFamily::V4, AddressFamily::V6),
        IpAddr::V6(_) => (AddressFamily::V6, AddressFamily::V4),
    };
    let found = resolve(name, own).await;
    let kept = matches!(&found, Some(Ok(found)) if found.contains(&address));
    report.check(
        FAMILY,
        kept,
        "the address among those of its family",
        &found,
    );
    let found = resolve(name, other).await;
    let kept = match &found {
        Some(Ok(found)) => {
            !found.is_empty()
                && found
                    .iter()
                    .all(|found| found.is_ipv4() != address.is_ipv4())
        }
        Some(Err(_)) => true,
        None => false,
    };
    report.check(
        FAMILY,
        kept,
        "only addresses of the other family, or an error",
        &found,
    );
    let absent = resolve("conformance.invalid", AddressFamily::Any).await;
    let kept = matches!(absent, Some(Err(_)));
    report.check(
        RESOLVE_WAITS,
        kept,
        "an error for a name that nobody has (RFC 6761)",
        &absent,
    );
}

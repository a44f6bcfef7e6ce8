//! The contract of [`Udp`].

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use mirage_device::{Sleep, Stack, StackError, Udp};

use crate::Report;
use crate::sentence::{because, contract};
use crate::stack::{ANY, Network, targets};
use crate::watch::{MOMENT, at_once, both, cancelled, patiently, within};

contract! { "stack"
    "Udp" {
        _: Does "A bound UDP port.", because::IT_DESCRIBES;
        WHOLE: Does "Datagrams are sent and received whole, never in pieces or joined.";
        OVERFLOW: Does "What arrives while the socket's buffer is full is dropped.";
        BOTH_WAYS: Does "Takes `&self`: one task may receive while another sends.";
    }
    "Udp::local" {
        LOCAL: Does "The address bound, with the port the stack chose.";
        LOCAL_AT_ONCE: Waits "Returns at once; never changes.";
    }
    "Udp::receive" {
        RECEIVE: Waits "Waits for a datagram: its length and sender.";
        TRUNCATES: Does "One longer than `buffer` fills the buffer, the rest is lost and the full length is returned.";
        RECEIVE_DROPPED: Cancel "Cancel-safe: a dropped call has taken none.";
        _: Owns "The caller owns the buffer.", because::TYPES_SAY_IT;
        RECEIVE_FINAL: Errors "[`StackError::Gone`] is final; no other error is.";
    }
    "Udp::send" {
        SENDS: Does "Sends `payload` as one datagram.";
        SEND_WAITS: Waits "Waits for room in the send buffer.";
        SEND_DROPPED: Cancel "Cancel-safe: a dropped call has sent nothing.";
        _: Owns "The caller keeps the buffer.", because::TYPES_SAY_IT;
        _: Does "`Ok` says nothing about arrival.", because::IT_ALLOWS;
        TOO_LONG: Errors "[`StackError::TooLong`] when no datagram can be so long; nothing was sent then.";
    }
    "Udp::join" {
        JOINS: Does "Receives datagrams sent to a multicast `group` from now on.";
        JOIN_AT_ONCE: Waits "Returns at once.";
        JOIN_TWICE: Does "A second call does nothing.";
        NO_GROUP: Errors "[`StackError::InvalidAddress`] for what is no group.";
    }
    "Udp::leave" {
        LEAVES: Does "Ends [`Udp::join`]: nothing sent to the group is received any more.";
        LEAVE_AT_ONCE: Waits "Returns at once.";
    }
}

/// How often something is sent that a network may lose.
const TRIES: u32 = 10;
/// How long its arrival is waited for.
const ARRIVAL: Duration = Duration::from_millis(500);
/// A group of nobody else (RFC 2365: local scope).
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 77, 77));

/// Checks the UDP ports of `near`, with datagrams from and to `far`.
pub async fn check(
    near: &impl Stack,
    far: &impl Stack,
    sleep: &impl Sleep,
    network: Network<'_>,
) -> Report {
    let mut report = Report::new();
    suite(&mut report, near, far, sleep, network).await;
    report.not_applicable(RECEIVE_FINAL, "this rig does not take the network away");
    report.complete(&CONTRACT)
}

/// Checks a UDP port whose network has been taken away, or is meanwhile.
pub async fn after_unplug(udp: &impl Udp, sleep: &impl Sleep) -> Report {
    let mut report = Report::new();
    for _ in 0..3 {
        let received = patiently(sleep, udp.receive(&mut [0; 16])).await;
        report.equal(RECEIVE_FINAL, received, Some(Err(StackError::Gone)));
    }
    report
}

async fn suite(
    report: &mut Report,
    near: &impl Stack,
    far: &impl Stack,
    sleep: &impl Sleep,
    network: Network<'_>,
) {
    let (here, there) = (targets(far, near), targets(near, far));
    let (Some(here), Some(there)) = (here.first().copied(), there.first().copied()) else {
        return report.check(LOCAL, false, "stacks that reach each other", "none");
    };
    let (Ok(ours), Ok(theirs)) = (near.bind_udp(ANY), far.bind_udp(ANY)) else {
        return report.check(LOCAL, false, "two sockets", "none");
    };
    let local = at_once(report, LOCAL_AT_ONCE, sleep, || ours.local());
    report.check(LOCAL, local.port() != 0, "a port", local);
    let rig = Rig {
        here: SocketAddr::new(here, local.port()),
        there: SocketAddr::new(there, theirs.local().port()),
        ours,
        theirs,
        sleep,
    };
    if rig.exchange(report).await {
        rig.receive(report).await;
        rig.send(report).await;
        rig.flood(report).await;
        rig.groups(report, network).await;
    }
    report.equal(LOCAL_AT_ONCE, rig.ours.local(), local);
}

struct Rig<'a, U, V, S> {
    ours: U,
    theirs: V,
    /// Our socket as the other stack reaches it, and theirs as ours does.
    here: SocketAddr,
    there: SocketAddr,
    sleep: &'a S,
}

/// A datagram of `len` bytes that is like no other.
fn datagram(tag: u8, len: usize) -> Vec<u8> {
    (0..len).map(|n| tag ^ (n as u8)).collect()
}

impl<U: Udp, V: Udp, S: Sleep> Rig<'_, U, V, S> {
    /// Sends from one socket until the other receives it.
    async fn carry(
        &self,
        from: &impl Udp,
        to: &impl Udp,
        remote: SocketAddr,
        payload: &[u8],
        buffer: &mut [u8],
    ) -> Result<Option<(usize, SocketAddr)>, StackError> {
        for _ in 0..TRIES {
            patiently(self.sleep, from.send(payload, remote))
                .await
                .unwrap_or(Err(StackError::TimedOut))?;
            if let Some(received) = within(self.sleep, ARRIVAL, to.receive(buffer)).await {
                return received.map(Some);
            }
        }
        Ok(None)
    }

    /// Takes what a second try may have left behind.
    async fn clear(&self) {
        let mut buffer = [0; 64];
        while within(self.sleep, MOMENT, self.ours.receive(&mut buffer))
            .await
            .is_some()
        {}
        while within(self.sleep, MOMENT, self.theirs.receive(&mut buffer))
            .await
            .is_some()
        {}
    }

    /// Datagrams of several lengths each way. `false` when none came.
    async fn exchange(&self, report: &mut Report) -> bool {
        let mut buffer = vec![0; 2048];
        for (tag, len) in (1_u8..).zip([1_usize, 0, 100, 1200]) {
            let payload = datagram(tag, len);
            let seen = self
                .carry(&self.ours, &self.theirs, self.there, &payload, &mut buffer)
                .await;
            let Ok(Some((count, from))) = seen else {
                report.check(SENDS, false, "a datagram at the other end", (len, seen));
                return false;
            };
            report.equal(WHOLE, buffer.get(..count), Some(&payload[..]));
            report.equal(SENDS, from, self.here);
            let seen = self
                .carry(&self.theirs, &self.ours, self.here, &payload, &mut buffer)
                .await;
            let Ok(Some((count, from))) = seen else {
                report.check(RECEIVE, false, "a datagram from the other end", (len, seen));
                return false;
            };
            report.equal(RECEIVE, (count, from), (len, self.there));
            report.equal(WHOLE, buffer.get(..count), Some(&payload[..]));
            self.clear().await;
        }
        true
    }

    /// Receiving that waits, that is dropped, and that has too small a buffer.
    async fn receive(&self, report: &mut Report) {
        let Self {
            ours,
            theirs,
            here,
            sleep,
            ..
        } = self;
        let mut buffer = [0; 64];
        let early = cancelled(ours.receive(&mut buffer)).await;
        report.check(
            RECEIVE,
            early.is_none(),
            "to wait while nothing is there",
            early,
        );
        let (seen, _) = both(patiently(*sleep, ours.receive(&mut buffer)), async {
            for _ in 0..TRIES {
                let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
                let _ = patiently(*sleep, theirs.send(b"wake", *here)).await;
            }
        })
        .await;
        report.equal(RECEIVE, seen, Some(Ok((4, self.there))));
        self.clear().await;

        let _ = cancelled(ours.receive(&mut buffer)).await;
        let mut kept = false;
        for tag in 0..TRIES as u8 {
            let payload = datagram(tag, 20);
            let _ = patiently(*sleep, theirs.send(&payload, *here)).await;
            let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
            let seen = match cancelled(ours.receive(&mut buffer)).await {
                Some(seen) => Some(seen),
                None => within(*sleep, ARRIVAL, ours.receive(&mut buffer)).await,
            };
            kept = matches!(seen, Some(Ok((20, _)))) && buffer[..20] == payload;
            if kept {
                break;
            }
        }
        report.check(
            RECEIVE_DROPPED,
            kept,
            "a datagram after dropped calls",
            "none in ten tries",
        );
        self.clear().await;

        let long = datagram(0x80, 100);
        let mut small = [0x55; 10];
        let seen = self.carry(theirs, ours, *here, &long, &mut small).await;
        report.equal(TRUNCATES, seen, Ok(Some((100, self.there))));
        report.check(TRUNCATES, small == long[..10], "the first ten bytes", small);
        self.clear().await;
        let next = datagram(0x40, 5);
        let seen = self.carry(theirs, ours, *here, &next, &mut small).await;
        report.equal(TRUNCATES, seen, Ok(Some((5, self.there))));
        report.check(
            TRUNCATES,
            small[..5] == next,
            "the next datagram, not the rest",
            small,
        );
        self.clear().await;
    }

    async fn send(&self, report: &mut Report) {
        let Self {
            ours,
            theirs,
            there,
            sleep,
            ..
        } = self;
        let refused = patiently(*sleep, ours.send(&vec![0; 70_000], *there)).await;
        report.equal(TOO_LONG, refused, Some(Err(StackError::TooLong)));
        let mut buffer = [0; 64];
        let seen = within(*sleep, MOMENT, theirs.receive(&mut buffer)).await;
        report.check(TOO_LONG, seen.is_none(), "nothing to be sent", seen);
        // A dropped call that had not completed has sent nothing; one that had, one datagram.
        let completed = cancelled(ours.send(b"dropped", *there)).await.is_some();
        let seen = within(*sleep, ARRIVAL, theirs.receive(&mut buffer)).await;
        let kept = completed || seen.is_none();
        report.check(SEND_DROPPED, kept, "nothing of a dropped call", seen);
        let (answer, sent) = both(
            within(*sleep, 2 * ARRIVAL, ours.receive(&mut buffer)),
            async {
                let mut scratch = [0; 64];
                for _ in 0..TRIES {
                    let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
                    let _ = patiently(*sleep, ours.send(b"ping", *there)).await;
                    if within(*sleep, MOMENT, theirs.receive(&mut scratch))
                        .await
                        .is_some()
                    {
                        return patiently(*sleep, theirs.send(b"pong", self.here)).await;
                    }
                }
                None
            },
        )
        .await;
        let kept = matches!(answer, Some(Ok((4, _)))) && sent == Some(Ok(()));
        report.check(
            BOTH_WAYS,
            kept,
            "an answer to what was sent meanwhile",
            (answer, sent),
        );
        self.clear().await;
    }

    /// More than the buffers hold, with nobody who receives.
    async fn flood(&self, report: &mut Report) {
        let Self {
            ours,
            theirs,
            here,
            there,
            sleep,
        } = self;
        let payload = datagram(0x20, 600);
        for n in 0..1_000 {
            match patiently(*sleep, ours.send(&payload, *there)).await {
                Some(Ok(())) => {}
                other => {
                    report.check(SEND_WAITS, false, "room at some time", (n, other));
                    return;
                }
            }
        }
        report.check(SEND_WAITS, true, "", "");
        for _ in 0..1_000 {
            let _ = patiently(*sleep, theirs.send(&payload, *here)).await;
        }
        let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
        let (mut count, mut whole, mut buffer) = (0, true, vec![0; 2048]);
        while let Some(Ok((len, _))) = within(*sleep, MOMENT, ours.receive(&mut buffer)).await {
            count += 1;
            whole &= buffer.get(..len) == Some(&payload[..]);
        }
        let expected = "some of a thousand datagrams, each whole";
        report.check(
            OVERFLOW,
            count > 0 && count <= 1_000 && whole,
            expected,
            (count, whole),
        );
        self.clear().await;
        let seen = self.carry(theirs, ours, *here, b"after", &mut buffer).await;
        report.equal(OVERFLOW, seen, Ok(Some((5, *there))));
        self.clear().await;
    }

    async fn groups(&self, report: &mut Report, network: Network<'_>) {
        let Self {
            ours,
            theirs,
            here,
            sleep,
            ..
        } = self;
        let unicast = at_once(report, JOIN_AT_ONCE, *sleep, || ours.join(here.ip()));
        report.equal(NO_GROUP, unicast, Err(StackError::InvalidAddress));
        report.equal(
            NO_GROUP,
            ours.leave(here.ip()),
            Err(StackError::InvalidAddress),
        );
        if !network.multicast {
            for sentence in [JOINS, JOIN_TWICE, LEAVES, LEAVE_AT_ONCE] {
                report.not_applicable(sentence, "this rig's network carries no multicast");
            }
            return;
        }
        report.equal(JOINS, ours.join(GROUP), Ok(()));
        report.equal(JOIN_TWICE, ours.join(GROUP), Ok(()));
        let _ = patiently(*sleep, sleep.sleep(MOMENT)).await;
        let (to, mut buffer) = (SocketAddr::new(GROUP, here.port()), [0; 64]);
        let seen = self.carry(theirs, ours, to, b"all", &mut buffer).await;
        // Which of its addresses a group's sender has is its own affair.
        let kept = matches!(seen, Ok(Some((3, _))));
        report.check(JOINS, kept, "a datagram to the group", seen);
        self.clear().await;
        let left = at_once(report, LEAVE_AT_ONCE, *sleep, || ours.leave(GROUP));
        report.equal(LEAVES, left, Ok(()));
        let _ = patiently(*sleep, theirs.send(b"gone", to)).await;
        let seen = within(*sleep, ARRIVAL, ours.receive(&mut buffer)).await;
        report.check(LEAVES, seen.is_none(), "nothing after leaving", seen);
        report.equal(JOIN_TWICE, ours.join(GROUP), Ok(()));
        report.equal(LEAVES, ours.leave(GROUP), Ok(()));
    }
}

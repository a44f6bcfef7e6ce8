use mirage_device::{BlockInfo, NetInfo};
use mirage_manifest::Kind;

use crate::block::Block;
use crate::net::Net;
use crate::start;
use crate::syscall::Fd;

/// The descriptor of device 0; the others follow.
const FIRST: Fd = 4;

/// A device as the tender attached it.
pub(crate) enum Attached {
    Net(Net),
    Block(Block),
}

impl Attached {
    /// Reads a device's line of the boot protocol; `None` when it is not exactly that.
    pub(crate) fn parse(kind: Kind, number: usize, line: &str) -> Option<Self> {
        let fd = FIRST.checked_add(Fd::try_from(number).ok()?)?;
        let mut fields = Fields(line.strip_prefix(kind.name())?);
        let mut field = |name| fields.next(name);
        let device = match kind {
            Kind::Net => {
                let mac = mac(field("mac")?)?;
                let mtu = start::number(field("mtu")?)?;
                if !(68..=65_535).contains(&mtu) {
                    return None;
                }
                let info = match flag(field("offload")?)? {
                    true => NetInfo::offloading(mac, mtu),
                    false => NetInfo::plain(mac, mtu),
                };
                Self::Net(Net::new(fd, info))
            }
            Kind::Block => {
                // The kernel's offsets are signed.
                let size = start::number(field("size")?)? as u64;
                let sector = u32::try_from(start::number(field("sector")?)?).ok()?;
                if i64::try_from(size).is_err() || !sector.is_power_of_two() {
                    return None;
                }
                let writable = flag(field("writable")?)?;
                let discard = flag(field("discard")?)?;
                if !size.is_multiple_of(sector.into()) {
                    return None;
                }
                Self::Block(Block::new(
                    fd,
                    BlockInfo::new(size, sector, writable, discard),
                    discard,
                ))
            }
            _ => return None,
        };
        fields.0.is_empty().then_some(device)
    }
}

/// What is left of a line: `,NAME=VALUE` again and again.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// The value of the next field, which must have this name.
    #[inline(never)]
    fn next(&mut self, name: &str) -> Option<&'a str> {
        let rest = self.0.strip_prefix(',')?.strip_prefix(name)?;
        let rest = rest.strip_prefix('=')?;
        let end = rest.bytes().position(|byte| byte == b',');
        let (value, rest) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        self.0 = rest;
        Some(value)
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// Six bytes in hexadecimal, `02:00:00:aa:bb:cc`.
fn mac(text: &str) -> Option<[u8; 6]> {
    if text.len() != "00:00:00:00:00:00".len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut mac = [0; 6];
    for (place, part) in mac.iter_mut().zip(text.as_bytes().chunks(3)) {
        let (&[high, low] | &[high, low, b':']) = part else {
            return None;
        };
        *place = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_device_is_what_its_line_says() {
        let line = "net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1";
        let Some(Attached::Net(net)) = Attached::parse(Kind::Net, 0, line) else {
            panic!()
        };
        assert_eq!(
            net.info(),
            NetInfo::offloading([2, 0, 0, 0xaa, 0xbb, 0xcc], 1500)
        );
        let line = "net,mac=02:00:00:aa:bb:cc,mtu=9000,offload=0";
        let Some(Attached::Net(net)) = Attached::parse(Kind::Net, 0, line) else {
            panic!()
        };
        assert_eq!(
            net.info(),
            NetInfo::plain([2, 0, 0, 0xaa, 0xbb, 0xcc], 9000)
        );
    }

    #[test]
    fn a_block_device_is_what_its_line_says() {
        let line = "block,size=1048576,sector=512,writable=1,discard=0";
        let Some(Attached::Block(block)) = Attached::parse(Kind::Block, 1, line) else {
            panic!()
        };
        assert_eq!(block.info(), BlockInfo::new(1 << 20, 512, true, false));
    }

    #[test]
    fn a_line_that_is_not_exactly_one_is_refused() {
        for line in [
            "",
            "net",
            "block,size=1024,sector=512,writable=1,discard=1",
            "net,mac=02:00:00:aa:bb,mtu=1500,offload=1",
            "net,mac=02:00:00:aa:bb:cc:dd,mtu=1500,offload=1",
            "net,mac=2:00:00:aa:bb:cc,mtu=1500,offload=1",
            "net,mac=02:00:00:aa:bb:gg,mtu=1500,offload=1",
            "net,mac=02:00:00:aa:bb:cc,mtu=67,offload=1",
            "net,mac=02:00:00:aa:bb:cc,mtu=65536,offload=1",
            "net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=2",
            "net,mac=02:00:00:aa:bb:cc,mtu=1500",
            "net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1,more=1",
            "net,mtu=1500,mac=02:00:00:aa:bb:cc,offload=1",
        ] {
            assert!(Attached::parse(Kind::Net, 0, line).is_none(), "{line}");
        }
        for line in [
            "net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1",
            "block,size=1000,sector=512,writable=1,discard=1",
            "block,size=1024,sector=0,writable=1,discard=1",
            "block,size=1500,sector=500,writable=1,discard=1",
            "block,size=9223372036854775808,sector=512,writable=1,discard=1",
            "block,size=-512,sector=512,writable=1,discard=1",
            "block,size=1024,sector=512,writable=yes,discard=1",
            "block,size=1024,sector=512,writable=1",
        ] {
            assert!(Attached::parse(Kind::Block, 0, line).is_none(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(
            line in "(net|block)?(,(mac|mtu|size|sector)?=?[0-9a-f:é]{0,20}){0,5}",
            number in any::<usize>(),
        ) {
            for kind in [Kind::Net, Kind::Block] {
                prop_assert!(
                    Attached::parse(kind, number, &line).is_none() || line.starts_with(kind.name())
                );
            }
        }
    }
}

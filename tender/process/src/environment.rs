//! The environment that tells an image what it got.
//!
//! `MIRAGE_MEMORY=33554432`; `MIRAGE_WATCHED=1` when a debugger tells of the image's end, so that
//! it need not; and for each device by its number
//! `MIRAGE_DEVICE_0=net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1` or
//! `MIRAGE_DEVICE_1=block,size=1048576,sector=512,writable=1,discard=1`; for what is shared
//! `MIRAGE_COUNTERS=6,4096`, descriptor and bytes.

use core::fmt::{self, Write};

use crate::SECTOR;
use crate::mac::Mac;
use crate::shared::Shared;
use crate::text::Text;

/// What an attached device turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A network device.
    Net {
        /// The guest's address.
        mac: Mac,
        /// The largest IP packet in bytes.
        mtu: u32,
        /// The host computes checksums and cuts segments, and hands over frames where it did not.
        offload: bool,
    },
    /// A block device.
    Block {
        /// Its size in bytes, a multiple of [`SECTOR`].
        size: u64,
        /// The image may write to it, and discard.
        writable: bool,
    },
}

/// Writes `MIRAGE_MEMORY=...` and the zero byte after it.
pub fn memory<const N: usize>(text: &mut Text<N>, memory: u64) -> fmt::Result {
    write!(text, "MIRAGE_MEMORY={memory}\0")
}

/// Writes `MIRAGE_WATCHED=1` and the zero byte after it.
pub fn watched<const N: usize>(text: &mut Text<N>) -> fmt::Result {
    text.write_str("MIRAGE_WATCHED=1\0")
}

/// Writes `MIRAGE_DEVICE_n=...` and the zero byte after it.
pub fn device<const N: usize>(text: &mut Text<N>, number: usize, device: &Opened) -> fmt::Result {
    write!(text, "MIRAGE_DEVICE_{number}=")?;
    match *device {
        Opened::Net { mac, mtu, offload } => {
            let offload = u8::from(offload);
            write!(text, "net,mac={mac},mtu={mtu},offload={offload}\0")
        }
        Opened::Block { size, writable } => {
            let writable = u8::from(writable);
            write!(
                text,
                "block,size={size},sector={SECTOR},writable={writable},discard={writable}\0"
            )
        }
    }
}

/// Writes `MIRAGE_COUNTERS=...` or `MIRAGE_RECORD=...` and the zero byte after it.
pub fn shared<const N: usize>(text: &mut Text<N>, descriptor: u32, shared: &Shared) -> fmt::Result {
    let (variable, len) = (shared.kind.variable(), shared.len);
    write!(text, "{variable}={descriptor},{len}\0")
}

/// Enough for every device and all that is shared at its longest.
pub const LONGEST: usize = 6 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Kind;

    #[test]
    fn the_lines_are_those_of_the_boot_protocol() {
        let mut text = Text::<LONGEST>::new();
        memory(&mut text, 33_554_432).unwrap();
        watched(&mut text).unwrap();
        let mac = Mac([2, 0, 0, 0xaa, 0xbb, 0xcc]);
        let net = Opened::Net {
            mac,
            mtu: 1500,
            offload: true,
        };
        device(&mut text, 0, &net).unwrap();
        let block = Opened::Block {
            size: 1_048_576,
            writable: true,
        };
        device(&mut text, 1, &block).unwrap();
        for (number, kind) in [(6, Kind::Counters), (7, Kind::Record)] {
            shared(&mut text, number, &Shared { kind, len: 4096 }).unwrap();
        }
        assert_eq!(
            std::str::from_utf8(text.as_bytes()).unwrap(),
            "MIRAGE_MEMORY=33554432\0\
             MIRAGE_WATCHED=1\0\
             MIRAGE_DEVICE_0=net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=1\0\
             MIRAGE_DEVICE_1=block,size=1048576,sector=512,writable=1,discard=1\0\
             MIRAGE_COUNTERS=6,4096\0\
             MIRAGE_RECORD=7,4096\0"
        );
    }

    #[test]
    fn the_longest_environment_fits() {
        let mut text = Text::<LONGEST>::new();
        memory(&mut text, u64::MAX).unwrap();
        watched(&mut text).unwrap();
        for number in 0..mirage_manifest::MAX_DEVICES {
            let block = Opened::Block {
                size: u64::MAX,
                writable: false,
            };
            device(&mut text, number, &block).unwrap();
        }
        for kind in [Kind::Counters, Kind::Record] {
            shared(
                &mut text,
                u32::MAX,
                &Shared {
                    kind,
                    len: u64::MAX,
                },
            )
            .unwrap();
        }
    }
}

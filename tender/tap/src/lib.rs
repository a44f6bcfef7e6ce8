//! Opens a tap that exists, as the tender does, for a program that stands between it and an image.
//!
//! ```no_run
//! let tap = mirage_tap::Tap::open("tap0")?;
//! println!("packets of up to {} bytes", tap.mtu);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl};
use rustix::net::{AddressFamily, SocketType, socket};

const SIOCGIFMTU: Opcode = 0x8921;
const TUNSETIFF: Opcode = 0x4004_54ca;
const TUNSETOFFLOAD: Opcode = 0x4004_54d0;
const TUNSETVNETHDRSZ: Opcode = 0x4004_54d8;
/// IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
const TAP_FLAGS: i32 = 0x0002 | 0x1000 | 0x4000;
/// TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
const OFFLOADS: usize = 1 | 2 | 4;
/// The legacy virtio_net_hdr.
const HEADER: i32 = 10;

/// A tap, open.
#[derive(Debug)]
pub struct Tap {
    /// Each read and write is a virtio header of 10 bytes and a frame, whose checksums may be
    /// partial and which may be a large segment. A read waits for one.
    pub descriptor: OwnedFd,
    /// The largest IP packet in bytes.
    pub mtu: u32,
}

/// `struct ifreq` (linux/if.h): an interface's name and a union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: i32,
    rest: [u32; 5],
}

impl Tap {
    /// Opens a tap by its name. Returns at once.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is no such interface: none is made. `EBUSY` when another process has it.
    /// Those of `/dev/net/tun`, and what the kernel says of an interface that is no tap or
    /// somebody else's.
    pub fn open(interface: &str) -> io::Result<Self> {
        let mut name = [0; 16];
        let bytes = interface.as_bytes();
        // The last byte is the end.
        let place = name.get_mut(..bytes.len()).filter(|place| place.len() < 16);
        place.ok_or(Errno::NODEV)?.copy_from_slice(bytes);
        let request = |value| Request {
            name,
            value,
            rest: [0; 5],
        };
        // Asked first: with the right to do so, TUNSETIFF would make a missing interface.
        let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        let mut asked = request(0);
        // SAFETY: SIOCGIFMTU takes a `struct ifreq` and writes into it.
        unsafe { ioctl(any, Updater::<SIOCGIFMTU, Request>::new(&mut asked)) }?;
        let mut options = OpenOptions::new();
        let tap: OwnedFd = options.read(true).write(true).open("/dev/net/tun")?.into();
        let mut attached = request(TAP_FLAGS);
        // SAFETY: TUNSETIFF takes a `struct ifreq` and writes into it.
        unsafe { ioctl(&tap, Updater::<TUNSETIFF, Request>::new(&mut attached)) }?;
        // SAFETY: TUNSETVNETHDRSZ reads an int.
        unsafe { ioctl(&tap, Setter::<TUNSETVNETHDRSZ, i32>::new(HEADER)) }?;
        // SAFETY: TUNSETOFFLOAD takes a number, not an address.
        unsafe { ioctl(&tap, IntegerSetter::<TUNSETOFFLOAD>::new_usize(OFFLOADS)) }?;
        let mtu = u32::try_from(asked.value).map_err(|_| Errno::INVAL)?;
        Ok(Self {
            descriptor: tap,
            mtu,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_is_not_there_is_not_made() {
        for name in [
            "mirage-none",
            "a-name-that-is-too-long-for-linux",
            "0123456789abcdef",
        ] {
            let error = Tap::open(name).unwrap_err();
            assert_eq!(
                error.raw_os_error(),
                Some(Errno::NODEV.raw_os_error()),
                "{name}"
            );
        }
    }
}

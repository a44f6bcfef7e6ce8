//! Opening what the command line gives.

use core::ffi::CStr;

use mirage_tender_process::SECTOR;
use mirage_tender_process::arguments::{Resource, Source};
use mirage_tender_process::attach::Attached;
use mirage_tender_process::environment::Opened;
use mirage_tender_process::error::{Errno, Error};
use mirage_tender_process::mac::Mac;
use mirage_tender_process::shared::LEN;
use mirage_tender_process::text::Word;

use crate::sys::{self, FileType};

const PATH_MAX: usize = 4096;

/// Opens a file whose name has no zero byte at its end yet.
fn open(path: &[u8], flags: usize) -> sys::Result<u32> {
    let mut room = [0; PATH_MAX];
    let place = room.get_mut(..path.len()).ok_or(Errno::ENAMETOOLONG)?;
    place.copy_from_slice(path);
    let path = CStr::from_bytes_until_nul(&room).map_err(|_| Errno::ENAMETOOLONG)?;
    sys::open(path, flags)
}

/// Opens the image: its descriptor and size.
///
/// It is checked and executed by this one descriptor, so that it cannot be exchanged in between.
/// Somebody who may write to the file can still change it in between, but gains nothing: whatever
/// is executed runs under the filter that was made from the manifest and command line.
pub fn image(image: Source<'_>) -> Result<(u32, u64), Error<'_>> {
    let failed = |errno| Error::OpenImage(image, errno);
    let descriptor = match image {
        Source::Path(path) => open(path, sys::O_RDONLY).map_err(failed)?,
        Source::Descriptor(number) => number,
    };
    match sys::stat(descriptor).map_err(failed)? {
        (FileType::REGULAR, size) => Ok((descriptor, size)),
        _ => Err(Error::NotAFile(image)),
    }
}

/// Opens a device: its descriptor, and what it turned out to be.
pub fn device<'a>(device: &Attached<'a>, image: &[u8]) -> Result<(u32, Opened), Error<'a>> {
    let derived = |interface| Mac::derive(&[image, device.name.as_bytes(), interface]);
    match device.resource {
        Resource::Tap { interface, mac } => {
            let tap = tap(interface)?;
            let opened = Opened::Net {
                mac: mac.unwrap_or_else(|| derived(interface)),
                mtu: tap.mtu,
                offload: tap.offload,
            };
            Ok((tap.descriptor, opened))
        }
        Resource::Socket {
            descriptor,
            mac,
            mtu,
        } => {
            if !prepare_socket(descriptor) {
                let name = device.name;
                return Err(Error::NotASocket { name, descriptor });
            }
            let opened = Opened::Net {
                mac: mac.unwrap_or_else(|| derived(b"")),
                mtu,
                // Nothing but memory lies between the two ends: nothing needs a checksum or cuts.
                offload: true,
            };
            Ok((descriptor, opened))
        }
        Resource::File { path, writable } => {
            let (descriptor, size) = block(path, writable)?;
            Ok((descriptor, Opened::Block { size, writable }))
        }
    }
}

/// Checks a file that is to be shared: its length.
pub fn shared<'a>(option: &'static str, descriptor: u32) -> Result<u64, Error<'a>> {
    const F_GETFL: usize = 3;
    const O_ACCMODE: usize = 3;
    let mode = sys::number(sys::FCNTL, [descriptor as usize, F_GETFL]);
    let writable = mode.is_ok_and(|mode| mode & O_ACCMODE == sys::O_RDWR);
    match sys::stat(descriptor) {
        Ok((FileType::REGULAR, len))
            if writable && LEN.contains(&len) && len.is_multiple_of(*LEN.start()) =>
        {
            Ok(len)
        }
        _ => Err(Error::NotShared(option)),
    }
}

/// `struct ifreq` (linux/if.h): an interface's name and a union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: i32,
    _rest: [u32; 5],
}

impl Request {
    fn new(interface: &[u8], value: i32) -> Self {
        let mut name = [0; 16];
        // The command line's reader let at most 15 bytes pass.
        for (place, byte) in name.iter_mut().zip(interface) {
            *place = *byte;
        }
        Self {
            name,
            value,
            _rest: [0; 5],
        }
    }
}

const SIOCGIFMTU: usize = 0x8921;
const TUNSETIFF: usize = 0x4004_54ca;
const TUNSETOFFLOAD: usize = 0x4004_54d0;
const TUNSETVNETHDRSZ: usize = 0x4004_54d8;
/// IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
const TAP_FLAGS: i32 = 0x0002 | 0x1000 | 0x4000;
/// TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
const OFFLOADS: usize = 1 | 2 | 4;
/// The legacy virtio_net_hdr.
const HEADER: i32 = 10;

struct Tap {
    descriptor: u32,
    mtu: u32,
    offload: bool,
}

fn tap(interface: &[u8]) -> Result<Tap, Error<'_>> {
    let name = Word(interface);
    // Asked first: with the right to do so, TUNSETIFF would make a missing interface.
    let mtu = mtu(interface).map_err(|errno| match errno {
        Errno::ENODEV => Error::NoTap(name),
        errno => Error::AttachTap(name, errno),
    })?;
    let descriptor = sys::open(c"/dev/net/tun", sys::O_RDWR).map_err(Error::OpenTun)?;
    let mut request = Request::new(interface, TAP_FLAGS);
    // SAFETY: TUNSETIFF takes a `struct ifreq`.
    unsafe { sys::ioctl(descriptor, TUNSETIFF, &mut request) }
        .map_err(|errno| Error::AttachTap(name, errno))?;
    let mut header = HEADER;
    // SAFETY: TUNSETVNETHDRSZ takes an int.
    unsafe { sys::ioctl(descriptor, TUNSETVNETHDRSZ, &mut header) }
        .map_err(|errno| Error::TapHeader(name, errno))?;
    // A tap that outlives its user keeps what the last one set: always set it.
    let offload =
        |features| sys::number(sys::IOCTL, [descriptor as usize, TUNSETOFFLOAD, features]);
    let offloads = offload(OFFLOADS).is_ok();
    if !offloads {
        offload(0).map_err(|errno| Error::TapHeader(name, errno))?;
    }
    Ok(Tap {
        descriptor,
        mtu,
        offload: offloads,
    })
}

fn mtu(interface: &[u8]) -> sys::Result<u32> {
    const AF_UNIX: usize = 1;
    const SOCK_DGRAM: usize = 2;
    // Any socket knows the interfaces; it is closed with everything else.
    let socket = sys::number(sys::SOCKET, [AF_UNIX, SOCK_DGRAM, 0])? as u32;
    let mut request = Request::new(interface, 0);
    // SAFETY: SIOCGIFMTU takes a `struct ifreq`.
    unsafe { sys::ioctl(socket, SIOCGIFMTU, &mut request)? };
    u32::try_from(request.value).map_err(|_| Errno::EINVAL)
}

/// Makes a socket of messages non-blocking; whether it is one.
fn prepare_socket(descriptor: u32) -> bool {
    const SOL_SOCKET: usize = 1;
    const SO_TYPE: usize = 3;
    const SOCK_DGRAM: u32 = 2;
    const SOCK_SEQPACKET: u32 = 5;
    let descriptor = descriptor as usize;
    let (mut kind, mut len) = (0u32, 4u32);
    let (to, length) = (&raw mut kind as usize, &raw mut len as usize);
    // SAFETY: the kernel writes an int and its length.
    let got = unsafe {
        sys::call(
            sys::GETSOCKOPT,
            [descriptor, SOL_SOCKET, SO_TYPE, to, length],
        )
    };
    if got.is_err() || !matches!(kind, SOCK_DGRAM | SOCK_SEQPACKET) {
        return false;
    }
    const F_GETFL: usize = 3;
    const F_SETFL: usize = 4;
    let flags = sys::number(sys::FCNTL, [descriptor, F_GETFL]);
    flags.is_ok_and(|flags| {
        let flags = flags | sys::O_NONBLOCK;
        sys::number(sys::FCNTL, [descriptor, F_SETFL, flags]).is_ok()
    })
}

/// Opens a block device's file: its descriptor and size. It stays locked as long as it is open.
fn block(path: &[u8], writable: bool) -> Result<(u32, u64), Error<'_>> {
    const BLKGETSIZE64: usize = 0x8008_1272;
    const LOCK_SH: usize = 1;
    const LOCK_EX: usize = 2;
    const LOCK_NB: usize = 4;
    let name = Word(path);
    let failed = |errno| Error::OpenBlock(name, errno);
    let (mode, lock) = match writable {
        true => (sys::O_RDWR, LOCK_EX),
        false => (sys::O_RDONLY, LOCK_SH),
    };
    let descriptor = open(path, mode).map_err(failed)?;
    sys::number(sys::FLOCK, [descriptor as usize, lock | LOCK_NB]).map_err(
        |errno| match errno {
            Errno::EAGAIN => Error::BlockInUse(name),
            errno => failed(errno),
        },
    )?;
    let size = match sys::stat(descriptor).map_err(failed)? {
        (FileType::REGULAR, size) => size,
        (FileType::BLOCK, _) => {
            let mut size = 0u64;
            // SAFETY: BLKGETSIZE64 writes a u64.
            unsafe { sys::ioctl(descriptor, BLKGETSIZE64, &mut size) }.map_err(failed)?;
            size
        }
        _ => return Err(Error::NotABlock(name)),
    };
    // The kernel's own sizes are below 2^63, which the filter relies on.
    if size == 0 || !size.is_multiple_of(SECTOR) || size > i64::MAX as u64 {
        return Err(Error::BlockSize(name, size));
    }
    Ok((descriptor, size))
}

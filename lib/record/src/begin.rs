//! What a platform says once and for all: a device in an event's payload.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use mirage_device::platform::{DeviceEntry, DeviceId, DeviceKind};
use mirage_device::{BlockInfo, NetInfo, Platform};

use crate::tape::Tape;

/// Arguments and devices.
pub(crate) struct Begin {
    pub arguments: Vec<String>,
    pub devices: Vec<Device>,
}

pub(crate) struct Device {
    name: String,
    pub info: Info,
}

#[derive(Clone, Copy)]
pub(crate) enum Info {
    Net(NetInfo),
    Block(BlockInfo),
}

/// Bytes before the name: kind, flags, address, two numbers.
pub(crate) const DEVICE: usize = 24;

const NET: u8 = 1;
const BLOCK: u8 = 2;

/// What stands before a device's name.
pub(crate) fn describe(platform: &impl Platform, id: DeviceId, kind: DeviceKind) -> [u8; DEVICE] {
    let flag = |bit: u8, set| u8::from(set) << bit;
    let mut mac = [0; 6];
    let (kind, flags, first, second) = match kind {
        DeviceKind::Net => {
            let info = platform.net_info(id);
            mac = info.mac;
            let flags = flag(0, info.checksum_offload) | flag(1, info.tso4) | flag(2, info.tso6);
            (NET, flags, info.mtu as u64, info.max_frame as u64)
        }
        _ => {
            let info = platform.block_info(id);
            let flags = flag(0, info.writable) | flag(1, info.discard_zeroes);
            (BLOCK, flags, info.size, info.sector.into())
        }
    };
    let [a, b, c, d, e, f] = mac;
    let words = [
        u64::from_le_bytes([kind, flags, a, b, c, d, e, f]),
        first,
        second,
    ];
    let mut bytes = [0; DEVICE];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    bytes
}

impl Device {
    /// Reads a device from so many bytes of the tape. `None` when no device is like that.
    pub fn read<T: Tape + ?Sized>(tape: &T, at: usize, len: usize) -> Option<Self> {
        let mut words = [[0; 8]; 3];
        let name = len.checked_sub(DEVICE)?;
        for (word, at) in words.iter_mut().zip((at..).step_by(8)) {
            tape.read(at, word);
        }
        let [[kind, flags, mac @ ..], first, second] = words;
        let (first, second) = (u64::from_le_bytes(first), u64::from_le_bytes(second));
        let flag = |bit: u8| flags & 1 << bit != 0;
        let info = match kind {
            NET => {
                // What no device has would make a stack ask for absurd buffers.
                let fits = |len: u64| (68..=1 << 20).contains(&len).then_some(len as usize);
                let mut info = NetInfo::plain(mac, fits(first)?);
                info.max_frame = fits(second)?;
                info.checksum_offload = flag(0);
                info.tso4 = flag(1);
                info.tso6 = flag(2);
                Info::Net(info)
            }
            BLOCK => {
                let sector = u32::try_from(second).ok().filter(|n| n.is_power_of_two())?;
                Info::Block(BlockInfo::new(first, sector, flag(0), flag(1)))
            }
            _ => return None,
        };
        let name = text(tape, at + DEVICE, name)?;
        Some(Self { name, info })
    }

    pub fn entry(&self) -> DeviceEntry<'_> {
        DeviceEntry {
            name: &self.name,
            kind: match self.info {
                Info::Net(_) => DeviceKind::Net,
                Info::Block(_) => DeviceKind::Block,
            },
        }
    }
}

/// Reads text that is known to lie on the tape.
pub(crate) fn text<T: Tape + ?Sized>(tape: &T, at: usize, len: usize) -> Option<String> {
    let mut bytes = vec![0; len];
    tape.read(at, &mut bytes);
    String::from_utf8(bytes).ok()
}

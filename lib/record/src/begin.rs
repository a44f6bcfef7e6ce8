use alloc::string::String;
use alloc::vec::Vec;

use mirage_device::platform::{DeviceEntry, DeviceId, DeviceKind};
use mirage_device::{BlockInfo, NetInfo, Platform};

use crate::tape::Tape;
use crate::wire::{Line, Reader};

/// What a platform says once and for all.
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

impl Device {
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

/// Hands the event's payload to `out`, piece by piece.
pub(crate) fn write(platform: &impl Platform, out: &mut dyn FnMut(&[u8])) {
    number(out, platform.arguments().count() as u64);
    for argument in platform.arguments() {
        text(out, argument);
    }
    number(out, platform.devices().count() as u64);
    for (entry, id) in platform.devices().zip(0..).map(|(e, id)| (e, DeviceId(id))) {
        out(&[if entry.kind == DeviceKind::Net { 1 } else { 2 }]);
        text(out, entry.name);
        match entry.kind {
            DeviceKind::Net => {
                let info = platform.net_info(id);
                out(&info.mac);
                number(out, info.mtu as u64);
                number(out, info.max_frame as u64);
                out(&[flags(&[info.checksum_offload, info.tso4, info.tso6])]);
            }
            _ => {
                let info = platform.block_info(id);
                number(out, info.size);
                number(out, info.sector.into());
                out(&[flags(&[info.writable, info.discard_zeroes])]);
            }
        }
    }
}

fn flags(flags: &[bool]) -> u8 {
    flags
        .iter()
        .rev()
        .fold(0, |sum, flag| sum << 1 | u8::from(*flag))
}

#[inline(never)]
fn number(out: &mut dyn FnMut(&[u8]), number: u64) {
    let mut line = Line::new();
    line.number(number);
    out(line.as_bytes());
}

fn text(out: &mut dyn FnMut(&[u8]), text: &str) {
    number(out, text.len() as u64);
    out(text.as_bytes());
}

impl Begin {
    /// Reads what [`write`] wrote. It allocates no more than the payload is long, but for a
    /// constant factor.
    pub fn read<T: Tape + ?Sized>(reader: &mut Reader<'_, T>) -> Option<Self> {
        let mut begin = Self {
            arguments: Vec::new(),
            devices: Vec::new(),
        };
        for _ in 0..reader.number()? {
            begin.arguments.push(string(reader)?);
        }
        for _ in 0..reader.number()? {
            let kind = reader.byte()?;
            let name = string(reader)?;
            let info = match kind {
                1 => {
                    let mut mac = [0; 6];
                    reader.bytes(&mut mac)?;
                    let mut info = NetInfo::plain(mac, reader.len()?);
                    info.max_frame = reader.len()?;
                    let flags = reader.byte()?;
                    info.checksum_offload = flags & 1 != 0;
                    info.tso4 = flags & 2 != 0;
                    info.tso6 = flags & 4 != 0;
                    // What no device has would make a stack ask for absurd buffers.
                    let fits = |len| (68..=1 << 20).contains(&len);
                    (fits(info.mtu) && fits(info.max_frame)).then_some(Info::Net(info))?
                }
                2 => {
                    let size = reader.number()?;
                    let sector = u32::try_from(reader.number()?).ok()?;
                    let flags = reader.byte()?;
                    sector.is_power_of_two().then_some(())?;
                    let info = BlockInfo::new(size, sector, flags & 1 != 0, flags & 2 != 0);
                    Info::Block(info)
                }
                _ => return None,
            };
            begin.devices.push(Device { name, info });
        }
        Some(begin)
    }
}

#[inline(never)]
fn string<T: Tape + ?Sized>(reader: &mut Reader<'_, T>) -> Option<String> {
    let len = reader.len()?;
    // Before anything is allocated.
    (len <= reader.left()).then_some(())?;
    let mut bytes = alloc::vec![0; len];
    reader.bytes(&mut bytes)?;
    String::from_utf8(bytes).ok()
}

use core::fmt;

use crate::device::{Device, Kind, MAX_DEVICES};
use crate::note::{OWNER, TYPE, VERSION};

/// The devices that an image's note names. Every byte of it has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    count: usize,
    devices: &'a [u8],
}

impl<'a> Manifest<'a> {
    /// Reads the notes of a section or segment (alignment 4) and finds ours among them.
    ///
    /// Returns at once. Notes of other owners are skipped. Anything that [`Note`](crate::Note)
    /// would not have written is an error.
    pub fn parse(notes: &'a [u8]) -> Result<Self, ManifestError> {
        let mut rest = notes;
        let mut found = None;
        while !rest.is_empty() {
            let (note, after) = Raw::split(rest).ok_or(ManifestError::Truncated)?;
            rest = after;
            if note.owner != OWNER {
                continue;
            }
            if note.kind != TYPE {
                return Err(ManifestError::UnknownType(note.kind));
            }
            if found.is_some() {
                return Err(ManifestError::Twice);
            }
            found = Some(Self::description(note.description)?);
        }
        found.ok_or(ManifestError::Missing)
    }

    fn description(description: &'a [u8]) -> Result<Self, ManifestError> {
        let (&version, rest) = description.split_first().ok_or(ManifestError::Truncated)?;
        if version != VERSION {
            return Err(ManifestError::UnknownVersion(version));
        }
        let (&count, devices) = rest.split_first().ok_or(ManifestError::Truncated)?;
        let count = usize::from(count);
        if count > MAX_DEVICES {
            return Err(ManifestError::TooManyDevices(count));
        }
        let mut rest = devices;
        for number in 0..count {
            let (device, after) = next(rest, number)?;
            rest = after;
            // At most 63 names: comparing each with all before it needs no memory.
            if (Devices {
                left: number,
                rest: devices,
            })
            .any(|d| d.name == device.name)
            {
                return Err(ManifestError::DuplicateName(number));
            }
        }
        if !rest.is_empty() {
            return Err(ManifestError::Trailing(rest.len()));
        }
        Ok(Self { count, devices })
    }

    /// The devices in the order of their numbers.
    pub fn devices(&self) -> Devices<'a> {
        Devices {
            left: self.count,
            rest: self.devices,
        }
    }
}

/// The devices of a [`Manifest`], in the order of their numbers.
#[derive(Debug, Clone)]
pub struct Devices<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for Devices<'a> {
    type Item = Device<'a>;

    fn next(&mut self) -> Option<Device<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (device, after) = next(self.rest, 0).ok()?;
        self.rest = after;
        Some(device)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Devices<'_> {}

/// The device at the head of `bytes`, and what follows it.
fn next(bytes: &[u8], number: usize) -> Result<(Device<'_>, &[u8]), ManifestError> {
    let [kind, len, rest @ ..] = bytes else {
        return Err(ManifestError::Truncated);
    };
    let kind = Kind::from_code(*kind).ok_or(ManifestError::UnknownKind {
        device: number,
        kind: *kind,
    })?;
    let (name, rest) = rest
        .split_at_checked(usize::from(*len))
        .ok_or(ManifestError::Truncated)?;
    if !Device::is_name(name) {
        return Err(ManifestError::BadName(number));
    }
    let name = core::str::from_utf8(name).map_err(|_| ManifestError::BadName(number))?;
    Ok((Device { kind, name }, rest))
}

/// One ELF note.
struct Raw<'a> {
    owner: &'a [u8],
    kind: u32,
    description: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The note at the head of `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (owner_len, rest) = bytes.split_first_chunk()?;
        let (description_len, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (owner, rest) = padded(rest, u32::from_le_bytes(*owner_len))?;
        let (description, rest) = padded(rest, u32::from_le_bytes(*description_len))?;
        Some((
            Self {
                owner,
                kind: u32::from_le_bytes(*kind),
                description,
            },
            rest,
        ))
    }
}

/// `len` bytes, and what follows their padding to a multiple of four, which must be zeros.
fn padded(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let (field, rest) = bytes.split_at_checked(len)?;
    let (padding, rest) = rest.split_at_checked(len.checked_next_multiple_of(4)? - len)?;
    padding
        .iter()
        .all(|&byte| byte == 0)
        .then_some((field, rest))
}

/// What is wrong with an image's note. Devices are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// There is no note of ours.
    Missing,
    /// There is more than one.
    Twice,
    /// A note ends before its lengths say, or its padding is not zero.
    Truncated,
    /// The note is of a type that is not known.
    UnknownType(u32),
    /// The description is of a version that is not known.
    UnknownVersion(u8),
    /// It says that there are more than 63 devices.
    TooManyDevices(usize),
    /// A device is of a kind that is not known.
    UnknownKind {
        /// The device.
        device: usize,
        /// Its kind's number.
        kind: u8,
    },
    /// A device's name is empty, too long, or has letters that a name may not have.
    BadName(usize),
    /// A device has the name of one before it.
    DuplicateName(usize),
    /// This many bytes follow the last device.
    Trailing(usize),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no manifest: not an image that `mirage build` made"),
            Self::Twice => f.write_str("corrupt manifest: there are two of them"),
            Self::Truncated => f.write_str("corrupt manifest: it is cut short"),
            Self::UnknownType(_) | Self::UnknownVersion(_) => f.write_str(
                "the manifest is of a newer kind: start the image with the `mirage` that built it",
            ),
            Self::TooManyDevices(count) => {
                write!(
                    f,
                    "corrupt manifest: {count} devices, at most {MAX_DEVICES} are possible"
                )
            }
            Self::UnknownKind { device, kind } => {
                write!(
                    f,
                    "corrupt manifest: device {device} is of the unknown kind {kind}"
                )
            }
            Self::BadName(device) => {
                write!(
                    f,
                    "corrupt manifest: the name of device {device} is not a name"
                )
            }
            Self::DuplicateName(device) => {
                write!(
                    f,
                    "corrupt manifest: device {device} has another device's name"
                )
            }
            Self::Trailing(len) => {
                write!(f, "corrupt manifest: {len} bytes follow its last device")
            }
        }
    }
}

impl core::error::Error for ManifestError {}

#[cfg(test)]
mod tests;

use core::ffi::{CStr, c_char};
use core::fmt;

use mirage_manifest::{Device, Kind};

/// The auxiliary value that says where the vDSO lies.
const SYSINFO_EHDR: usize = 33;

/// What the kernel laid on the stack of a new process: arguments, environment, auxiliary values.
///
/// See the System V ABI for x86-64, §3.4.1, "Initial Stack and Register State".
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// A list of strings that ends with null.
    arguments: *const *const c_char,
    environment: *const *const c_char,
    /// Pairs of words, the last of which starts with 0.
    auxiliary: *const [usize; 2],
}

impl Start {
    /// Reads the stack that `stack` points to. Returns at once.
    ///
    /// # Safety
    ///
    /// `stack` is the stack pointer's value at the entry of the process, and what lies above it
    /// is as the kernel laid it, now and ever after.
    pub unsafe fn new(stack: *const usize) -> Self {
        // SAFETY: the count of the arguments, the arguments, null, the environment, null, the
        // auxiliary values lie there one after the other.
        unsafe {
            let arguments = stack.add(1).cast();
            let environment: *const *const c_char = stack.add(*stack + 2).cast();
            let mut end = environment;
            while !(*end).is_null() {
                end = end.add(1);
            }
            Self {
                arguments,
                environment,
                auxiliary: end.add(1).cast(),
            }
        }
    }

    /// The words of the command line, the image's name first.
    pub fn arguments(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        Strings(self.arguments)
    }

    /// The bytes of heap that the image may map.
    pub fn memory(&self) -> Result<usize, StartError> {
        let text = self
            .variable(b"MIRAGE_MEMORY")
            .ok_or(StartError::NoTender)?;
        let len = str::from_utf8(text).ok().and_then(number);
        len.ok_or(StartError::Memory)
    }

    /// Whether a debugger watches, and tells what becomes of the image.
    pub fn watched(&self) -> bool {
        self.variable(b"MIRAGE_WATCHED").is_some()
    }

    /// The tender's line for device `number`, without the name.
    pub(crate) fn device(&self, number: usize) -> Option<&'static [u8]> {
        Strings(self.environment).find_map(|variable| {
            let rest = variable.strip_prefix(b"MIRAGE_DEVICE_")?;
            let equals = rest.iter().position(|&byte| byte == b'=')?;
            let (name, line) = rest.split_at(equals);
            if self::number(str::from_utf8(name).ok()?)? == number {
                line.strip_prefix(b"=")
            } else {
                None
            }
        })
    }

    /// Where the vDSO lies; 0 where there is none.
    pub(crate) fn vdso(&self) -> usize {
        let mut pair = self.auxiliary;
        loop {
            // SAFETY: a pair that starts with 0 ends the list.
            let [key, value] = unsafe { *pair };
            match key {
                0 => return 0,
                SYSINFO_EHDR => return value,
                // SAFETY: this was not the last pair.
                _ => pair = unsafe { pair.add(1) },
            }
        }
    }

    pub(crate) fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        Strings(self.environment)
            .find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
    }
}

/// A number of the tender's.
#[inline(never)]
pub(crate) fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}

/// The strings of a list that ends with null.
struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: `Start` is made of the kernel's lists, which end with null, of strings, which
        // end with zero, and all of that stays.
        unsafe {
            let string = *self.0;
            if string.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(string).to_bytes())
        }
    }
}

/// Why an image does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// It was not started by a tender.
    NoTender,
    /// The tender's `MIRAGE_MEMORY` is not a number.
    Memory,
    /// The host does not give the memory: this many bytes.
    Map(usize),
    /// The tender attached no such device.
    Missing(Device<'static>),
    /// The tender's line of a device is not understood.
    Line(Device<'static>),
    /// The tender attached more devices than there are: this many are right.
    Extra(usize),
    /// The tender's line for this shared memory is not understood.
    Shared(&'static str),
    /// The host does not map this shared memory.
    MapShared(&'static str),
    /// The recording begins with a checkpoint that is none of this image.
    Checkpoint,
    /// This argument is not UTF-8.
    NotText(usize),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTender => f.write_str("an image does not start by itself"),
            Self::Memory => f.write_str("the tender's MIRAGE_MEMORY is not a number of bytes"),
            Self::Map(len) => write!(f, "the host does not give {len} bytes of memory"),
            Self::Missing(Device { kind, name }) => {
                write!(f, "{kind} device `{name}` is not attached")
            }
            Self::Line(Device { kind, name }) => {
                write!(
                    f,
                    "the tender's line for {kind} device `{name}` is not understood"
                )
            }
            Self::Extra(count) => {
                write!(
                    f,
                    "the tender attached more than the {count} devices of the image"
                )
            }
            Self::Shared(name) => write!(f, "the tender's {name} is not understood"),
            Self::MapShared(name) => write!(f, "the host does not map what {name} shares"),
            Self::Checkpoint => {
                f.write_str("the recording's checkpoint is none of this image: its file is damaged")
            }
            Self::NotText(at) => write!(f, "argument {at} is not UTF-8"),
        }
    }
}

impl core::error::Error for StartError {}

/// The command line that starts an image with these devices.
#[derive(Debug, Clone, Copy)]
pub struct Usage<'a> {
    /// The image's name.
    pub image: &'a str,
    /// Its devices.
    pub devices: &'a [Device<'a>],
}

impl fmt::Display for Usage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mirage-tender-process")?;
        for Device { kind, name } in self.devices {
            match kind {
                Kind::Net => write!(f, " --net {name}=tap:INTERFACE")?,
                _ => write!(f, " --{kind} {name}=FILE")?,
            }
        }
        write!(f, " {} [KEY=VALUE]...", self.image)
    }
}

use core::fmt;
use core::time::Duration;

use mirage_device::platform::{DeviceId, DeviceKind};
use mirage_device::{EntropyError, Platform};

use crate::Runtime;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<P>(Runtime<P>);

        impl<P> $name<P> {
            /// A handle on this runtime's platform. Returns at once.
            pub fn new(runtime: Runtime<P>) -> Self {
                Self(runtime)
            }
        }

        impl<P> Clone for $name<P> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }
    };
}

handle! {
    /// The platform's console.
    Console
}

impl<P: Platform> mirage_device::Console for Console<P> {
    fn write(&self, bytes: &[u8]) {
        self.0.platform().console(bytes);
    }
}

handle! {
    /// The platform's source of random bytes.
    Entropy
}

impl<P: Platform> mirage_device::Entropy for Entropy<P> {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.0.platform().entropy(buffer)
    }
}

handle! {
    /// The platform's wall clock.
    Wall
}

impl<P: Platform> mirage_device::Wall for Wall<P> {
    fn wall(&self) -> Option<Duration> {
        self.0.platform().wall()
    }
}

/// The unikernel asks for a device that whoever started it did not give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingDevice {
    name: &'static str,
    kind: &'static str,
}

impl fmt::Display for MissingDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no {} device named `{}` was given at the start",
            self.kind, self.name
        )
    }
}

impl core::error::Error for MissingDevice {}

pub(crate) fn find<P: Platform>(
    runtime: &Runtime<P>,
    name: &'static str,
    kind: DeviceKind,
) -> Result<DeviceId, MissingDevice> {
    let wanted =
        |entry: mirage_device::platform::DeviceEntry<'_>| entry.name == name && entry.kind == kind;
    match runtime.platform().devices().position(wanted) {
        Some(index) => Ok(DeviceId(index as u8)),
        None => {
            let kind = if kind == DeviceKind::Net {
                "network"
            } else {
                "block"
            };
            Err(MissingDevice { name, kind })
        }
    }
}

use alloc::string::{String, ToString};
use core::fmt;

/// Why a unikernel ended before its time: a device could not be made, or its main function
/// returned an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    device: Option<&'static str>,
    message: String,
}

impl Failure {
    #[inline(never)]
    pub(crate) fn new(device: Option<&'static str>, error: &dyn fmt::Display) -> Self {
        Self {
            device,
            message: error.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(device) => write!(f, "device `{device}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl core::error::Error for Failure {}

/// What a main function may give back.
pub trait Outcome {
    /// The same as a result.
    fn into_result(self) -> Result<(), Failure>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(|error| Failure::new(None, &error))
    }
}

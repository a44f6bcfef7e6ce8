use core::fmt;

/// Random bytes fit for keys.
pub trait Entropy: Clone + 'static {
    /// Fills `buffer` from the platform's best source.
    ///
    /// Returns at once. Either the whole buffer is filled with bytes fit for cryptography or an
    /// error is returned and the buffer's content is unspecified: there are never weak bytes.
    /// The caller owns the buffer. An error is not final: a source may become ready later.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// Why no random bytes were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntropyError {
    /// The source exists but has not gathered enough yet. Try again later.
    NotReady,
    /// The platform has no source that is fit for keys.
    NoSource,
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "the entropy source is not ready yet; try again later",
            Self::NoSource => "this platform has no entropy source fit for keys",
        })
    }
}

impl core::error::Error for EntropyError {}

use core::time::Duration;

/// Read-only files by name, fixed when the image was built.
pub trait Assets: Clone + 'static {
    /// The file at `path`, for example `css/site.css`.
    ///
    /// Returns at once, in constant time. The same path gives the same file for the whole life
    /// of the unikernel. A path is compared byte for byte: components separated by one `/`, no
    /// leading `/`, no `.` or `..`; any other spelling finds nothing. The device owns the bytes.
    fn get(&self, path: &str) -> Option<Asset<'_>>;

    /// All paths, each once, in byte order. Returns at once. The device owns them.
    fn paths(&self) -> impl Iterator<Item = &str>;
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asset<'a> {
    /// Its bytes as they are.
    pub bytes: &'a [u8],
    /// The same file compressed, where that pays.
    pub encoded: Option<(Encoding, &'a [u8])>,
    /// Its media type (RFC 9110 §8.3.1), for example `text/html; charset=utf-8`.
    pub media_type: &'a str,
    /// A strong validator of the content without the quotes (RFC 9110 §8.8.3).
    pub etag: &'a str,
    /// When the file was last changed, since 1970 UTC, where that is known and reproducible.
    pub modified: Option<Duration>,
}

impl<'a> Asset<'a> {
    /// A file with these bytes, of this media type, with this validator.
    pub const fn new(bytes: &'a [u8], media_type: &'a str, etag: &'a str) -> Self {
        Self {
            bytes,
            encoded: None,
            media_type,
            etag,
            modified: None,
        }
    }

    /// The same file with a compressed variant.
    pub const fn with_encoded(self, encoding: Encoding, bytes: &'a [u8]) -> Self {
        Self {
            encoded: Some((encoding, bytes)),
            ..self
        }
    }
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// `gzip`.
    Gzip,
}

impl Encoding {
    /// The coding's registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
        }
    }
}

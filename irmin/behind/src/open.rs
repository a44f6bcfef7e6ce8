//! Finding a store on a device, or making one.

use alloc::sync::Arc;
use alloc::vec;

use irmin::{BackendError, Format};
use irmin_pack::{MIN_SEGMENT, OnDevice, Pack, Report, segment_size};
use mirage_device::{Block, BlockError};

use crate::driver::Driver;
use crate::image::{Image, PAGE, Shared};
use crate::{Behind, behind};

/// The smallest device that a store is made on, in bytes.
pub const LEAST_SIZE: u64 = 8 * MIN_SEGMENT;
/// Segments that a new store is divided into, as long as they are neither too small nor too large.
const SEGMENTS: u64 = 32;
/// Larger segments make opening slower and save little.
const LARGEST: u64 = 4 << 20;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The format of a store that is made. One that is there keeps its own.
    pub format: Format,
    /// Bytes that may wait to be persisted; beyond them writing objects is refused (`Full`) until
    /// [`Behind::room`] returns.
    pub backlog: usize,
    /// Saves what is whole where the store is damaged, instead of refusing to open it.
    pub repair: bool,
}

impl Default for Options {
    /// The native format, 16 MiB, no repair.
    fn default() -> Options {
        Options {
            format: Format::Native,
            backlog: 16 << 20,
            repair: false,
        }
    }
}

/// A store that was not opened. The device is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The device has too few bytes.
    #[error("the block device has {size} bytes, and a store needs {LEAST_SIZE}; make it larger")]
    TooSmall {
        /// How many it has.
        size: u64,
    },
    /// Its sectors are larger than a page.
    #[error("the block device has sectors of {sector} bytes; at most {PAGE} are supported")]
    Sector {
        /// How large they are.
        sector: u32,
    },
    /// It cannot be written.
    #[error("the block device is read-only; a store needs one that can be written")]
    ReadOnly,
    /// It holds something, and no store.
    #[error(
        "the block device holds something that is no Irmin store, at byte {offset}; give an empty one, or write zeros over it if nothing on it is needed"
    )]
    Foreign {
        /// Where the first byte that is not zero was seen.
        offset: u64,
    },
    /// It could not be read.
    #[error("the block device cannot be read at byte {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: BlockError,
    },
    /// The store on it cannot be opened.
    #[error(transparent)]
    Store(#[from] BackendError),
}

impl Behind {
    /// Opens the store on this device. One is made if all that is looked at is zero.
    ///
    /// Waits for the device: every segment in use is read. When it returns the store is durable as
    /// it is. Dropping the future leaves the device as it was, or with a store that was just made.
    ///
    /// # Errors
    /// [`OpenError`]; nothing on the device was changed. `Store(Corrupt)` where what was durable is
    /// damaged: with [`Options::repair`] what is whole is saved.
    pub async fn open<B: Block>(
        disk: B,
        options: &Options,
    ) -> Result<(Behind, Driver<B>), OpenError> {
        let (behind, driver, _) = Behind::open_reporting(disk, options).await?;
        Ok((behind, driver))
    }

    /// Opens it as [`open`](Behind::open) does, and tells what a repair found; without one nothing.
    ///
    /// # Errors
    /// As [`open`](Behind::open).
    pub async fn open_reporting<B: Block>(
        disk: B,
        options: &Options,
    ) -> Result<(Behind, Driver<B>, Report), OpenError> {
        let info = disk.info();
        if info.sector as usize > PAGE {
            return Err(OpenError::Sector {
                sector: info.sector,
            });
        }
        if info.size < LEAST_SIZE {
            return Err(OpenError::TooSmall { size: info.size });
        }
        if !info.writable {
            return Err(OpenError::ReadOnly);
        }
        let found = find(&disk, info.size).await?;
        let segment = found.unwrap_or(fitting(info.size));
        let image = Arc::new(Image::new(info.size, info.sector as usize));
        if found.is_some() {
            load(&disk, &image, info.size, segment).await?;
        }
        let storage = OnDevice::new(Shared(image.clone()), segment);
        let (pack, report) = match found {
            None => (
                Pack::create_with(storage, options.format, segment)?,
                Report::default(),
            ),
            Some(_) if options.repair => Pack::repair(storage)?,
            Some(_) => (Pack::open(storage)?, Report::default()),
        };
        let mut driver = Driver::new(disk, image.clone());
        driver.catch_up().await?;
        let slots = (info.size / segment) as u32;
        let parts = behind::Parts {
            slots,
            segment,
            backlog: options.backlog,
        };
        Ok((Behind::new(pack, image, parts), driver, report))
    }
}

/// How large the segments of a new store are.
fn fitting(size: u64) -> u64 {
    let even = size / SEGMENTS / MIN_SEGMENT * MIN_SEGMENT;
    even.clamp(MIN_SEGMENT, LARGEST)
}

/// The size of the segments of the store that is there; `None` if all is zero wherever a segment
/// could begin.
async fn find(disk: &impl Block, size: u64) -> Result<Option<u64>, OpenError> {
    let mut foreign = None;
    let mut page = vec![0; PAGE];
    // Where a store of this size has its segments, then, if it was made for another, everywhere.
    for step in [fitting(size), MIN_SEGMENT] {
        for offset in (0..size - PAGE as u64).step_by(step as usize) {
            read(disk, offset, &mut page).await?;
            if let Some(segment) = segment_size(&page)
                && offset.is_multiple_of(segment)
                && segment <= size
            {
                return Ok(Some(segment));
            }
            if foreign.is_none() && page.iter().any(|&byte| byte != 0) {
                foreign = Some(offset);
            }
        }
    }
    match foreign {
        Some(offset) => Err(OpenError::Foreign { offset }),
        None => Ok(None),
    }
}

/// Brings every segment in use to memory.
async fn load(disk: &impl Block, image: &Image, size: u64, segment: u64) -> Result<(), OpenError> {
    let mut bytes = vec![0; segment as usize];
    for slot in 0..size / segment {
        let offset = slot * segment;
        read(disk, offset, &mut bytes[..PAGE]).await?;
        if bytes[..PAGE].iter().all(|&byte| byte == 0) {
            continue;
        }
        read(disk, offset, &mut bytes).await?;
        image.load(offset, &bytes);
    }
    Ok(())
}

async fn read(disk: &impl Block, offset: u64, into: &mut [u8]) -> Result<(), OpenError> {
    let read = disk.read(offset, &mut [into]).await;
    read.map_err(|source| OpenError::Read { offset, source })
}

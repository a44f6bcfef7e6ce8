//! Taking in a pack that comes on bands, or bare.

use std::io::Read;

use irmin_packfile::{Limits, PackError, PackStore, TakeOptions, Taken};

use super::{Progress, Reporter};
use crate::error::{SyncError, protocol};
use crate::pktline::{Bands, PacketError, Reader};

/// Takes in the pack that comes next on this stream.
pub(super) fn take<R: Read>(
    store: &dyn PackStore,
    reader: &mut Reader<R>,
    bands: bool,
    limits: Limits,
    reporter: &Reporter<'_>,
) -> Result<Taken, SyncError> {
    let mut said = |line: &str| reporter.say(Progress::Remote(line));
    let mut progress = |progress| reporter.say(Progress::Pack(progress));
    let options = TakeOptions {
        limits,
        progress: Some(&mut progress),
    };
    if !bands {
        return store
            .take_pack(reader.get_mut(), options)
            .map_err(SyncError::from);
    }
    let mut bands = Bands::new(reader, &mut said);
    let taken = store.take_pack(&mut bands, options)?;
    // Up to the flush packet: then the server has said that it is done.
    let mut more = [0];
    match bands.read(&mut more) {
        Ok(0) => Ok(taken),
        Ok(_) => protocol("bytes follow the pack"),
        Err(error) => Err(SyncError::from(PackError::Read(error))),
    }
}

impl From<PackError> for SyncError {
    fn from(error: PackError) -> SyncError {
        if let PackError::Read(stream) = error {
            return match stream.downcast::<PacketError>() {
                Ok(packet) => packet.into(),
                Err(stream) => SyncError::Pack(PackError::Read(stream)),
            };
        }
        match error {
            PackError::Write(stream) => SyncError::Send(stream),
            error => SyncError::Pack(error),
        }
    }
}

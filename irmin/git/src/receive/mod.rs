//! Taking in a whole pack, as `git index-pack` does: the pack goes to a file as it comes, and its index
//! is made in one pass, after which the deltas are applied.
//!
//! The first pass inflates all that comes, and a second thread names the whole objects meanwhile. Then
//! every whole object is the root of a tree of deltas, and threads take roots one after the other
//! ([`resolve`]). An object is in memory only as long as deltas on it are to be applied.

mod entries;
mod name;
mod resolve;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use irmin::{Id, Kind};
use irmin_packfile::zlib::{Deflate, Effort};
use irmin_packfile::{Base, Header, PackError, Progress, Reader, Stage, TakeOptions, Taken};

use crate::error::{Result, io};
use crate::file::{Temporary, checksum};
use crate::odb::Odb;
use crate::pack::{Built, Finished};
use entries::Entries;
use name::Namer;

/// Takes the pack in. `None` instead of a pack if there were no objects.
pub(crate) fn take(
    odb: &Odb,
    pack: &mut dyn Read,
    mut options: TakeOptions<'_>,
) -> Result<(Taken, Option<Built>), PackError> {
    let folder = odb.pack_folder();
    let file = Temporary::new(&folder, "tmp_pack_")?;
    let namer = Namer::new(odb)?;
    let failed = Cell::new(None);
    let tee = Tee {
        from: pack,
        to: &file,
        failed: &failed,
    };
    let first = receive(tee, &namer, &mut options);
    let (mut entries, taken) = match (failed.take(), first) {
        (Some(error), _) => return Err(io("write", file.path())(error).into()),
        (None, result) => result?,
    };
    if taken.objects == 0 {
        return Ok((taken, None));
    }
    let mut length = taken.bytes;
    let mut sum = taken.sum;
    let id_len = odb.format().id_len() as u64;
    resolve::resolve(
        &mut entries,
        0,
        &file,
        length - id_len,
        &namer,
        &mut options,
    )?;
    let thin = resolve::bases(&entries);
    if !thin.is_empty() {
        // A thin pack: its bases are added to it, and the deltas on them applied.
        let first = entries.len() as u32;
        length = complete(odb, &file, &mut entries, &thin, length - id_len)?;
        resolve::resolve(&mut entries, first, &file, length, &namer, &mut options)?;
        sum = seal(odb, &file, entries.len() as u32, &mut length)?;
    }
    if let Some((base, count)) = entries.missing() {
        return Err(PackError::MissingBase { base, count });
    }
    file.cut(length)?;
    let finished = Finished::new(&folder, file, entries.into_places(), sum, odb.format())?;
    Ok((taken, Some(finished.place(true)?)))
}

/// Bytes of objects that go to the other thread at once.
const BATCH: usize = 512 << 10;
/// So many batches wait there.
const QUEUE: usize = 8;
/// With fewer entries no thread is started.
const FEW: u32 = 200;

/// Whole objects, with the numbers of their entries.
type Batch = Vec<(u32, Kind, Vec<u8>)>;
type Named = Result<Vec<(u32, Id)>, PackError>;

/// Reads the pack to its end and names what is whole.
fn receive(
    source: impl Read,
    namer: &Namer,
    options: &mut TakeOptions<'_>,
) -> Result<(Entries, Taken), PackError> {
    let mut reader = Reader::new(source, namer.format(), options.limits)?;
    let mut entries = Entries::new();
    let threads = usize::from(reader.count() >= FEW);
    let named = thread::scope(|scope| {
        let (send, receive) = sync_channel(QUEUE);
        let other = (threads > 0).then(|| scope.spawn(|| name_all(namer, receive)));
        let mut send = other.is_some().then_some(send);
        let own = read_all(&mut reader, &mut entries, &mut send, namer, options);
        drop(send);
        let other = other.map(|other| other.join().expect("it does not panic"));
        // An error of the other thread ends this one's sending, and is the cause then.
        let other = other.transpose()?;
        let mut named = own?;
        named.extend(other.unwrap_or_default());
        Ok::<_, PackError>(named)
    })?;
    for (at, id) in named {
        entries.set(at, id);
    }
    entries.link();
    let (objects, deltas) = (reader.count(), entries.deltas());
    let (sum, bytes) = reader.finish()?;
    Ok((
        entries,
        Taken {
            objects,
            deltas,
            bytes,
            sum,
        },
    ))
}

fn name_all(namer: &Namer, batches: Receiver<Batch>) -> Named {
    let mut named = Vec::new();
    for (at, kind, data) in batches.into_iter().flatten() {
        named.push((at, namer.name(kind, &data)?));
    }
    Ok(named)
}

fn read_all<R: Read>(
    reader: &mut Reader<R>,
    entries: &mut Entries,
    send: &mut Option<SyncSender<Batch>>,
    namer: &Namer,
    options: &mut TakeOptions<'_>,
) -> Named {
    let (mut data, mut named) = (Vec::new(), Vec::new());
    let (mut batch, mut size) = (Batch::new(), 0);
    while let Some(entry) = reader.next(&mut data)? {
        let at = entries.push(&entry)?;
        if let Base::Whole(kind) = entry.base {
            if send.is_none() || data.len() > BATCH {
                named.push((at, namer.name(kind, &data)?));
            } else {
                size += data.len() + 64;
                batch.push((at, kind, std::mem::take(&mut data)));
            }
        }
        if size > BATCH {
            size = 0;
            if let Some(to) = send
                && to.send(std::mem::take(&mut batch)).is_err()
            {
                // It failed, and says why.
                return Ok(named);
            }
        }
        if let Some(progress) = &mut options.progress
            && (at % 256 == 255 || at + 1 == reader.count())
        {
            progress(Progress {
                stage: Stage::Entries,
                done: u64::from(at) + 1,
                all: u64::from(reader.count()),
                bytes: reader.offset(),
            });
        }
    }
    if let Some(to) = send {
        let _ = to.send(batch);
    }
    Ok(named)
}

/// Adds these objects, which the store has, behind what came, where the checksum was. Returns where
/// the pack ends now.
fn complete(
    odb: &Odb,
    file: &Temporary,
    entries: &mut Entries,
    bases: &[Id],
    end: u64,
) -> Result<u64, PackError> {
    let mut deflate = Deflate::new(Effort::Usual);
    let (mut bytes, mut end) = (Vec::new(), end);
    for base in bases {
        let Some((kind, data)) = odb.read(base)? else {
            continue;
        };
        bytes.clear();
        Header::push(Base::Whole(kind), data.len() as u64, end, &mut bytes);
        deflate.push(&data, &mut bytes);
        file.put_at(&bytes, end)?;
        entries.add(end, crc32fast::hash(&bytes), *base)?;
        end += bytes.len() as u64;
    }
    Ok(end)
}

/// Writes the number of objects and the checksum anew, as `length` will be without the latter.
fn seal(odb: &Odb, file: &Temporary, count: u32, length: &mut u64) -> Result<Id> {
    file.put_at(&count.to_be_bytes(), 8)?;
    let sum = checksum(file.file(), *length, odb.format()).map_err(io("read", file.path()))?;
    file.put_at(sum.as_bytes(), *length)?;
    *length += sum.as_bytes().len() as u64;
    Ok(sum)
}

/// What is read goes to a file too.
struct Tee<'a> {
    from: &'a mut dyn Read,
    to: &'a Temporary,
    /// Why the file could not be written.
    failed: &'a Cell<Option<io::Error>>,
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(out)?;
        match self.to.file().write_all(&out[..length]) {
            Ok(()) => Ok(length),
            Err(error) => {
                self.failed.set(Some(error));
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

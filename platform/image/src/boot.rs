use alloc::string::String;
use core::future::Future;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicPtr, AtomicU64};

use log::LevelFilter;
use mirage_device::{Instant, Platform};
use mirage_keys::{KeySpec, Keys};
use mirage_manifest::Device;
use mirage_process::{Process, Start, StartError, Usage};
use mirage_record::{Door, is_replay};
use mirage_runtime::{Failure, Runtime};

use crate::tape::Tape;
use crate::text::say;
use crate::{heap, stack};

/// What an image runs on. Which platform it is, is decided here, once: today a process, whose
/// answers may be recorded, or come from a recording.
pub type Image = Door<Process, Tape>;

/// The main function returned an error, or a device could not be made.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// The start was wrong.
const NOT_STARTED: u8 = 125;

/// Runs an image from its start to its end. [`image!`](crate::image) calls it.
pub fn boot<M, F>(
    start: Start,
    devices: &'static [Device<'static>],
    keys: &'static [KeySpec<'static>],
    main: M,
) -> !
where
    M: FnOnce(Runtime<Image>, Keys<'static>) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    match prepare(start) {
        // SAFETY: the stack was mapped now, below the heap.
        Ok((counters, tape)) => unsafe {
            stack::run(move || run(start, counters, tape, devices, keys, main))
        },
        Err(error) => refuse(start, devices, error),
    }
}

/// Takes over the memory that the tender lets an image have, its stack included. A replay that
/// begins with a checkpoint goes on with that from here.
fn prepare(start: Start) -> Result<(Counters, Option<Tape>), StartError> {
    let memory = start.memory()?;
    heap::start(memory).ok_or(StartError::Map(memory))?;
    // Before a checkpoint is taken up, which knows where they lie.
    let counters = start.counters()?;
    // SAFETY: the recording was mapped now, and is the tape's alone.
    let tape = start.record()?.map(|record| unsafe { Tape::new(record) });
    match tape.is_none_or(|tape| tape.resume()) {
        true => Ok((counters, tape)),
        false => Err(StartError::Checkpoint),
    }
}

/// The memory that shows the counters, where somebody looks.
type Counters = Option<&'static [AtomicU64]>;

fn run<M, F>(
    start: Start,
    counters: Counters,
    tape: Option<Tape>,
    devices: &'static [Device<'static>],
    keys: &[KeySpec<'static>],
    main: M,
) -> !
where
    M: FnOnce(Runtime<Image>, Keys<'static>) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let process = match &tape {
        Some(tape) if is_replay(tape) => Process::replaying(start, devices),
        _ => match Process::new(start, devices) {
            Ok(process) => process,
            Err(error) => refuse(start, devices, error),
        },
    };
    let runtime = Runtime::new(Door::new(process.showing(counters), tape));
    DOOR.store(ptr::from_ref(runtime.platform()).cast_mut(), Relaxed);
    // A copy: the words lie elsewhere in every run.
    let words = runtime.platform().arguments();
    let words = words.map(|word| &*String::from(word).leak());
    let keys = match Keys::parse(keys, words) {
        Ok(keys) => keys,
        Err(error) => {
            say(format_args!("error: {error}\n"));
            exit(USAGE)
        }
    };
    let level = keys.log().parse().unwrap_or(LevelFilter::Info);
    mirage_runtime::log::init(console, now, level);
    runtime.watch("heap", &heap::COUNTERS, heap::count);
    runtime.report_counters(keys.counters());
    match runtime.block_on(main(runtime.clone(), keys)) {
        Ok(()) => exit(0),
        Err(failure) => {
            say(format_args!("error: {failure}\n"));
            exit(FAILED)
        }
    }
}

/// The platform, for what has no handle on it: log and panic.
static DOOR: AtomicPtr<Image> = AtomicPtr::new(ptr::null_mut());

fn door() -> Option<&'static Image> {
    // SAFETY: `run` never returns and keeps the runtime, whose platform this is.
    unsafe { DOOR.load(Relaxed).as_ref() }
}

/// Writes to the console.
pub(crate) fn console(bytes: &[u8]) {
    match door() {
        Some(door) => door.console(bytes),
        None => mirage_process::console(bytes),
    }
}

/// Ends the image with this status.
pub(crate) fn exit(status: u8) -> ! {
    match door() {
        Some(door) => door.exit(status),
        None => mirage_process::exit(status),
    }
}

fn now() -> Instant {
    door().map_or(Instant::ZERO, Image::now)
}

/// Says why there is no start, and how to make one.
fn refuse(start: Start, devices: &[Device<'_>], error: StartError) -> ! {
    let image = start
        .arguments()
        .next()
        .and_then(|name| str::from_utf8(name).ok());
    let usage = Usage {
        image: image.unwrap_or("IMAGE"),
        devices,
    };
    say(format_args!("error: {error}\nstart it with: {usage}\n"));
    exit(if matches!(error, StartError::NotText(_)) {
        USAGE
    } else {
        NOT_STARTED
    })
}

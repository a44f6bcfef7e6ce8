use core::future::Future;

use log::LevelFilter;
use mirage_keys::{KeySpec, Keys};
use mirage_manifest::Device;
use mirage_process::{Process, Start, StartError, Usage, console, exit, now};
use mirage_runtime::{Failure, Runtime};

use crate::heap;
use crate::text::say;

/// What an image runs on. Which platform it is, is decided here, once: today a process.
pub type Image = Process;

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
    keys: &[KeySpec<'static>],
    main: M,
) -> !
where
    M: FnOnce(Runtime<Image>, Keys<'static>) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let image = match take_over(start, devices) {
        Ok(image) => image,
        Err(error) => refuse(start, devices, error),
    };
    let keys = match Keys::parse(keys, image.words().iter().copied()) {
        Ok(keys) => keys,
        Err(error) => {
            say(format_args!("error: {error}\n"));
            exit(USAGE)
        }
    };
    let level = keys.log().parse().unwrap_or(LevelFilter::Info);
    mirage_runtime::log::init(console, now, level);
    let runtime = Runtime::new(image);
    match runtime.block_on(main(runtime.clone(), keys)) {
        Ok(()) => exit(0),
        Err(failure) => {
            say(format_args!("error: {failure}\n"));
            exit(FAILED)
        }
    }
}

fn take_over(start: Start, devices: &'static [Device<'static>]) -> Result<Image, StartError> {
    let memory = start.memory()?;
    heap::start(memory).ok_or(StartError::Map(memory))?;
    Process::new(start, devices)
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

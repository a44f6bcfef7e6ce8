//! From the start of the program to its end.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::process::exit;
use std::sync::OnceLock;

use log::LevelFilter;
use mirage_device::Instant;
use mirage_keys::{KeySpec, Keys};
use mirage_manifest::{Device, Kind};
use mirage_runtime::{Failure, Runtime};

use crate::block::BlockFile;
use crate::console;
use crate::host::{Host, Options};
use crate::publish;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const PANIC: i32 = 101;
const NOT_STARTED: i32 = 125;

const PUBLISH: &str = "MIRAGE_PUBLISH";
const COUNTERS: &str = "MIRAGE_COUNTERS";
const BLOCK: &str = "MIRAGE_BLOCK_";

/// Runs a unikernel from its start to its end. [`program!`](crate::program) calls it.
pub fn start<M, F>(devices: &[Device<'_>], keys: &[KeySpec<'static>], main: M) -> !
where
    M: FnOnce(Runtime<Host>, Keys<'static>) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    // A panic ends a unikernel with a status of its own, whatever this program was built to do.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        exit(PANIC);
    }));
    let arguments = arguments().unwrap_or_else(|error| end(USAGE, &error));
    let options = options(devices, env::vars_os(), arguments)
        .unwrap_or_else(|error| end(NOT_STARTED, &error));
    let words = options.arguments.clone();
    let host = Host::new(options).unwrap_or_else(|error| end(NOT_STARTED, &error));
    let keys = Keys::parse(keys, words).unwrap_or_else(|error| end(USAGE, &error));
    let level = keys.log().parse().unwrap_or(LevelFilter::Info);
    mirage_runtime::log::init(console::write, now, level);
    let runtime = Runtime::new(host);
    runtime.report_counters(keys.counters());
    match runtime.block_on(main(runtime.clone(), keys)) {
        Ok(()) => exit(0),
        Err(failure) => end(FAILED, &failure),
    }
}

fn end(status: i32, error: &dyn Display) -> ! {
    console::write(format!("error: {error}\n").as_bytes());
    exit(status)
}

/// The time since the first call: the log shows times since its own start.
fn now() -> Instant {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let nanos = START
        .get_or_init(std::time::Instant::now)
        .elapsed()
        .as_nanos();
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The words of the command line; they live as long as the program.
fn arguments() -> Result<Vec<&'static str>, String> {
    let text = |word: OsString| {
        let text = word.into_string();
        text.map(|text| &*text.leak())
            .map_err(|word| format!("{} is not text", word.display()))
    };
    env::args_os().skip(1).map(text).collect()
}

/// What the environment gives to the devices that are declared: all of them, and no other.
fn options(
    devices: &[Device<'_>],
    environment: impl Iterator<Item = (OsString, OsString)>,
    arguments: Vec<&'static str>,
) -> Result<Options, String> {
    let mut options = Options {
        arguments,
        ..Options::default()
    };
    let mut files = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        if name == PUBLISH {
            let text = value.to_string_lossy();
            options.publish =
                publish::parse_list(&text).map_err(|error| format!("{PUBLISH}: {error}"))?;
        } else if name == COUNTERS {
            options.counters = Some(value.into());
        } else if let Some(device) = name.strip_prefix(BLOCK) {
            files.push(file(device, &value));
        }
    }
    for device in devices {
        let name = device.name;
        match device.kind {
            Kind::Block => match files.iter().position(|file| file.name == name) {
                Some(place) => options.blocks.push(files.swap_remove(place)),
                None => {
                    return Err(format!(
                        "device `{name}`: no file is given; set {BLOCK}{name}=FILE"
                    ));
                }
            },
            kind => {
                return Err(format!(
                    "device `{name}`: a program has no {} devices; start it as an image",
                    kind.name()
                ));
            }
        }
    }
    match files.first() {
        Some(file) => Err(format!(
            "device `{name}` is given and not declared; unset {BLOCK}{name}",
            name = file.name
        )),
        None => Ok(options),
    }
}

/// `FILE` or `FILE,ro`.
fn file(name: &str, value: &OsStr) -> BlockFile {
    use std::os::unix::ffi::OsStrExt;
    let bytes = value.as_bytes();
    let (path, read_only) = match bytes.strip_suffix(b",ro") {
        Some(path) => (path, true),
        None => (bytes, false),
    };
    BlockFile {
        name: name.to_owned(),
        path: OsStr::from_bytes(path).into(),
        read_only,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(devices: &[Device<'_>], environment: &[(&str, &str)]) -> Result<Options, String> {
        let environment = environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        options(devices, environment, Vec::new())
    }

    #[test]
    fn every_device_declared_is_given_and_none_else() {
        let disk = [Device::new(Kind::Block, "disk")];
        let options = given(&disk, &[("MIRAGE_BLOCK_disk", "/a,b,ro"), ("PATH", "/bin")]).unwrap();
        let expected = BlockFile {
            name: "disk".into(),
            path: "/a,b".into(),
            read_only: true,
        };
        assert_eq!(options.blocks, [expected]);
        assert_eq!(
            given(&disk, &[]).unwrap_err(),
            "device `disk`: no file is given; set MIRAGE_BLOCK_disk=FILE"
        );
        assert_eq!(
            given(&[], &[("MIRAGE_BLOCK_disk", "/a")]).unwrap_err(),
            "device `disk` is given and not declared; unset MIRAGE_BLOCK_disk"
        );
        let net = [Device::new(Kind::Net, "net")];
        assert!(
            given(&net, &[])
                .unwrap_err()
                .contains("a program has no net devices")
        );
    }

    #[test]
    fn a_bad_list_of_ports_names_the_variable() {
        let error = given(&[], &[("MIRAGE_PUBLISH", "80")]).unwrap_err();
        assert!(error.starts_with("MIRAGE_PUBLISH: `80` is not"), "{error}");
    }
}

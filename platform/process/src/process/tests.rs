extern crate std;

use std::boxed::Box;
use std::ffi::CString;
use std::format;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use mirage_manifest::Kind;

use super::*;
use crate::start::Usage;

const DEVICES: &[Device<'static>] = &[
    Device::new(Kind::Net, "net"),
    Device::new(Kind::Block, "disk"),
];
const NET: &str = "MIRAGE_DEVICE_0=net,mac=02:00:00:aa:bb:cc,mtu=1500,offload=0";
const DISK: &str = "MIRAGE_DEVICE_1=block,size=4096,sector=512,writable=0,discard=0";

/// A stack as the kernel lays it.
pub(crate) fn stack(arguments: &[&[u8]], environment: &[&str], auxiliary: &[[usize; 2]]) -> Start {
    let mut words = vec![arguments.len()];
    let strings = |list: &[&[u8]]| -> Vec<usize> {
        let strings = list
            .iter()
            .map(|text| CString::new(*text).unwrap().into_raw() as usize);
        strings.chain([0]).collect()
    };
    words.extend(strings(arguments));
    let environment: Vec<&[u8]> = environment.iter().map(|text| text.as_bytes()).collect();
    words.extend(strings(&environment));
    words.extend(auxiliary.iter().flatten());
    words.extend([0, 0]);
    // SAFETY: the words are as the kernel lays them and are never freed.
    unsafe { Start::new(Box::leak(words.into_boxed_slice()).as_ptr()) }
}

fn start(arguments: &[&[u8]], environment: &[&str]) -> Result<Process, StartError> {
    Process::new(stack(arguments, environment, &[]), DEVICES)
}

#[test]
fn what_the_tender_prepared_is_taken_over() {
    let process = start(&[b"image", b"port=80", b"name=x"], &["HOME=/", DISK, NET]).unwrap();
    assert!(process.arguments().eq(["port=80", "name=x"]));
    let devices: Vec<_> = process.devices().collect();
    assert_eq!(
        devices,
        [
            DeviceEntry {
                name: "net",
                kind: DeviceKind::Net
            },
            DeviceEntry {
                name: "disk",
                kind: DeviceKind::Block
            },
        ]
    );
    assert_eq!(process.net_info(DeviceId(0)).mtu, 1500);
    assert_eq!(process.block_info(DeviceId(1)).size, 4096);
}

#[test]
fn a_start_without_a_tender_is_told_from_one_that_is_wrong() {
    let memory = |environment: &[&str]| stack(&[b"image"], environment, &[]).memory();
    assert_eq!(memory(&[]), Err(StartError::NoTender));
    assert_eq!(memory(&["MIRAGE_MEMORYX=1"]), Err(StartError::NoTender));
    assert_eq!(memory(&["MIRAGE_MEMORY=lots"]), Err(StartError::Memory));
    assert_eq!(memory(&["MIRAGE_MEMORY=-1"]), Err(StartError::Memory));
    assert_eq!(memory(&["A=B", "MIRAGE_MEMORY=33554432"]), Ok(33_554_432));
}

#[test]
fn devices_missing_extra_or_garbled_stop_the_start() {
    let error = |environment: &[&str]| start(&[b"image"], environment).err().unwrap();
    assert_eq!(error(&[]), StartError::Missing(DEVICES[0]));
    assert_eq!(error(&[NET]), StartError::Missing(DEVICES[1]));
    assert_eq!(
        error(&["MIRAGE_DEVICE_0=net", DISK]),
        StartError::Line(DEVICES[0])
    );
    let swapped = [
        "MIRAGE_DEVICE_0=block,size=0,sector=512,writable=0,discard=0",
        DISK,
    ];
    assert_eq!(error(&swapped), StartError::Line(DEVICES[0]));
    assert_eq!(
        error(&[NET, DISK, "MIRAGE_DEVICE_2=net"]),
        StartError::Extra(2)
    );
    assert_eq!(
        error(&swapped).to_string(),
        "the tender's line for net device `net` is not understood"
    );
}

#[test]
fn an_argument_that_is_not_text_stops_the_start() {
    let error = start(&[b"image", b"a=b", b"\xff"], &[NET, DISK]).err();
    assert_eq!(error, Some(StartError::NotText(2)));
}

#[test]
fn an_empty_command_line_is_one_without_keys() {
    let process = start(&[], &[NET, DISK]).unwrap();
    assert_eq!(process.arguments().count(), 0);
}

#[test]
fn the_vdso_is_found_among_the_auxiliary_values() {
    assert_eq!(
        stack(&[b"a"], &["B=C"], &[[6, 4096], [33, 0x7000], [7, 1]]).vdso(),
        0x7000
    );
    assert_eq!(stack(&[], &[], &[[6, 4096]]).vdso(), 0);
}

#[test]
fn the_usage_names_every_device() {
    let usage = Usage {
        image: "./image",
        devices: DEVICES,
    };
    assert_eq!(
        format!("{usage}"),
        "mirage-tender-process --net net=tap:INTERFACE --block disk=FILE ./image [KEY=VALUE]..."
    );
}

#[test]
fn random_bytes_are_given_whole_and_are_not_the_same_twice() {
    let process = start(&[], &[NET, DISK]).unwrap();
    let (mut a, mut b) = ([0; 1000], [0; 1000]);
    process.entropy(&mut a).unwrap();
    process.entropy(&mut b).unwrap();
    assert_ne!(a, b);
    assert!(a[900..].iter().any(|&byte| byte != 0));
    assert_eq!(process.entropy(&mut []), Ok(()));
}

//! Files that are no images, or no longer.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use mirage_manifest::{Kind, Manifest, ManifestError};
use mirage_tender_process::elf::{Elf, HEAD};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::probe::{
    PROBE, image, image_of, note, output, program_header, raw_note, refused, text, with_note,
};

#[track_caller]
fn refuses(bytes: &[u8], message: &str) {
    refused(&image_of(bytes).run(&[], &[]), message);
}

#[test]
fn foreign_files_are_told_apart() {
    refuses(b"", "not an ELF file");
    refuses(b"#!/bin/sh\nexit 0\n", "not an ELF file");
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    refuses(&own, "needs a dynamic loader");
    let tender = std::fs::read(crate::probe::TENDER).unwrap();
    refuses(&tender, "outside an image's addresses");
    let mut arm = PROBE.clone();
    arm[18] = 183;
    refuses(&arm, "another machine");
    let mut writable = PROBE.clone();
    writable[64 + 4] = 7;
    refuses(&writable, "segment 0 is both writable and executable");
}

#[test]
fn an_image_without_a_manifest_is_refused() {
    let mut file = PROBE.clone();
    let entry = program_header(&file, 4);
    file[entry] = 0;
    refuses(&file, "no manifest");
    refuses(&with_note(b""), "no manifest");
    refuses(
        &with_note(b"\x04\0\0\0\0\0\0\0\x01\0\0\0GNU\0"),
        "no manifest",
    );
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let net = note(&[(Kind::Net, "net")]);
    refuses(&with_note(&net[..net.len() - 1]), "cut short");
    refuses(&with_note(&[&net[..], &net].concat()), "two of them");
    refuses(&with_note(&raw_note(&[2, 0])), "newer kind");
    refuses(&with_note(&raw_note(&[1, 64])), "64 devices");
    refuses(&with_note(&raw_note(&[1, 1])), "cut short");
    refuses(&with_note(&raw_note(&[1, 0, 1, 1, b'a'])), "manifest");
    refuses(&with_note(&raw_note(&[1, 1, 9, 1, b'a'])), "unknown kind 9");
    refuses(&with_note(&raw_note(&[1, 1, 1, 1, b'/'])), "manifest");
    refuses(
        &with_note(&raw_note(&[1, 2, 1, 1, b'a', 2, 1, b'a'])),
        "manifest",
    );
    let mut long = note(&[]);
    long[4] = 0xff;
    long[7] = 0xff;
    refuses(&with_note(&long), "cut short");

    // A second one in a segment of its own.
    let mut file = with_note(&note(&[]));
    let stack = program_header(&file, 0x51);
    let note = program_header(&file, 4);
    file.copy_within(note..note + 56, stack);
    refuses(&file, "executable stack");
    let data = 64 + 56;
    let mut file = with_note(&raw_note(&[1, 0]));
    file.copy_within(note..note + 56, data);
    refuses(&file, "two of them");
}

#[test]
fn an_image_that_may_not_be_executed_is_named() {
    let image = image(&[]);
    std::fs::set_permissions(&image.path, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&image.run(&[], &[]), "chmod a+rx");
}

#[test]
fn an_image_that_somebody_is_writing_to_is_refused() {
    let image = image(&[]);
    let writer = std::fs::OpenOptions::new().append(true).open(&image.path);
    let output = image.run(&[], &[]);
    drop(writer.unwrap());
    refused(&output, "open for writing");
}

#[test]
fn an_image_cut_at_any_byte_of_its_headers_is_refused() {
    let file = &*PROBE;
    let end = 64 + 56 * usize::from(file[56]);
    for len in 0..=end {
        let output = image_of(&file[..len]).run(&[], &[]);
        refused(
            &output,
            if len < 4 {
                "not an ELF file"
            } else {
                "cut short"
            },
        );
    }
}

/// What the library says of a file without devices.
fn judge(file: &[u8]) -> Result<(), String> {
    let elf = Elf::check(&file[..file.len().min(HEAD)], file.len() as u64)
        .map_err(|error| error.to_string())?;
    let mut found = Err(ManifestError::Missing);
    for extent in elf.notes() {
        let (start, end) = (
            extent.offset as usize,
            (extent.offset + extent.len) as usize,
        );
        match Manifest::parse(&file[start..end]) {
            Err(ManifestError::Missing) => {}
            Ok(_) if found.is_ok() => found = Err(ManifestError::Twice),
            other => found = other,
        }
    }
    let manifest = found.map_err(|error| error.to_string())?;
    match manifest.devices().next() {
        None => Ok(()),
        Some(device) => Err(format!(
            "declares the {} device {}",
            device.kind, device.name
        )),
    }
}

/// The tender refuses what the library refuses, in its words, and starts the rest.
fn agrees(file: &[u8], output: &Output) -> Result<(), String> {
    let error = text(&output.stderr);
    let fine = match judge(file) {
        Err(message) => output.status.code() == Some(125) && error.contains(&message),
        // What is executed may do anything but return to the tender, unless the kernel finds a
        // fault: then it says so.
        Ok(()) => output.status.code() != Some(125) || error.contains("cannot execute"),
    };
    fine.then_some(())
        .ok_or_else(|| format!("{:?}: {output:?}", judge(file)))
}

#[test]
fn a_file_of_flipped_bits_is_refused_in_words_or_runs() {
    let file = with_note(&note(&[]));
    let headers = 64 + 56 * usize::from(file[56]);
    let last = file.len() - 24;
    let place = prop_oneof![4 => 0..headers, 1 => last..file.len()];
    let flips = prop::collection::vec((place, 0..8u8), 1..6);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let (ran, stopped) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&flips, |flips| {
        let mut file = file.clone();
        for (at, bit) in flips {
            file[at] ^= 1 << bit;
        }
        let image = image_of(&file);
        let output = run_briefly(&image);
        if output.status.code() == Some(125) {
            stopped.set(stopped.get() + 1);
        } else {
            ran.set(ran.get() + 1);
        }
        agrees(&file, &output).map_err(TestCaseError::fail)
    });
    result.unwrap();
    let (ran, stopped) = (ran.get(), stopped.get());
    assert!(
        ran > 10 && stopped > 10,
        "{ran} ran, {stopped} were stopped"
    );
}

/// Runs an image that may have been changed into one that spins: for a second of processor time.
fn run_briefly(image: &crate::probe::Image) -> Output {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -t 1; exec \"$0\" \"$1\""]);
    command.arg(crate::probe::TENDER).arg(&image.path);
    output(&mut command)
}

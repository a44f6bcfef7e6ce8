//! Every wrong command line is told apart and ends with status 125.

use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use mirage_manifest::Kind;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::FdFlags;

use crate::probe::{TENDER, image, output, refused, spawn, text};

#[track_caller]
fn refuses(words: &[&str], message: &str) {
    refused(&output(Command::new(TENDER).args(words)), message);
}

#[test]
fn a_wrong_word_is_named() {
    refuses(&[], "no image is given");
    refuses(&["--memory"], "--memory needs a value");
    refuses(&["--memory", "1", "image"], "--memory 1 is not");
    refuses(&["--verbose", "image"], "unknown option --verbose");
    refuses(&["--net", "net", "image"], "--net net is not of the form");
    refuses(
        &["--block", "disk", "image"],
        "--block disk is not of the form",
    );
    refuses(&["--net", "a=fd:x", "image"], "descriptor x");
    refuses(
        &["--net", "a=fd:9,mac=1", "image"],
        "1 is not the Ethernet address",
    );
    refuses(
        &["--block", "a=f", "--block", "a=g", "image"],
        "device a is given twice",
    );
}

#[test]
fn a_process_without_even_a_name_is_refused() {
    // exec(2) with an empty list: the kernel makes it one empty word.
    use std::os::unix::process::CommandExt;
    refused(&output(Command::new(TENDER).arg0("")), "no image is given");
}

#[test]
fn an_image_that_is_not_there_or_no_file_is_named() {
    refuses(&["/nonexistent/image"], "/nonexistent/image: no such file");
    refuses(&["/"], "/ is not a regular file");
    refuses(&["/dev/null"], "/dev/null is not a regular file");
    refuses(&[""], "no such file");
    refuses(&["fd:77"], "fd:77: no such descriptor");
    refuses(&[&"x/".repeat(4000)], "the name is too long");
    refuses(&["a\x1b[31mb\n"], "a\\u{1b}[31mb\\u{a}: no such file");
}

#[test]
fn devices_given_and_declared_must_be_the_same() {
    let net = image(&[(Kind::Net, "net")]);
    refused(&net.run(&[], &[]), "--net net=tap:INTERFACE");
    refused(&net.run(&["--net", "net0=fd:3"], &[]), "no device net0");
    refused(
        &net.run(&["--block", "net=/dev/null"], &[]),
        "device net is declared as a net",
    );

    let block = image(&[(Kind::Block, "disk")]);
    refused(&block.run(&[], &[]), "--block disk=FILE");
    refused(
        &block.run(&["--net", "disk=fd:3"], &[]),
        "device disk is declared as a block",
    );

    let none = image(&[]);
    refused(&none.run(&["--net", "net=fd:3"], &[]), "no device net");
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let image = image(&[]);
    let shares = |descriptor: &dyn AsRawFd, option: &str| {
        let word = format!("fd:{}", descriptor.as_raw_fd());
        refused(
            &image.run(&[option, &word], &[]),
            &format!("{option}: the descriptor is not"),
        );
    };
    let file = |len| {
        let file = memfd_create("shared", MemfdFlags::empty()).unwrap();
        rustix::fs::ftruncate(&file, len).unwrap();
        file
    };
    shares(&file(0), "--counters");
    shares(&file(4095), "--record");
    shares(&file(4097), "--replay");
    shares(&file((1 << 40) + 4096), "--record");
    let (reader, _writer) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&reader, FdFlags::empty()).unwrap();
    shares(&reader, "--record");
    let path = image.file("readable", 4096);
    let readable = std::fs::File::open(path).unwrap();
    rustix::io::fcntl_setfd(&readable, FdFlags::empty()).unwrap();
    shares(&readable, "--counters");
    refused(
        &image.run(&["--record", "fd:77"], &[]),
        "--record: the descriptor is not",
    );
    refuses(
        &["--record", "file", "image"],
        "--record file is not of the form fd:N",
    );
}

#[test]
fn an_image_that_is_held_starts_at_the_end_of_the_standard_input_and_hears_of_a_watcher() {
    let image = image(&[]);
    for watched in [false, true] {
        let mut command = image.command(&["--hold"], &["boot"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tender = spawn(&mut command);
        let mut input = tender.stdin.take().unwrap();
        if watched {
            input.write_all(&[1]).unwrap();
        }
        drop(input);
        let output = tender.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output.stdout);
        assert_eq!(said.contains("MIRAGE_WATCHED=1"), watched, "{said}");
    }
}

#[test]
fn words_after_the_image_are_its_own() {
    let output = image(&[]).run(&[], &["boot", "--memory"]);
    // The probe does not know the word; the tender did not look at it.
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

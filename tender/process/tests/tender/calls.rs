//! What an image can do, and what ends it.

use std::os::fd::AsRawFd;

use mirage_manifest::Kind;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::probe::{image, text};

#[test]
fn an_image_runs_and_writes_to_its_console() {
    let output = image(&[]).run(&[], &["boot"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        "probe\nboot\nMIRAGE_MEMORY=33554432\n"
    );
}

#[test]
fn its_exit_status_is_its_own() {
    let output = image(&[]).run(&[], &["call=231,42"]);
    assert_eq!(output.status.code(), Some(42), "{output:?}");
}

#[test]
fn every_call_of_the_list_works() {
    let image = image(&[]);
    let calls = [
        "318,B,32,0",               // getrandom
        "228,0,B",                  // clock_gettime, wall
        "228,1,B",                  // and monotonic
        "441,3,B,1,T,0,8",          // epoll_pwait2 for no time
        "9,A,65536,3,1064994,-1,0", // mmap
        "9,A,65536,3,1064994,-1,0", // a second time: EEXIST
        "28,A,65536,4",             // madvise
        "28,17592186048512,4096,4", // the second page of it
        "1,1,B,0",                  // write
        "1,2,327680,1",             // the tender's last words are not the image's: EBADF
    ];
    let results = image.results(&["--memory", "65536"], &calls);
    assert_eq!(results, [32, 0, 0, 0, 1 << 44, -17, 0, 0, 0, -9]);
}

#[test]
fn any_other_system_call_ends_it() {
    let image = image(&[]);
    for (name, call) in [
        ("read", "0,0,B,1"),
        ("open", "2,P,0"),
        ("close", "3,1"),
        ("mprotect", "10,B,4096,5"),
        ("munmap", "11,A,4096"),
        ("brk", "12,0"),
        ("rt_sigaction", "13,11,0,0,8"),
        ("rt_sigreturn", "15"),
        ("ioctl", "16,1,21505,B"),
        ("mremap", "25,A,4096,8192,1"),
        ("dup", "32,1"),
        ("getpid", "39"),
        ("sendfile", "40,1,1,0,1"),
        ("socket", "41,1,1,0"),
        ("sendmsg", "46,3,B,0"),
        ("recvmsg", "47,3,B,0"),
        ("clone", "56,17,0"),
        ("fork", "57"),
        ("vfork", "58"),
        ("execve", "59,P,0,0"),
        ("exit", "60,0"),
        ("kill", "62,1,0"),
        ("fcntl", "72,1,4,2048"),
        ("ptrace", "101,0"),
        ("setuid", "105,0"),
        ("prctl", "157,38,0,0,0,0"),
        ("arch_prctl", "158,4098,0"),
        ("gettid", "186"),
        ("epoll_ctl", "233,3,1,1,B"),
        ("openat", "257,-100,P,0"),
        ("unshare", "272,0"),
        ("perf_event_open", "298,B,0,-1,-1,0"),
        ("process_vm_writev", "311,1,V,1,V,1,0"),
        ("seccomp", "317,0,0,0"),
        ("memfd_create", "319,P,0"),
        ("bpf", "321,0,B,0"),
        ("userfaultfd", "323,0"),
        ("pidfd_getfd", "438,3,1,0"),
        ("io_uring_setup", "425,1,B"),
        ("clone3", "435,B,88"),
        ("openat2", "437,-100,P,B,24"),
        ("process_madvise", "440,3,V,1,4,0"),
        ("a number that is no call", "4000"),
        ("the number -1", "-1"),
    ] {
        println!("{name}");
        image.is_killed(&[], &format!("call={call}"));
    }
}

#[test]
fn a_call_of_another_table_ends_it() {
    let image = image(&[]);
    // exit and write of the 32-bit table; 1 and 231 there are others than here.
    for number in [1, 4, 20, 231] {
        image.is_killed(&[], &format!("int80={number}"));
    }
    // The x32 table: bit 30 is set.
    for call in ["1073741825,1,B,0", "1073742055,0", "1073742142,B,1,0"] {
        image.is_killed(&[], &format!("call={call}"));
    }
}

#[test]
fn an_argument_that_is_not_as_listed_ends_it() {
    let image = image(&[]);
    for (name, call) in [
        ("write to stdin", "1,0,B,1"),
        ("write to stderr", "1,2,B,1"),
        ("write to the epoll instance", "1,3,B,1"),
        ("write to a descriptor that is not open", "1,99,B,1"),
        ("write to 1 in the lower half only", "1,4294967297,B,1"),
        ("writev to the console", "20,1,V,2"),
        ("readv from the console", "19,1,V,2"),
        ("pread64 without a block device", "17,4,B,512,0"),
        ("pwrite64 without a block device", "18,4,B,512,0"),
        ("mmap elsewhere", "9,0,4096,3,34,-1,0"),
        (
            "mmap beside the arena",
            "9,17592186048512,4096,3,1064994,-1,0",
        ),
        ("mmap of more than the memory", "9,A,7405569,3,1064994,-1,0"),
        ("mmap of much more", "9,A,4295032832,3,1064994,-1,0"),
        ("mmap with PROT_EXEC", "9,A,4096,7,1064994,-1,0"),
        ("mmap with PROT_EXEC alone", "9,A,4096,4,1064994,-1,0"),
        ("mmap with MAP_FIXED", "9,A,4096,3,16434,-1,0"),
        ("mmap shared", "9,A,4096,3,1064993,-1,0"),
        ("mmap of a descriptor", "9,A,4096,3,1064994,3,0"),
        ("madvise outside the arena", "28,B,4096,4"),
        ("madvise past the arena", "28,A,7409664,4"),
        ("madvise with another advice", "28,A,4096,8"),
        ("madvise around the end of memory", "28,A,-4096,4"),
        ("epoll_pwait2 on another descriptor", "441,4,B,1,T,0,8"),
        ("epoll_pwait2 on the console", "441,1,B,1,T,0,8"),
        ("epoll_pwait2 with a signal mask", "441,3,B,1,T,B,8"),
        ("getrandom with flags", "318,B,1,1"),
        ("clock_gettime of another clock", "228,2,T"),
        ("execveat of a path", "322,4,P,0,0,4096"),
        ("execveat without the flag", "322,4,B,0,0,0"),
        ("execveat of another descriptor", "322,3,B,0,0,4096"),
    ] {
        println!("{name}");
        image.is_killed(&["--memory", "65536"], &format!("call={call}"));
    }
}

#[test]
fn what_is_shared_is_mapped_in_one_way_and_no_other() {
    let image = image(&[]);
    let file = || {
        let file = memfd_create("shared", MemfdFlags::empty()).unwrap();
        rustix::fs::ftruncate(&file, 8192).unwrap();
        file
    };
    let (counters, record) = (file(), file());
    let options = [
        "--counters".to_string(),
        format!("fd:{}", counters.as_raw_fd()),
        "--record".to_string(),
        format!("fd:{}", record.as_raw_fd()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();

    let output = image.run(&options, &["boot"]);
    let lines = "MIRAGE_COUNTERS=4,8192\nMIRAGE_RECORD=5,8192\n";
    assert!(text(&output.stdout).ends_with(lines), "{output:?}");

    let calls = [
        "9,52776558133248,8192,3,1048577,4,0",
        "9,70368744177664,8192,3,1048577,5,0",
        "318,70368744177664,64,0", // getrandom, into it
    ];
    let results = image.results(&options, &calls);
    assert_eq!(results, [0x3000_0000_0000, 0x4000_0000_0000, 64]);
    let mut bytes = [0; 64];
    rustix::io::pread(&record, &mut bytes, 0).unwrap();
    assert_ne!(bytes, [0; 64], "what the image wrote is in the file");

    for (name, call) in [
        ("elsewhere", "9,52776558137344,8192,3,1048577,4,0"),
        ("anywhere", "9,0,8192,3,1,4,0"),
        (
            "in the other's place",
            "9,70368744177664,8192,3,1048577,4,0",
        ),
        ("in part", "9,52776558133248,4096,3,1048577,4,0"),
        ("past its end", "9,52776558133248,12288,3,1048577,4,0"),
        (
            "not from its start",
            "9,52776558133248,8192,3,1048577,4,4096",
        ),
        ("to be executed", "9,52776558133248,8192,5,1048577,4,0"),
        ("over what is mapped", "9,52776558133248,8192,3,17,4,0"),
        ("to be written to with write", "1,4,B,1"),
        ("to be read with pread64", "17,4,B,1,0"),
        ("cut with ftruncate", "77,4,0"),
    ] {
        println!("{name}");
        image.is_killed(&options, &format!("call={call}"));
    }
}

#[test]
fn an_image_that_repeats_a_recording_has_no_devices() {
    let image = image(&[(Kind::Net, "net"), (Kind::Block, "disk")]);
    let file = memfd_create("recording", MemfdFlags::empty()).unwrap();
    rustix::fs::ftruncate(&file, 4096).unwrap();
    let option = format!("fd:{}", file.as_raw_fd());
    let output = image.run(&["--replay", &option], &["boot"]);
    assert_eq!(
        text(&output.stdout),
        "probe\nboot\nMIRAGE_MEMORY=33554432\nMIRAGE_RECORD=4,4096\n"
    );
}

#[test]
fn a_descriptor_of_one_kind_of_device_takes_no_call_of_the_other() {
    let image = image(&[(Kind::Block, "disk")]);
    let disk = image.file("disk", 4096);
    let option = format!("disk={}", disk.display());
    for call in ["19,4,V,2", "20,4,V,2", "1,4,B,1", "441,4,B,1,T,0,8"] {
        image.is_killed(&["--block", &option], &format!("call={call}"));
    }
}

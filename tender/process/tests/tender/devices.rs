//! Block files and sockets.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use mirage_manifest::Kind;
use mirage_tender_process::mac::Mac;
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::probe::{image, is_root, output, refused, skip, spawn, text};

const SIZE: u64 = 1 << 20;

#[test]
fn the_environment_is_that_of_the_boot_protocol() {
    let image = image(&[
        (Kind::Block, "disk"),
        (Kind::Net, "net"),
        (Kind::Block, "cd"),
    ]);
    let (disk, cd) = (image.file("disk", SIZE), image.file("cd", 512));
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    let options = [
        "--net",
        &format!(
            "net=fd:{},mac=02:00:00:aa:bb:cc,mtu=9000",
            theirs.as_raw_fd()
        ),
        "--block",
        &format!("cd={},ro", cd.display()),
        "--memory",
        "65536",
        "--block",
        &format!("disk={}", disk.display()),
    ];
    // The image prints its own words, of which it knows the first.
    let output = image.run(&options, &["boot"]);
    drop(ours);
    assert_eq!(
        text(&output.stdout),
        "probe\nboot\nMIRAGE_MEMORY=65536\n\
         MIRAGE_DEVICE_0=block,size=1048576,sector=512,writable=1,discard=1\n\
         MIRAGE_DEVICE_1=net,mac=02:00:00:aa:bb:cc,mtu=9000,offload=1\n\
         MIRAGE_DEVICE_2=block,size=512,sector=512,writable=0,discard=0\n"
    );
}

#[test]
fn sixty_three_devices_are_laid_out_in_order() {
    let names: Vec<String> = (0..63).map(|number| format!("disk{number}")).collect();
    let devices: Vec<_> = names
        .iter()
        .map(|name| (Kind::Block, name.as_str()))
        .collect();
    let image = image(&devices);
    let options: Vec<String> = names
        .iter()
        .enumerate()
        .flat_map(|(number, name)| {
            let file = image.file(name, 512 * (number as u64 + 1));
            ["--block".to_string(), format!("{name}={}", file.display())]
        })
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    // The last sector of the first and of the last.
    let results = image.results(&options, &["17,4,B,512,0", "17,66,B,512,31744"]);
    assert_eq!(results, [512, 512]);
    image.is_killed(&options, "call=17,4,B,512,512");
    image.is_killed(&options, "call=17,66,B,512,32256");
    image.is_killed(&options, "call=17,67,B,512,0");
}

#[test]
fn a_block_device_is_reached_to_its_last_byte_and_no_further() {
    let image = image(&[(Kind::Block, "disk")]);
    let disk = image.file("disk", SIZE);
    let option = format!("disk={}", disk.display());
    let option = ["--block", &option];
    let calls = [
        "17,4,B,4096,1044480", // pread64, the last page
        "17,4,B,0,1048576",    // nothing, at the end
        "18,4,B,512,1048064",  // pwrite64, the last sector
        "75,4",                // fdatasync
    ];
    assert_eq!(image.results(&option, &calls), [4096, 0, 512, 0]);
    let content = std::fs::read(&disk).unwrap();
    assert_eq!(content.len() as u64, SIZE);
    assert!(content[..1_048_064].iter().all(|byte| *byte == 0));
    // The probe's buffer: its first page had been read from the file.
    for call in [
        "17,4,B,4097,1044480",
        "17,4,B,1,1048576",
        "17,4,B,1,-1",
        "17,4,B,-1,1",
        "18,4,B,513,1048064",
        "18,4,B,1,1048576",
        "18,4,B,1,9223372036854775807",
        "285,4,3,1044480,4097", // fallocate past the end
        "285,4,0,0,4096",       // other than to discard
        "285,4,1,0,4096",
        "285,4,16,0,4096",
        "74,4", // fsync
        "8,4,0,0",
        "77,4,0",
    ] {
        image.is_killed(&option, &format!("call={call}"));
    }
}

#[test]
fn discarded_bytes_read_as_zero() {
    let image = image(&[(Kind::Block, "disk")]);
    let disk = image.file("disk", SIZE);
    std::fs::write(&disk, vec![1; SIZE as usize]).unwrap();
    let option = format!("disk={}", disk.display());
    let results = image.results(&["--block", &option], &["285,4,3,4096,1044480"]);
    if results == [-95] {
        return skip("discarding", "the file system has no holes");
    }
    assert_eq!(results, [0]);
    let content = std::fs::read(&disk).unwrap();
    assert!(content[..4096].iter().all(|byte| *byte == 1));
    assert!(content[4096..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_read_only_device_is_only_read() {
    let image = image(&[(Kind::Block, "cd"), (Kind::Block, "disk")]);
    let (cd, disk) = (image.file("cd", SIZE), image.file("disk", 512));
    let cd_option = format!("cd={},ro", cd.display());
    let disk_option = format!("disk={}", disk.display());
    let options = ["--block", &cd_option, "--block", &disk_option];
    assert_eq!(
        image.results(&options, &["17,4,B,512,0", "18,5,B,512,0"]),
        [512, 512]
    );
    for call in ["18,4,B,512,0", "75,4", "285,4,3,0,512", "18,5,B,512,512"] {
        image.is_killed(&options, &format!("call={call}"));
    }
}

#[test]
fn a_block_file_that_cannot_be_one_is_named() {
    let image = image(&[(Kind::Block, "disk")]);
    let refuses = |path: &str, message: &str| {
        refused(
            &image.run(&["--block", &format!("disk={path}")], &[]),
            message,
        );
    };
    let path = |name| image.folder.path().join(name).display().to_string();
    image.file("empty", 0);
    refuses(&path("empty"), "has 0 bytes");
    image.file("odd", 513);
    refuses(&path("odd"), "has 513 bytes");
    refuses(&path("missing"), "missing: no such file");
    refuses("/", "/: it is a folder");
    refuses("/,ro", "/ is neither");
    refuses("/dev/null", "/dev/null is neither");
    let fifo = image.folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    refuses(&path("fifo"), "fifo is neither");
    refuses(&format!("{},ro", path("fifo")), "fifo is neither");

    let locked = image.file("locked", 512);
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o400)).unwrap();
    if is_root() {
        skip(
            "a block file without permission",
            "root has every permission",
        );
    } else {
        refuses(&path("locked"), "permission denied");
    }
}

#[test]
fn a_block_file_in_use_is_refused() {
    let image = image(&[(Kind::Block, "disk")]);
    let disk = image.file("disk", 512);
    let (write, read) = (
        format!("disk={}", disk.display()),
        format!("disk={},ro", disk.display()),
    );
    let run = |option: &str| image.run(&["--block", option], &[]);

    // Waits for ever once it has said that it runs.
    let words = ["boot", "call=441,3,B,1,0,0,8"];
    let hold = |option: &str| {
        let mut command = image.command(&["--block", option], &words);
        let mut child = spawn(command.stdout(Stdio::piped()));
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        child
    };
    let mut writer = hold(&write);
    refused(&run(&write), "in use by another unikernel");
    refused(&run(&read), "in use by another unikernel");
    writer.kill().unwrap();
    writer.wait().unwrap();

    let mut reader = hold(&read);
    refused(&run(&write), "in use by another unikernel");
    assert_eq!(run(&read).status.code(), Some(0));
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert_eq!(run(&write).status.code(), Some(0));
}

/// A socket pair whose second end a started program inherits.
fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    let (ours, theirs) = rustix::net::socketpair(family, kind, flags, None).unwrap();
    rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
    (ours, theirs)
}

#[test]
fn frames_cross_a_socket_pair_both_ways() {
    let image = image(&[(Kind::Net, "net")]);
    let (ours, theirs) = pair(SocketType::SEQPACKET);
    let option = format!("net=fd:{}", theirs.as_raw_fd());
    let frame = [&[0; 10][..], b"a frame"].concat();
    rustix::net::send(&ours, &frame, SendFlags::empty()).unwrap();
    let calls = [
        "441,3,B,1,0,0,8", // epoll_pwait2 until there is something
        "19,4,V,2",        // readv
        "19,4,V,2",        // no more: EAGAIN
        "20,4,V,2",        // writev of the whole buffer
    ];
    let results = image.results(&["--net", &option], &calls);
    assert_eq!(results, [1, 17, -11, 2010]);
    let mut back = [0; 4096];
    let (len, _) = rustix::net::recv(&ours, &mut back[..], RecvFlags::empty()).unwrap();
    assert_eq!(len, 2010);
    assert_eq!(back[..17], frame);

    for call in [
        "19,4,V,1",
        "20,4,V,3",
        "20,4,V,4294967298",
        "1,4,B,1",
        "17,4,B,1,0",
    ] {
        image.is_killed(&["--net", &option], &format!("call={call}"));
    }
}

#[test]
fn a_mac_that_is_not_given_is_always_the_same() {
    let image = image(&[(Kind::Net, "net")]);
    let (_ours, theirs) = pair(SocketType::DGRAM);
    let output = image.run(
        &["--net", &format!("net=fd:{}", theirs.as_raw_fd())],
        &["boot"],
    );
    let mac = Mac::derive(&[b"probe", b"net", b""]);
    let line = format!("MIRAGE_DEVICE_0=net,mac={mac},mtu=1500,offload=1\n");
    assert!(text(&output.stdout).contains(&line), "{output:?}");
}

#[test]
fn a_descriptor_that_is_no_socket_of_messages_is_named() {
    let image = image(&[(Kind::Net, "net")]);
    let refuses = |descriptor: i32| {
        let output = image.run(&["--net", &format!("net=fd:{descriptor}")], &[]);
        refused(&output, &format!("descriptor {descriptor} is not open as"));
    };
    refuses(999);
    let (_ours, stream) = pair(SocketType::STREAM);
    refuses(stream.as_raw_fd());
    let file = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&file, FdFlags::empty()).unwrap();
    refuses(file.as_raw_fd());
}

#[test]
fn descriptors_given_where_others_belong_are_moved() {
    // 3 and 4 are where epoll and the first device go; the devices are given crosswise.
    let image = image(&[(Kind::Net, "a"), (Kind::Net, "b")]);
    let (ours_a, a) = pair(SocketType::SEQPACKET);
    let (ours_b, b) = pair(SocketType::SEQPACKET);
    let file = std::fs::File::open(&image.path).unwrap();
    // Out of each other's way, before they are put where the tender is told they are.
    let away = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 100).unwrap();
    let sources = [away(a.as_fd()), away(b.as_fd()), away(file.as_fd())];
    let mut command = Command::new(crate::probe::TENDER);
    command.args(["--net", "b=fd:4", "--net", "a=fd:3", "fd:5"]);
    command.args(["call=20,4,V,2", "call=441,3,B,1,T,0,8"]);
    // SAFETY: between fork and exec the closure makes system calls alone; what it closes by
    // putting another in its place is this child's.
    unsafe {
        command.pre_exec(move || {
            for (place, source) in (3..).zip(&sources) {
                let mut place = ManuallyDrop::new(OwnedFd::from_raw_fd(place));
                rustix::io::dup2(source, &mut place)?;
            }
            Ok(())
        });
    }
    let output = output(&mut command);
    assert_eq!(text(&output.stdout), "2010\n1\n", "{output:?}");
    let mut back = [0; 4096];
    let (len, _) = rustix::net::recv(&ours_a, &mut back[..], RecvFlags::DONTWAIT).unwrap();
    assert_eq!(len, 2010);
    assert!(rustix::net::recv(&ours_b, &mut back[..], RecvFlags::DONTWAIT).is_err());
}

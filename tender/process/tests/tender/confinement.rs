//! What the kernel says of a process that runs an image.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use mirage_manifest::Kind;
use rustix::io::FdFlags;

use crate::probe::{Image, image, is_root, output, skip, spawn};

/// An image that waits until it is dropped.
struct Running(Child);

impl Running {
    fn start(image: &Image, options: &[&str]) -> Self {
        let mut command = image.command(options, &["boot", "call=441,3,B,1,0,0,8"]);
        let mut child = spawn(command.stdout(Stdio::piped()));
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn proc(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.0.id());
        String::from_utf8(std::fs::read(&path).expect(&path)).unwrap()
    }

    fn link(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.0.id());
        let link = std::fs::read_link(&path).expect(&path);
        link.display().to_string()
    }

    fn status(&self, field: &str) -> String {
        let status = self.proc("status");
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        lines
            .find(|(name, _)| *name == field)
            .unwrap()
            .1
            .to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn only_the_descriptors_of_the_boot_protocol_are_open() {
    let image = image(&[(Kind::Block, "disk")]);
    let option = format!("disk={}", image.file("disk", 512).display());
    // One more that the tender inherits.
    let inherited = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    assert!(inherited.as_raw_fd() > 2);
    let running = Running::start(&image, &["--block", &option]);
    let folder = std::fs::read_dir(format!("/proc/{}/fd", running.0.id())).unwrap();
    let mut open: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    open.sort();
    assert_eq!(open, ["1", "3", "4"]);
    assert_eq!(running.link("fd/3"), "anon_inode:[eventpoll]");
    assert!(running.link("fd/4").ends_with("/disk"));
}

#[test]
fn no_privilege_is_left_and_none_can_be_gained() {
    let image = image(&[]);
    let running = Running::start(&image, &[]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(running.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(running.status("NoNewPrivs"), "1");
    // Mode 2: a filter; and it is one.
    assert_eq!(running.status("Seccomp"), "2");
    assert_eq!(running.status("SigBlk"), "0000000000000000");
    assert_eq!(running.status("Threads"), "1");
    if is_root() {
        assert_eq!(running.status("CapBnd"), "0000000000000000");
        assert_eq!(running.status("Groups").trim(), "");
        let own = (0x7000_0000 + running.0.id()).to_string();
        assert_eq!(running.status("Uid"), [own.as_str(); 4].join("\t"));
        assert_eq!(running.status("Gid"), [own.as_str(); 4].join("\t"));
    } else {
        skip("the change of user", "only root can become another user");
    }
}

#[test]
fn limits_are_set() {
    let image = image(&[]);
    let running = Running::start(&image, &["--memory", "65536"]);
    let limits = running.proc("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[0], words[1], "{line}");
        words[0].parse::<u64>().unwrap()
    };
    assert_eq!(limit("Max core file size"), 1);
    assert_eq!(limit("Max processes"), 0);
    assert_eq!(limit("Max open files"), 0);
    assert_eq!(limit("Max locked memory"), 0);
    assert_eq!(limit("Max stack size"), 8 << 20);
    assert!(limit("Max address space") <= 24 << 20);
}

#[test]
fn no_page_is_both_writable_and_executable_and_none_is_the_tenders() {
    let image = image(&[]);
    let running = Running::start(&image, &[]);
    let maps = running.proc("maps");
    assert!(maps.contains("/probe\n"), "{maps}");
    for line in maps.lines() {
        let (extent, rest) = line.split_once(' ').unwrap();
        let start = u64::from_str_radix(extent.split_once('-').unwrap().0, 16).unwrap();
        assert!(start >= 0x10_0000, "{line}");
        assert!(!rest.starts_with("rwx"), "{line}");
    }
    assert!(!maps.contains("mirage-tender"), "{maps}");
}

/// The namespaces that differ from the test's own.
fn own_namespaces(running: &Running) -> Vec<&'static str> {
    let all = ["cgroup", "ipc", "mnt", "net", "user", "uts"];
    let other = |name: &&str| {
        let name = format!("ns/{name}");
        let ours = std::fs::read_link(format!("/proc/self/{name}")).unwrap();
        running.link(&name) != ours.display().to_string()
    };
    all.into_iter().filter(other).collect()
}

#[test]
fn namespaces_are_entered_where_permitted() {
    let image = image(&[]);
    let permitted = is_root()
        || output(Command::new("unshare").args(["--user", "true"]))
            .status
            .success();
    if !permitted {
        return skip("namespaces", "this host gives them to root alone");
    }
    let few = own_namespaces(&Running::start(&image, &[]));
    let all = own_namespaces(&Running::start(&image, &["--all-namespaces"]));
    if is_root() {
        assert_eq!(few, ["cgroup", "ipc", "uts"]);
        assert_eq!(all, ["cgroup", "ipc", "mnt", "net", "uts"]);
    } else {
        assert_eq!(few, ["cgroup", "ipc", "user", "uts"]);
        assert_eq!(all, ["cgroup", "ipc", "mnt", "net", "user", "uts"]);
    }
}

#[test]
fn a_console_that_nobody_reads_stops_nothing() {
    let image = image(&[]);
    // A pipe takes 64 KiB; the image writes 80.
    let writes = vec!["call=1,1,B,4096"; 20];
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = image.command(&[], &writes);
    let status = spawn(command.stdout(writer)).wait().unwrap();
    assert_eq!(status.code(), Some(0));
    drop((command, reader));

    // Nor does one that has gone away.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = image.command(&[], &writes);
    let status = spawn(command.stdout(writer)).wait().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn closed_standard_streams_are_not_taken_by_files() {
    let image = image(&[(Kind::Block, "disk")]);
    let disk = image.file("disk", 512);
    let script = format!(
        "exec \"$0\" --block disk={} {} boot <&- >&- 2>&-",
        disk.display(),
        image.path.display()
    );
    let output = output(Command::new("sh").args(["-c", &script, crate::probe::TENDER]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(std::fs::read(disk).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn output_to_a_file_is_appended_where_the_shell_said_so() {
    let image = image(&[]);
    let log = image.folder.path().join("log");
    std::fs::write(&log, "before\n").unwrap();
    let file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let mut command = image.command(&[], &["call=231,0"]);
    let status = spawn(command.stdout(file)).wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let mut command = image.command(&[], &["boot"]);
    let status = spawn(command.stdout(file)).wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("before\nprobe\nboot\n"), "{text}");
}

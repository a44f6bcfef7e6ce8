//! Why an image could not be started: what happened, to what, and what to do next.

use core::fmt;

use mirage_manifest::{Kind, MAX_DEVICES, ManifestError};

use crate::arguments::{MEMORY, Source};
use crate::attach;
use crate::elf::ElfError;
use crate::shared::LEN;
use crate::text::Word;

/// What stopped the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<'a> {
    /// The command line names no image.
    NoImage,
    /// An option that is not known.
    UnknownOption(Word<'a>),
    /// An option at the end of the command line.
    NoValue(Word<'a>),
    /// An option that may be given once.
    Twice(Word<'a>),
    /// The value of `--memory`.
    Memory(Word<'a>),
    /// The value of `--parent`.
    Parent(Word<'a>),
    /// The value of `--net`.
    Net(Word<'a>),
    /// The value of `--block`.
    Block(Word<'a>),
    /// The name of a network interface.
    Interface(Word<'a>),
    /// An Ethernet address.
    Mac(Word<'a>),
    /// A packet size.
    Mtu(Word<'a>),
    /// The number of a descriptor.
    Descriptor(Word<'a>),
    /// An option that shares a file, and its value.
    Shared(Word<'a>, Word<'a>),
    /// Two options that give a recording.
    RecordTwice,
    /// A recording to be repeated, and devices.
    ReplayWithDevices,
    /// What an option shares is no file that can be written to, or not of whole pages.
    NotShared(&'static str),
    /// Two options for one device.
    DeviceTwice(&'a str),
    /// More devices than an image can have.
    TooManyDevices,
    /// The manifest declares the device, the command line does not give it.
    NotGiven {
        /// Its name.
        name: &'a str,
        /// Its kind.
        kind: Kind,
    },
    /// The command line gives something of another kind.
    WrongKind {
        /// The device's name.
        name: &'a str,
        /// The kind it is declared as.
        kind: Kind,
    },
    /// The command line gives what the manifest does not declare.
    NotDeclared(&'a str),
    /// The image cannot be opened or read.
    OpenImage(Source<'a>, Errno),
    /// The image is no regular file.
    NotAFile(Source<'a>),
    /// The file is not what an image is.
    NotAnImage(Source<'a>, ElfError),
    /// The file's manifest is wrong.
    Manifest(Source<'a>, ManifestError),
    /// `/dev/net/tun` cannot be opened.
    OpenTun(Errno),
    /// There is no such interface.
    NoTap(Word<'a>),
    /// The interface cannot be attached.
    AttachTap(Word<'a>, Errno),
    /// The tap refuses the header that every frame carries.
    TapHeader(Word<'a>, Errno),
    /// The descriptor is none, or no socket of messages.
    NotASocket {
        /// The device's name.
        name: &'a str,
        /// The descriptor.
        descriptor: u32,
    },
    /// The block device's file cannot be opened or asked for its size.
    OpenBlock(Word<'a>, Errno),
    /// It is neither a file nor a block device.
    NotABlock(Word<'a>),
    /// Its size is zero or no multiple of the sector's.
    BlockSize(Word<'a>, u64),
    /// Another image has it.
    BlockInUse(Word<'a>),
    /// The standard input cannot be read, which was to tell when to begin.
    Hold(Errno),
    /// A step of the confinement failed.
    Confine(&'static str, Errno),
    /// The kernel refuses to execute the image.
    Execute(Source<'a>, Errno),
    /// The devices need more text or filter than there is room for.
    TooLarge,
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoImage => f.write_str(
                "no image is given; usage: mirage-tender-process [--memory BYTES] \
                 [--net NAME=tap:INTERFACE] [--block NAME=FILE] IMAGE [KEY=VALUE]",
            ),
            Self::UnknownOption(word) => write!(
                f,
                "unknown option {word}; known are --memory, --parent, --hold, --net, --block, \
                 --counters, --record, --replay and --all-namespaces"
            ),
            Self::NoValue(word) => write!(f, "{word} needs a value after it"),
            Self::Twice(word) => write!(f, "{word} is given twice; give it once"),
            Self::Memory(word) => write!(
                f,
                "--memory {word} is not a number of bytes between {} and {} that is a multiple \
                 of 4096",
                MEMORY.start(),
                MEMORY.end()
            ),
            Self::Parent(word) => write!(
                f,
                "--parent {word} is not the number of a process; give that of the tender's parent"
            ),
            Self::Net(word) => write!(
                f,
                "--net {word} is not of the form NAME=tap:INTERFACE[,mac=MAC] or \
                 NAME=fd:N[,mac=MAC][,mtu=BYTES]"
            ),
            Self::Block(word) => write!(f, "--block {word} is not of the form NAME=FILE[,ro]"),
            Self::Interface(word) => {
                write!(f, "`{word}` cannot be the name of a network interface")
            }
            Self::Mac(word) => write!(
                f,
                "{word} is not the Ethernet address of one station, like 02:00:00:aa:bb:cc"
            ),
            Self::Mtu(word) => write!(f, "mtu={word} is not a number of bytes from 68 to 65535"),
            Self::Descriptor(word) => {
                write!(f, "descriptor {word} is not a number of 3 or more")
            }
            Self::Shared(option, word) => write!(
                f,
                "{option} {word} is not of the form fd:N, the descriptor of a file"
            ),
            Self::RecordTwice => f.write_str(
                "an image either records or repeats, once; give one of --record and --replay",
            ),
            Self::ReplayWithDevices => f.write_str(
                "with --replay every answer is in the recording; remove the options that give \
                 devices",
            ),
            Self::NotShared(option) => write!(
                f,
                "{option}: the descriptor is not that of a regular file, open for reading and \
                 writing, of {} to {} bytes that are a multiple of 4096; hand the tender a \
                 memfd of such a size",
                LEN.start(),
                LEN.end()
            ),
            Self::DeviceTwice(name) => write!(f, "device {name} is given twice; give it once"),
            Self::TooManyDevices => {
                write!(f, "an image can have at most {MAX_DEVICES} devices")
            }
            Self::NotGiven { name, kind } => {
                let (option, value) = attach::option(kind);
                write!(
                    f,
                    "the image declares the {kind} device {name}, which is not given; \
                     add {option} {name}={value}"
                )
            }
            Self::WrongKind { name, kind } => {
                let (option, value) = attach::option(kind);
                write!(
                    f,
                    "device {name} is declared as a {kind} device; give it as \
                     {option} {name}={value}"
                )
            }
            Self::NotDeclared(name) => write!(
                f,
                "the image declares no device {name}; remove the option that gives it"
            ),
            Self::OpenImage(image, errno) => write!(f, "cannot read image {image}: {errno}"),
            Self::NotAFile(image) => write!(f, "image {image} is not a regular file"),
            Self::NotAnImage(image, error) => write!(f, "{image} is not an image: {error}"),
            Self::Manifest(image, error) => write!(f, "{image}: {error}"),
            Self::OpenTun(errno) => write!(
                f,
                "cannot open /dev/net/tun: {errno}; {}",
                match errno {
                    Errno::ENOENT | Errno::ENODEV => "load the module: modprobe tun",
                    _ => "start as root, or as a user who may open it",
                }
            ),
            Self::NoTap(name) => write!(
                f,
                "there is no interface {name}; make it: ip tuntap add dev {name} mode tap user \
                 $(id -un) && ip link set {name} up"
            ),
            Self::AttachTap(name, Errno::EPERM) => write!(
                f,
                "no permission to use tap {name}; start as its owner, or own it: \
                 ip tuntap add dev {name} mode tap user $(id -un)"
            ),
            Self::AttachTap(name, Errno::EBUSY) => write!(
                f,
                "tap {name} is in use by another process; stop that one or give another tap"
            ),
            Self::AttachTap(name, Errno::EINVAL) => write!(
                f,
                "interface {name} is not a tap with one queue; make one: \
                 ip tuntap add dev NAME mode tap user $(id -un)"
            ),
            Self::AttachTap(name, errno) => write!(f, "cannot attach tap {name}: {errno}"),
            Self::TapHeader(name, errno) => write!(
                f,
                "tap {name} does not take frames with a virtio header: {errno}"
            ),
            Self::NotASocket { name, descriptor } => write!(
                f,
                "device {name}: descriptor {descriptor} is not open as a SOCK_SEQPACKET or \
                 SOCK_DGRAM socket; hand the tender one end of a socketpair"
            ),
            Self::OpenBlock(path, Errno::EROFS | Errno::EACCES) => write!(
                f,
                "cannot open block file {path}: permission denied; change its permissions, or \
                 add `,ro` if the image shall only read it"
            ),
            Self::OpenBlock(path, errno) => write!(f, "cannot open block file {path}: {errno}"),
            Self::NotABlock(path) => {
                write!(f, "{path} is neither a regular file nor a block device")
            }
            Self::BlockSize(path, size) => write!(
                f,
                "block file {path} has {size} bytes; it must have at least 512 and a multiple \
                 of them: truncate -s SIZE FILE"
            ),
            Self::BlockInUse(path) => write!(
                f,
                "block file {path} is in use by another unikernel; stop that one, or give \
                 another file"
            ),
            Self::Hold(errno) => write!(
                f,
                "--hold: cannot read the standard input: {errno}; give it a pipe whose end tells \
                 to begin"
            ),
            Self::Confine(step, errno) => {
                write!(f, "cannot confine the image: {step}: {errno}")
            }
            Self::Execute(image, Errno::EACCES) => write!(
                f,
                "image {image} may not be executed; make it readable and executable for all: \
                 chmod a+rx FILE (and not on a file system mounted noexec)"
            ),
            Self::Execute(image, errno) => write!(f, "cannot execute image {image}: {errno}"),
            Self::TooLarge => f.write_str("the devices are too many for one filter"),
        }
    }
}

impl core::error::Error for Error<'_> {}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Path(path) => Word(path).fmt(f),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

/// A number by which Linux says why it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident $number:literal $text:literal)*) => {
        #[allow(missing_docs, reason = "the text is the documentation")]
        impl Errno {
            $(pub const $name: Self = Self($number);)*
        }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str($text),)*
                    Self(number) => write!(f, "Linux error {number}"),
                }
            }
        }
    };
}

errnos! {
    EPERM 1 "operation not permitted"
    ENOENT 2 "no such file"
    ESRCH 3 "no such process"
    EIO 5 "input/output error"
    E2BIG 7 "the command line is too long"
    ENOEXEC 8 "not a program for this machine"
    EBADF 9 "no such descriptor"
    EAGAIN 11 "it is in use"
    ENOMEM 12 "out of memory"
    EACCES 13 "permission denied"
    EBUSY 16 "it is in use"
    ENODEV 19 "no such device"
    ENOTDIR 20 "a part of the path is no folder"
    EISDIR 21 "it is a folder"
    EINVAL 22 "not possible here"
    ENFILE 23 "too many open files in the system"
    EMFILE 24 "too many open files"
    ENOTTY 25 "it is no such device"
    ETXTBSY 26 "the file is open for writing"
    EROFS 30 "read-only file system"
    ENAMETOOLONG 36 "the name is too long"
    ENOSYS 38 "this kernel cannot do it"
    ELOOP 40 "too many symbolic links"
}

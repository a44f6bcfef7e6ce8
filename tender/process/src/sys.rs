//! The system calls the tender makes, by their numbers (syscall_64.tbl), without libc.

use core::arch::asm;
use core::ffi::CStr;

use mirage_tender_process::error::Errno;

/// What a call answers.
pub type Result<T> = core::result::Result<T, Errno>;

pub const READ: usize = 0;
pub const WRITE: usize = 1;
pub const FSTAT: usize = 5;
pub const RT_SIGACTION: usize = 13;
pub const RT_SIGPROCMASK: usize = 14;
pub const IOCTL: usize = 16;
pub const PREAD64: usize = 17;
pub const SOCKET: usize = 41;
pub const GETSOCKOPT: usize = 55;
pub const FCNTL: usize = 72;
pub const FLOCK: usize = 73;
pub const GETPID: usize = 39;
pub const GETEUID: usize = 107;
pub const GETPPID: usize = 110;
pub const SETGROUPS: usize = 116;
pub const SETRESUID: usize = 117;
pub const SETRESGID: usize = 119;
pub const CAPSET: usize = 126;
pub const PRCTL: usize = 157;
pub const EXIT_GROUP: usize = 231;
pub const EPOLL_CTL: usize = 233;
pub const OPENAT: usize = 257;
pub const UNSHARE: usize = 272;
pub const EPOLL_CREATE1: usize = 291;
pub const DUP3: usize = 292;
pub const PRLIMIT64: usize = 302;
pub const SECCOMP: usize = 317;
pub const EXECVEAT: usize = 322;
pub const CLOSE_RANGE: usize = 436;

/// Makes the system call `number`.
///
/// # Safety
///
/// As the call demands: a pointer among the arguments must be good for what the kernel does with
/// it.
pub unsafe fn call<const N: usize>(number: usize, arguments: [usize; N]) -> Result<usize> {
    let argument = |at| arguments.get(at).copied().unwrap_or(0);
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel changes rax, rcx and r11 alone.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") argument(0),
            in("rsi") argument(1),
            in("rdx") argument(2),
            in("r10") argument(3),
            in("r8") argument(4),
            in("r9") argument(5),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// Makes a system call whose arguments are plain numbers.
pub fn number<const N: usize>(call_number: usize, arguments: [usize; N]) -> Result<usize> {
    // SAFETY: the callers in this program give no addresses here.
    unsafe { call(call_number, arguments) }
}

pub fn exit(status: u8) -> ! {
    let _ = number(EXIT_GROUP, [usize::from(status)]);
    loop {
        core::hint::spin_loop();
    }
}

pub fn write(descriptor: u32, bytes: &[u8]) -> Result<usize> {
    let arguments = [descriptor as usize, bytes.as_ptr() as usize, bytes.len()];
    // SAFETY: the kernel reads the slice.
    unsafe { call(WRITE, arguments) }
}

const AT_FDCWD: usize = -100isize as usize;
pub const O_RDONLY: usize = 0;
pub const O_WRONLY: usize = 1;
pub const O_RDWR: usize = 2;
pub const O_NONBLOCK: usize = 0o4000;
const O_NOCTTY: usize = 0o400;
const O_CLOEXEC: usize = 0o2_000_000;

/// Opens a file, closed on exec; never waits for the other end of a pipe.
pub fn open(path: &CStr, flags: usize) -> Result<u32> {
    let flags = flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    // SAFETY: the kernel reads the string up to its end.
    let file = unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags]) };
    file.map(|file| file as u32)
}

/// Reads up to `buffer.len()` bytes at `offset`.
pub fn pread(descriptor: u32, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let to = buffer.as_mut_ptr() as usize;
    let arguments = [descriptor as usize, to, buffer.len(), offset as usize];
    // SAFETY: the kernel writes into the slice.
    unsafe { call(PREAD64, arguments) }
}

/// `struct stat` of x86-64.
#[repr(C)]
#[derive(Default)]
struct Stat {
    _device: u64,
    _inode: u64,
    _links: u64,
    mode: u32,
    _ids: [u32; 3],
    _special: u64,
    size: u64,
    _rest: [u64; 11],
}

/// The type of a file: its mode's upper bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileType(u32);

impl FileType {
    pub const FIFO: Self = Self(0o010_000);
    pub const CHARACTER: Self = Self(0o020_000);
    pub const BLOCK: Self = Self(0o060_000);
    pub const REGULAR: Self = Self(0o100_000);
}

/// A file's type and size.
pub fn stat(descriptor: u32) -> Result<(FileType, u64)> {
    let mut stat = Stat::default();
    let to = &raw mut stat as usize;
    // SAFETY: `Stat` is as long as the kernel's.
    unsafe { call(FSTAT, [descriptor as usize, to])? };
    Ok((FileType(stat.mode & 0o170_000), stat.size))
}

/// An ioctl that reads or writes the `T` behind its argument.
///
/// # Safety
///
/// `T` must be what the request names.
pub unsafe fn ioctl<T>(descriptor: u32, request: usize, argument: &mut T) -> Result<usize> {
    let arguments = [descriptor as usize, request, &raw mut *argument as usize];
    // SAFETY: the caller has chosen `T` to be what the request takes.
    unsafe { call(IOCTL, arguments) }
}

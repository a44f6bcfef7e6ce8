//! System calls of x86-64 Linux, each by its number and nothing more.

use core::arch::asm;

pub(crate) const WRITE: usize = 1;
pub(crate) const MMAP: usize = 9;
pub(crate) const PREAD64: usize = 17;
pub(crate) const PWRITE64: usize = 18;
pub(crate) const READV: usize = 19;
pub(crate) const WRITEV: usize = 20;
pub(crate) const MADVISE: usize = 28;
pub(crate) const FDATASYNC: usize = 75;
pub(crate) const CLOCK_GETTIME: usize = 228;
pub(crate) const EXIT_GROUP: usize = 231;
pub(crate) const FALLOCATE: usize = 285;
pub(crate) const GETRANDOM: usize = 318;
pub(crate) const EPOLL_PWAIT2: usize = 441;

/// A descriptor's number.
pub(crate) type Fd = u32;

/// An error number, as in errno(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

impl Errno {
    pub(crate) const INTR: Self = Self(4);
    pub(crate) const AGAIN: Self = Self(11);
    pub(crate) const FBIG: Self = Self(27);
    pub(crate) const NOSPC: Self = Self(28);
    pub(crate) const ROFS: Self = Self(30);
    pub(crate) const PIPE: Self = Self(32);
    pub(crate) const BADFD: Self = Self(77);
    pub(crate) const MSGSIZE: Self = Self(90);
    pub(crate) const OPNOTSUPP: Self = Self(95);
    pub(crate) const CONNRESET: Self = Self(104);
    pub(crate) const NOTCONN: Self = Self(107);
    pub(crate) const DQUOT: Self = Self(122);
}

/// Makes a system call; arguments that it does not have are ignored by the kernel. A call that a
/// signal interrupted is made again.
///
/// # Safety
///
/// Whatever the call reads or writes must be the caller's to read or write, and a call that
/// changes the address space must leave alone what Rust code uses.
pub(crate) unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    loop {
        let result: isize;
        // SAFETY: the kernel's calling convention (syscall(2)): it changes rax, rcx and r11, and
        // memory as the caller of this function vouches for.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        match result {
            -4095..=-1 if Errno(-result as u16) == Errno::INTR => {}
            -4095..=-1 => return Err(Errno(-result as u16)),
            _ => return Ok(result as usize),
        }
    }
}

/// A piece of memory, as readv(2) and writev(2) take it.
#[repr(C)]
pub(crate) struct IoSlice {
    base: *const u8,
    len: usize,
}

/// Writes to the descriptor, perhaps less than all.
pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes` during the call.
    unsafe {
        call(
            WRITE,
            [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0],
        )
    }
}

/// Reads one message, its first bytes into `head`, the rest into `tail`.
pub(crate) fn readv(fd: Fd, head: &mut [u8], tail: &mut [u8]) -> Result<usize, Errno> {
    let slices = [
        IoSlice {
            base: head.as_mut_ptr(),
            len: head.len(),
        },
        IoSlice {
            base: tail.as_mut_ptr(),
            len: tail.len(),
        },
    ];
    // SAFETY: the kernel reads `slices` and writes the two buffers, which are borrowed mutably.
    unsafe {
        call(
            READV,
            [fd as usize, slices.as_ptr() as usize, slices.len(), 0, 0, 0],
        )
    }
}

/// Writes one message, `head` then `tail`.
pub(crate) fn writev(fd: Fd, head: &[u8], tail: &[u8]) -> Result<usize, Errno> {
    let slices = [
        IoSlice {
            base: head.as_ptr(),
            len: head.len(),
        },
        IoSlice {
            base: tail.as_ptr(),
            len: tail.len(),
        },
    ];
    // SAFETY: the kernel reads `slices` and the two buffers during the call.
    unsafe {
        call(
            WRITEV,
            [fd as usize, slices.as_ptr() as usize, slices.len(), 0, 0, 0],
        )
    }
}

/// Reads from a place in a file, perhaps less than asked.
pub(crate) fn pread(fd: Fd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let arguments = [
        fd as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        offset as usize,
        0,
        0,
    ];
    // SAFETY: the kernel writes `buffer`, which is borrowed mutably.
    unsafe { call(PREAD64, arguments) }
}

/// Writes to a place in a file, perhaps less than all.
pub(crate) fn pwrite(fd: Fd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `bytes` during the call.
    unsafe {
        call(
            PWRITE64,
            [
                fd as usize,
                bytes.as_ptr() as usize,
                bytes.len(),
                offset as usize,
                0,
                0,
            ],
        )
    }
}

/// Makes a file's data durable.
pub(crate) fn fdatasync(fd: Fd) -> Result<(), Errno> {
    // SAFETY: no memory is touched.
    unsafe { call(FDATASYNC, [fd as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Gives up part of a file, whose size stays: it reads as zeros.
pub(crate) fn punch_hole(fd: Fd, offset: u64, len: u64) -> Result<(), Errno> {
    /// `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`
    const MODE: usize = 1 | 2;
    // SAFETY: no memory is touched.
    unsafe {
        call(
            FALLOCATE,
            [fd as usize, MODE, offset as usize, len as usize, 0, 0],
        )
    }
    .map(drop)
}

/// Fills a buffer with random bytes, perhaps less than all.
pub(crate) fn getrandom(buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes `buffer`, which is borrowed mutably.
    unsafe {
        call(
            GETRANDOM,
            [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0],
        )
    }
}

/// Seconds and nanoseconds, as the kernel has them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timespec {
    pub(crate) seconds: i64,
    pub(crate) nanos: i64,
}

/// Asks a clock.
pub(crate) fn clock_gettime(clock: i32, time: &mut Timespec) -> Result<(), Errno> {
    // SAFETY: the kernel writes `time`, which is borrowed mutably.
    unsafe {
        call(
            CLOCK_GETTIME,
            [clock as usize, (&raw mut *time) as usize, 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// An event, as epoll_wait(2) reports it.
#[repr(C, packed)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EpollEvent {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

/// Waits for events, for ever without a `timeout`, and returns how many there are.
pub(crate) fn epoll_wait(
    epoll: Fd,
    events: &mut [EpollEvent],
    timeout: Option<&Timespec>,
) -> Result<usize, Errno> {
    let timeout = timeout.map_or(core::ptr::null(), |timeout| &raw const *timeout);
    let arguments = [
        epoll as usize,
        events.as_mut_ptr() as usize,
        events.len(),
        timeout as usize,
        0,
        0,
    ];
    // SAFETY: the kernel reads `timeout` and writes `events`, which is borrowed mutably.
    unsafe { call(EPOLL_PWAIT2, arguments) }
}

/// Ends the process.
pub(crate) fn exit_group(status: u8) -> ! {
    loop {
        // SAFETY: no memory is touched, and the call does not return.
        let _ = unsafe { call(EXIT_GROUP, [status.into(), 0, 0, 0, 0, 0]) };
    }
}

//! Giving up every right that the image shall not have.

use core::ffi::CStr;

use mirage_tender_process::arguments::Arguments;
use mirage_tender_process::bpf::Instruction;
use mirage_tender_process::environment::Opened;
use mirage_tender_process::error::{Errno, Error};
use mirage_tender_process::{CONSOLE, EPOLL, FIRST_DEVICE};

use crate::sys::{self, FileType};

type Result<T> = core::result::Result<T, Error<'static>>;

const F_DUPFD_CLOEXEC: usize = 1030;
const F_GETFD: usize = 1;
const O_CLOEXEC: usize = 0o2_000_000;

/// Waits for a byte on the standard input, which says that a debugger is attached, or for its end,
/// which says that none is.
pub fn hold() -> Result<bool> {
    const STANDARD_INPUT: usize = 0;
    let mut byte = 0u8;
    let to = &raw mut byte as usize;
    // SAFETY: the kernel writes one byte.
    match unsafe { sys::call(sys::READ, [STANDARD_INPUT, to, 1]) } {
        Ok(read) => Ok(read > 0),
        Err(errno) => Err(Error::Hold(errno)),
    }
}

/// Opens `/dev/null` where the standard output or error stream is closed, so that nothing that is
/// opened later takes its place.
pub fn hold_standard_streams() -> Result<()> {
    for stream in [1, 2] {
        if sys::number(sys::FCNTL, [stream, F_GETFD]).is_err() {
            let null = sys::open(c"/dev/null", sys::O_WRONLY)
                .and_then(|null| move_to(null, stream as u32, 0));
            null.map_err(|errno| Error::Confine("open /dev/null", errno))?;
        }
    }
    Ok(())
}

/// Makes the console non-blocking, so that a reader who does not read never stops the image.
///
/// The open file may be shared with a shell, whose writes must stay as they are: a pipe or
/// terminal is opened anew. Where that cannot be, without `/proc` for example, it stays as it is.
pub fn release_console() {
    if let Ok((FileType::FIFO | FileType::CHARACTER, _)) = sys::stat(CONSOLE)
        && let Ok(console) = sys::open(c"/proc/self/fd/1", sys::O_WRONLY)
    {
        let _ = move_to(console, CONSOLE, 0);
    }
}

fn move_to(from: u32, to: u32, flags: usize) -> sys::Result<usize> {
    if from == to {
        return Ok(to as usize);
    }
    sys::number(sys::DUP3, [from as usize, to as usize, flags])
}

/// Lays the descriptors out as the boot protocol says, those of the `devices` first, and closes
/// every other one. Yields the image's, which the kernel closes when it executes it.
pub fn lay_out(image: u32, devices: &[Opened], descriptors: &mut [u32]) -> Result<u32> {
    let failed = |errno| Error::Confine("lay out the descriptors", errno);
    let image_place = FIRST_DEVICE + descriptors.len() as u32;
    // Out of the way first: a descriptor may lie where another one belongs.
    let away = |descriptor: u32| match descriptor <= image_place {
        true => {
            let arguments = [
                descriptor as usize,
                F_DUPFD_CLOEXEC,
                image_place as usize + 1,
            ];
            sys::number(sys::FCNTL, arguments).map(|moved| moved as u32)
        }
        false => Ok(descriptor),
    };
    for descriptor in &mut *descriptors {
        *descriptor = away(*descriptor).map_err(failed)?;
    }
    let image = away(image).map_err(failed)?;
    let epoll = sys::number(sys::EPOLL_CREATE1, [O_CLOEXEC]).map_err(failed)? as u32;
    let epoll = away(epoll).map_err(failed)?;

    move_to(epoll, EPOLL, 0).map_err(failed)?;
    for (descriptor, place) in descriptors.iter().zip(FIRST_DEVICE..) {
        move_to(*descriptor, place, 0).map_err(failed)?;
    }
    move_to(image, image_place, O_CLOEXEC).map_err(failed)?;
    for (number, device) in devices.iter().enumerate() {
        if let Opened::Net { .. } = device {
            watch(number).map_err(failed)?;
        }
    }

    const CLOSE_ON_EXEC: usize = 4;
    let close = |first, last, flags| sys::number(sys::CLOSE_RANGE, [first, last, flags]);
    close(0, 0, 0).map_err(failed)?;
    // The error stream stays for the last error there can be.
    close(2, 2, CLOSE_ON_EXEC).map_err(failed)?;
    close(image_place as usize + 1, u32::MAX as usize, 0).map_err(failed)?;
    Ok(image_place)
}

/// Lets the epoll instance report the network device `number`, each change once.
fn watch(number: usize) -> sys::Result<usize> {
    /// `struct epoll_event` of x86-64.
    #[repr(C, packed)]
    struct Event {
        events: u32,
        data: u64,
    }
    const EPOLL_CTL_ADD: usize = 1;
    /// EPOLLIN | EPOLLOUT | EPOLLET
    const EVENTS: u32 = 1 | 4 | 1 << 31;
    let mut event = Event {
        events: EVENTS,
        data: number as u64,
    };
    let descriptor = FIRST_DEVICE as usize + number;
    let event = &raw mut event as usize;
    // SAFETY: the kernel reads one event.
    unsafe {
        sys::call(
            sys::EPOLL_CTL,
            [EPOLL as usize, EPOLL_CTL_ADD, descriptor, event],
        )
    }
}

/// Lets this process die when its parent does. A parent that is gone already has left the
/// process to somebody else.
///
/// Call it last: a change of rights makes the kernel forget it.
pub fn die_with(parent: u32) -> Result<()> {
    const PR_SET_PDEATHSIG: usize = 1;
    const SIGKILL: usize = 9;
    let failed = |errno| Error::Confine("die with the parent", errno);
    sys::number(sys::PRCTL, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]).map_err(failed)?;
    match sys::number(sys::GETPPID, []).map_err(failed)? {
        now if now == parent as usize => Ok(()),
        _ => Err(Error::Confine("die with the parent", Errno::ESRCH)),
    }
}

/// No signal is blocked, and a console that nobody reads any more ends nothing.
pub fn reset_signals() -> Result<()> {
    const SIGPIPE: usize = 13;
    const SIG_IGN: u64 = 1;
    const SIG_SETMASK: usize = 2;
    const SET_SIZE: usize = 8;
    let failed = |errno| Error::Confine("reset signals", errno);
    let ignore = [SIG_IGN, 0, 0, 0];
    let none = 0u64;
    let (ignore, none) = (&raw const ignore as usize, &raw const none as usize);
    // SAFETY: the kernel reads a `struct sigaction` of four words.
    unsafe { sys::call(sys::RT_SIGACTION, [SIGPIPE, ignore, 0, SET_SIZE]) }.map_err(failed)?;
    // SAFETY: the kernel reads a set of one word.
    unsafe { sys::call(sys::RT_SIGPROCMASK, [SIG_SETMASK, none, 0, SET_SIZE]) }.map_err(failed)?;
    Ok(())
}

/// Bytes of the stack that the kernel lays out: the command line is on it.
const FIRST_STACK: u64 = 8 << 20;
/// Bytes of address space for what the kernel adds: the vDSO, the guard of the stack.
const SPARE: u64 = 1 << 20;

/// Sets the resource limits for an image that may map `mapped` bytes, its segments among them.
///
/// There is none for the size of files (RLIMIT_FSIZE): the filter bounds every write to a device,
/// and the console may be a file that grows.
pub fn limit(mapped: u64) -> Result<()> {
    const RLIMIT_STACK: usize = 3;
    const RLIMIT_CORE: usize = 4;
    const RLIMIT_NPROC: usize = 6;
    const RLIMIT_NOFILE: usize = 7;
    const RLIMIT_MEMLOCK: usize = 8;
    const RLIMIT_AS: usize = 9;
    let all = [
        (RLIMIT_STACK, FIRST_STACK),
        // Not 0: of a core that goes to a program the kernel keeps back only this one (core(5)).
        (RLIMIT_CORE, 1),
        (RLIMIT_NPROC, 0),
        (RLIMIT_NOFILE, 0),
        (RLIMIT_MEMLOCK, 0),
        (RLIMIT_AS, mapped + FIRST_STACK + SPARE),
    ];
    for (resource, bound) in all {
        let limit = [bound, bound];
        let limit = &raw const limit as usize;
        // SAFETY: the kernel reads a `struct rlimit64` of two words.
        match unsafe { sys::call(sys::PRLIMIT64, [0, resource, limit, 0]) } {
            // A lower one is set, which stays.
            Ok(_) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(Error::Confine("set limits", errno)),
        }
    }
    Ok(())
}

const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_CAPBSET_DROP: usize = 24;

/// Enters namespaces, changes to a user that nobody else is, and drops all capabilities.
///
/// These are a second fence behind the filter: an image can name no path, process, socket or user.
/// So where the host forbids a namespace, the start goes on without.
pub fn drop_privileges(arguments: &Arguments<'_>) -> Result<()> {
    const CLONE_NEWNS: usize = 0x0002_0000;
    const CLONE_NEWCGROUP: usize = 0x0200_0000;
    const CLONE_NEWUTS: usize = 0x0400_0000;
    const CLONE_NEWIPC: usize = 0x0800_0000;
    const CLONE_NEWUSER: usize = 0x1000_0000;
    const CLONE_NEWNET: usize = 0x4000_0000;
    let root = sys::number(sys::GETEUID, [])
        .map_err(|errno| Error::Confine("ask for the user", errno))?
        == 0;
    let mut namespaces = CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC;
    if arguments.all_namespaces {
        namespaces |= CLONE_NEWNS | CLONE_NEWNET;
    }
    if !root {
        namespaces |= CLONE_NEWUSER;
    }
    let _ = sys::number(sys::UNSHARE, [namespaces]);

    // The kernel's list of capabilities ends where it refuses; it refuses all to who has none.
    for capability in 0..64 {
        if sys::number(sys::PRCTL, [PR_CAPBSET_DROP, capability, 0, 0, 0]).is_err() {
            break;
        }
    }
    if root {
        change_user();
    }
    drop_capabilities()?;
    sys::number(sys::PRCTL, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0])
        .map_err(|errno| Error::Confine("give up new privileges", errno))?;
    Ok(())
}

/// Becomes a user and group of its own, without further groups.
///
/// `nobody` is somebody: whatever else runs as it could trace the image. From 0x70000000 on no
/// system hands out numbers (systemd, "Users, Groups, UIDs and GIDs"). A user namespace that does
/// not have them leaves `nobody` or, when it has only root, that: without capabilities, and an
/// ordinary user outside.
fn change_user() {
    const FIRST: usize = 0x7000_0000;
    const NOBODY: usize = 65_534;
    let _ = sys::number(sys::SETGROUPS, [0, 0]);
    let own = FIRST + sys::number(sys::GETPID, []).unwrap_or(0);
    for call in [sys::SETRESGID, sys::SETRESUID] {
        if sys::number(call, [own; 3]).is_err() {
            let _ = sys::number(call, [NOBODY; 3]);
        }
    }
}

fn drop_capabilities() -> Result<()> {
    // _LINUX_CAPABILITY_VERSION_3, this process; no effective, permitted, inheritable ones.
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    let (header, none) = (&raw const header as usize, &raw const none as usize);
    // SAFETY: the kernel reads a header of two words and data of six.
    unsafe { sys::call(sys::CAPSET, [header, none]) }
        .map_err(|errno| Error::Confine("drop capabilities", errno))?;
    Ok(())
}

/// Installs the filter. From here on this process can write its last words, execute the image and
/// exit.
pub fn install(filter: &[Instruction]) -> Result<()> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Instruction,
    }
    let program = Program {
        len: filter.len() as u16,
        filter: filter.as_ptr(),
    };
    let program = &raw const program as usize;
    // SAFETY: the kernel reads the program and its instructions.
    unsafe { sys::call(sys::SECCOMP, [SECCOMP_SET_MODE_FILTER, 0, program]) }
        .map_err(|errno| Error::Confine("install the system call filter", errno))?;
    Ok(())
}

/// Executes the image by its descriptor and the empty path. Returns only why not.
///
/// # Safety
///
/// Both arrays must end with null and hold addresses of strings.
pub unsafe fn execute(
    image: u32,
    empty_path: &CStr,
    arguments: *const *const u8,
    environment: *const *const u8,
) -> Errno {
    const AT_EMPTY_PATH: usize = 0x1000;
    let arguments = [
        image as usize,
        empty_path.as_ptr() as usize,
        arguments as usize,
        environment as usize,
        AT_EMPTY_PATH,
    ];
    // SAFETY: the caller vouches for both arrays.
    match unsafe { sys::call(sys::EXECVEAT, arguments) } {
        Ok(_) => Errno::ENOEXEC,
        Err(errno) => errno,
    }
}

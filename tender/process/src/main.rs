//! Starts an image as a sandboxed Linux process. See the library for the steps.
//!
//! No std and no libc: the program has to be loaded before the image can be, and this is what
//! makes that fast. It runs once from top to bottom and never frees anything.

#![no_std]
#![no_main]

mod confine;
mod memory;
mod open;
mod sys;

use core::convert::Infallible;
use core::ffi::{CStr, c_char};
use core::fmt::Write;

use mirage_manifest::{MAX_DEVICES, Manifest, ManifestError};
use mirage_tender_process::arguments::{Arguments, Source};
use mirage_tender_process::attach;
use mirage_tender_process::bpf::{self, Instruction};
use mirage_tender_process::elf::{self, Elf, ElfError, Extent};
use mirage_tender_process::environment::{self, Opened};
use mirage_tender_process::error::Error;
use mirage_tender_process::filter::{self, Rights};
use mirage_tender_process::shared::{Kind, MAX_SHARED, Shared};
use mirage_tender_process::text::Text;
use mirage_tender_process::{FIRST_DEVICE, STACK};

/// The exit status that says that no image ran.
const NOT_STARTED: u8 = 125;

const STANDARD_ERROR: u32 = 2;

/// What the image's path is given as: see the filter's rule for it.
static EMPTY_PATH: &CStr = c"";

/// Room for what has no fixed size, in memory that costs nothing until it is written.
struct Room {
    head: [u8; elf::HEAD],
    notes: [u8; elf::MAX_NOTES as usize],
    descriptors: [u32; MAX_DEVICES + MAX_SHARED],
    environment: Text<{ environment::LONGEST }>,
    /// Pointers to the environment's lines: the memory's, the watcher's, the devices', what is shared,
    /// null.
    lines: [*const u8; MAX_DEVICES + MAX_SHARED + 3],
    filter: [Instruction; bpf::LONGEST],
}

static mut ROOM: Room = Room {
    head: [0; _],
    notes: [0; _],
    descriptors: [0; _],
    environment: Text::new(),
    lines: [core::ptr::null(); _],
    filter: [Instruction {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    }; _],
};

/// The last words. They lie here because the filter lets no memory but the program's own be
/// written to the error stream.
static mut MESSAGE: Text<8192> = Text::new();

// The kernel enters with the number of arguments and their addresses on the stack.
core::arch::global_asm!(
    ".global _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, [rsp]",
    "lea rsi, [rsp + 8]",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

/// # Safety
///
/// `words` must be the start of the `count` addresses of strings, and a null after them, that the
/// kernel gave this process, and this the only call.
unsafe extern "C" fn main(count: usize, words: *mut *const c_char) -> ! {
    let (room, message) = (&raw mut ROOM, &raw mut MESSAGE);
    // SAFETY: the only call, so the only references.
    let (room, message) = unsafe { (&mut *room, &mut *message) };
    // SAFETY: handed on.
    let Err(error) = unsafe { start(count, words, room) };
    // A message that does not fit is cut.
    let _ = writeln!(message, "mirage: {error}");
    let _ = sys::write(STANDARD_ERROR, message.as_bytes());
    sys::exit(NOT_STARTED)
}

/// Starts the image, or tells why not.
///
/// # Safety
///
/// As for [`main`].
unsafe fn start(
    count: usize,
    words: *mut *const c_char,
    room: &mut Room,
) -> Result<Infallible, Error<'_>> {
    let word = |at| {
        // SAFETY: `at` is less than `count`, and the kernel's strings stay where they are.
        unsafe { CStr::from_ptr(*words.add(at)) }.to_bytes()
    };
    let arguments = Arguments::parse((0..count).map(word))?;
    // While whoever started this may still attach a debugger: before any right is given up.
    let watched = arguments.hold && confine::hold()?;
    confine::hold_standard_streams()?;

    let source = arguments.image;
    let (image, size) = open::image(source)?;
    let failed = |errno| Error::OpenImage(source, errno);
    let len = sys::pread(image, &mut room.head, 0).map_err(failed)?;
    let head = room.head.get(..len).unwrap_or_default();
    let elf = Elf::check(head, size).map_err(|error| Error::NotAnImage(source, error))?;
    let manifest = manifest(image, source, &elf, &mut room.notes)?;
    if !arguments.replay {
        attach::check(&manifest, &arguments)?;
    }

    let path = word(arguments.image_at);
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let mut opened = [Opened::Block {
        size: 0,
        writable: false,
    }; MAX_DEVICES];
    let mut count = 0;
    let places = opened.iter_mut().zip(&mut room.descriptors);
    let attached = attach::attached(&manifest, &arguments).filter(|_| !arguments.replay);
    for (device, place) in attached.zip(places) {
        (*place.1, *place.0) = open::device(&device?, name)?;
        count += 1;
    }
    let devices = opened.get(..count).unwrap_or_default();
    let mut shared = [Shared {
        kind: Kind::Counters,
        len: 0,
    }; MAX_SHARED];
    let record = if arguments.replay {
        "--replay"
    } else {
        "--record"
    };
    let given = [
        (Kind::Counters, "--counters", arguments.counters),
        (Kind::Record, record, arguments.record),
    ];
    let mut places = shared.iter_mut();
    for (kind, option, descriptor) in given {
        let Some(descriptor) = descriptor else {
            continue;
        };
        let len = open::shared(option, descriptor)?;
        let file = room.descriptors.get_mut(count).zip(places.next());
        let (file, place) = file.ok_or(Error::TooLarge)?;
        (*file, *place) = (descriptor, Shared { kind, len });
        count += 1;
    }
    let shared = shared.get(..count - devices.len()).unwrap_or_default();
    let descriptors = room.descriptors.get_mut(..count).unwrap_or_default();
    let environment = &mut room.environment;
    let lines = environment_lines(
        environment,
        &mut room.lines,
        &arguments,
        watched,
        devices,
        shared,
    )
    .ok_or(Error::TooLarge)?;
    // SAFETY: IMAGE is one of the words, and the name a part of it up to its end.
    unsafe { *words.add(arguments.image_at) = name.as_ptr().cast() };

    confine::release_console();
    confine::drop_privileges(&arguments)?;
    if let Some(parent) = arguments.parent {
        confine::die_with(parent)?;
    }
    confine::reset_signals()?;
    let image = confine::lay_out(image, devices, descriptors)?;
    let mapped = shared.iter().map(|shared| shared.len).sum::<u64>();
    confine::limit(STACK + arguments.memory + elf.memory + mapped)?;
    let rights = Rights {
        memory: arguments.memory,
        devices,
        shared,
        image,
        empty_path: EMPTY_PATH.as_ptr() as u64,
    };
    let filter = filter::build(&rights, &mut room.filter).ok_or(Error::TooLarge)?;
    confine::install(filter)?;
    // SAFETY: the words from IMAGE on end with the kernel's null, the lines with ours.
    let errno = unsafe {
        let words = words.add(arguments.image_at).cast_const().cast();
        confine::execute(image, EMPTY_PATH, words, lines)
    };
    Err(Error::Execute(source, errno))
}

/// Reads the notes and finds the manifest among them.
fn manifest<'a>(
    image: u32,
    source: Source<'a>,
    elf: &Elf<'_>,
    room: &'a mut [u8],
) -> Result<Manifest<'a>, Error<'a>> {
    let mut room = room;
    let mut found = None;
    for Extent { offset, len } in elf.notes() {
        // All of them together fit: Elf::check has seen to it.
        let (notes, rest) = room
            .split_at_mut_checked(len as usize)
            .ok_or(Error::NotAnImage(source, ElfError::Notes))?;
        room = rest;
        match sys::pread(image, notes, offset) {
            Ok(read) if read == notes.len() => {}
            Ok(_) => return Err(Error::NotAnImage(source, ElfError::Truncated)),
            Err(errno) => return Err(Error::OpenImage(source, errno)),
        }
        match Manifest::parse(notes) {
            Ok(manifest) if found.is_none() => found = Some(manifest),
            Ok(_) => return Err(Error::Manifest(source, ManifestError::Twice)),
            Err(ManifestError::Missing) => {}
            Err(error) => return Err(Error::Manifest(source, error)),
        }
    }
    found.ok_or(Error::Manifest(source, ManifestError::Missing))
}

/// Writes the environment and yields the addresses of its lines, null at the end.
fn environment_lines(
    text: &mut Text<{ environment::LONGEST }>,
    lines: &mut [*const u8],
    arguments: &Arguments<'_>,
    watched: bool,
    devices: &[Opened],
    shared: &[Shared],
) -> Option<*const *const u8> {
    environment::memory(text, arguments.memory).ok()?;
    if watched {
        environment::watched(text).ok()?;
    }
    for (number, device) in devices.iter().enumerate() {
        environment::device(text, number, device).ok()?;
    }
    let first = FIRST_DEVICE + devices.len() as u32;
    for (shared, descriptor) in shared.iter().zip(first..) {
        environment::shared(text, descriptor, shared).ok()?;
    }
    let starts = text.as_bytes().split_inclusive(|byte| *byte == 0);
    // The place after the last line stays null: there is one more than lines can be.
    for (place, line) in lines.iter_mut().zip(starts) {
        *place = line.as_ptr();
    }
    lines.last().filter(|last| last.is_null())?;
    Some(lines.as_ptr())
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = sys::write(
        STANDARD_ERROR,
        b"mirage: the tender failed; this is its own fault\n",
    );
    sys::exit(NOT_STARTED)
}

/// The precompiled core names it in its unwind tables, which are thrown away.
// SAFETY: nothing else in this program has that name, and nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

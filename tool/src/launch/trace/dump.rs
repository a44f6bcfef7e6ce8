//! A core file as a debugger opens it: ELF, type ET_CORE (System V ABI; Linux, fs/binfmt_elf.c).

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use nix::errno::Errno;

use tempfile::NamedTempFile;
use thiserror::Error;

use super::cause::Cause;
use super::maps::Mapping;
use super::tracee::{Memory, Registers, Tracee, Vectors};

const PAGE: u64 = 4096;
const HEADER: u64 = 64;
const ENTRY: u64 = 56;
/// Pages that are looked at together.
const CHUNK: u64 = 256;
/// From here on addresses are the kernel's own.
const KERNEL: u64 = 1 << 63;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

const NT_PRSTATUS: u32 = 1;
const NT_PRFPREG: u32 = 2;
const NT_AUXV: u32 = 6;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// A file that will hold a core, if there is one to write.
///
/// Whether it can be written is found out before the start; until then it has another name, so
/// that what stood there stays when nothing breaks. Only its owner may read it: it holds whatever
/// secrets the unikernel had.
#[derive(Debug)]
pub struct Destination {
    file: NamedTempFile,
    path: PathBuf,
}

/// Why a core could not be written.
#[derive(Debug, Error, Diagnostic)]
#[error("--dump: {} cannot be written: {why}", path.display())]
#[diagnostic(help("give a file in a folder that you may write to"))]
pub struct DumpError {
    path: PathBuf,
    why: io::Error,
}

impl Destination {
    /// A file beside `path`, which takes its name when it is filled.
    pub fn new(path: &Path) -> Result<Self, DumpError> {
        let failed = |why| DumpError {
            path: path.into(),
            why,
        };
        if path.is_dir() || path.file_name().is_none() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = NamedTempFile::with_prefix_in(".core-", folder);
        // Its own error names the other file.
        let file = file.map_err(|error| failed(error.kind().into()))?;
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    /// Fills the file, and gives it its name: yields that.
    pub fn fill(self, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<PathBuf> {
        write(self.file.as_file())?;
        self.file.persist(&self.path)?;
        Ok(self.path)
    }
}

/// Writes what a process that stands still has in memory and registers. Pages of zeros become
/// holes in the file.
///
/// # Errors
///
/// Those of the file; an error of ptrace's when the process is gone.
pub fn write(file: &File, tracee: &Tracee, cause: &Cause) -> io::Result<()> {
    let gone = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
    let mappings = tracee.mappings();
    if mappings.is_empty() {
        let why = "the kernel does not tell what the unikernel has mapped";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let process = Process {
        id: tracee.id(),
        signal: cause.signal(),
        address: cause.address().unwrap_or(0),
        registers: tracee.registers().map_err(gone)?,
        vectors: tracee.vectors().map_err(gone)?,
        auxiliary: tracee.auxiliary(),
    };
    let mut mappings = mappings;
    mappings.retain(|mapping| mapping.readable && mapping.range.end < KERNEL);
    let head = head(&process.notes(&mappings), &mappings);
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&head)?;
    let memory = tracee.memory();
    let present = Present(File::open(format!("/proc/{}/pagemap", tracee.id())).ok());
    for mapping in &mappings {
        copy(&mut file, mapping, &memory, &present)?;
    }
    let end = file.stream_position()?;
    file.flush()?;
    // A hole at the end has no length of its own.
    file.get_ref().set_len(end)
}

/// What the notes tell. The name of the program is not among it: a debugger would compare that
/// with the twin's.
struct Process {
    id: i32,
    signal: i32,
    address: u64,
    registers: Registers,
    vectors: Vectors,
    auxiliary: Vec<u8>,
}

impl Process {
    fn notes(&self, mappings: &[Mapping]) -> Vec<u8> {
        let mut notes = Vec::new();
        note(&mut notes, NT_PRSTATUS, &self.status());
        note(&mut notes, NT_SIGINFO, &self.signal_information());
        note(&mut notes, NT_AUXV, &self.auxiliary);
        note(&mut notes, NT_FILE, &files(mappings));
        note(&mut notes, NT_PRFPREG, &self.vectors());
        notes
    }

    /// `struct elf_prstatus`.
    fn status(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(336);
        put(&mut bytes, &[self.signal as u32, 0, 0, self.signal as u32]);
        // Signals pending and blocked.
        bytes.resize(bytes.len() + 16, 0);
        // Process, parent, group, session; times.
        put(&mut bytes, &[self.id as u32, 0, 0, 0]);
        bytes.resize(bytes.len() + 64, 0);
        let r = &self.registers;
        let registers = [
            r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx,
            r.rdx, r.rsi, r.rdi, r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss, r.fs_base,
            r.gs_base, r.ds, r.es, r.fs, r.gs,
        ];
        bytes.extend(registers.iter().flat_map(|register| register.to_le_bytes()));
        // There are vector registers.
        put(&mut bytes, &[1, 0]);
        bytes
    }

    /// `siginfo_t`.
    fn signal_information(&self) -> Vec<u8> {
        /// SEGV_MAPERR, where it matters: nothing is mapped there.
        const MAPERR: u32 = 1;
        let mut bytes = Vec::with_capacity(128);
        put(&mut bytes, &[self.signal as u32, 0, MAPERR, 0]);
        bytes.extend(self.address.to_le_bytes());
        bytes.resize(128, 0);
        bytes
    }

    /// `struct user_fpregs_struct`.
    fn vectors(&self) -> Vec<u8> {
        let v = &self.vectors;
        let mut bytes = Vec::with_capacity(512);
        for half in [v.cwd, v.swd, v.ftw, v.fop] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(v.rip.to_le_bytes());
        bytes.extend(v.rdp.to_le_bytes());
        put(&mut bytes, &[v.mxcsr, v.mxcr_mask]);
        put(&mut bytes, &v.st_space);
        put(&mut bytes, &v.xmm_space);
        bytes.resize(512, 0);
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// NT_FILE: which mapping shows which file, from which page on.
fn files(mappings: &[Mapping]) -> Vec<u8> {
    let files: Vec<&Mapping> = mappings.iter().filter(|m| m.is_file()).collect();
    let mut words = vec![files.len() as u64, PAGE];
    for file in &files {
        words.extend([file.range.start, file.range.end, file.offset / PAGE]);
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for file in files {
        bytes.extend(file.name.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn note(notes: &mut Vec<u8>, kind: u32, content: &[u8]) {
    put(notes, &[5, content.len() as u32, kind]);
    notes.extend(b"CORE\0\0\0\0");
    notes.extend(content);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

/// The headers and the notes, up to the first mapping's place.
fn head(notes: &[u8], mappings: &[Mapping]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    // ET_CORE, x86-64, version 1.
    bytes.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend(
        [0, HEADER, 0]
            .iter()
            .flat_map(|word: &u64| word.to_le_bytes()),
    );
    bytes.extend([0; 4]);
    let count = mappings.len() as u16 + 1;
    for half in [HEADER as u16, ENTRY as u16, count, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    let notes_at = HEADER + ENTRY * u64::from(count);
    entry(
        &mut bytes,
        PT_NOTE,
        0,
        [notes_at, 0, notes.len() as u64, 0, 4],
    );
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    let first = at;
    for mapping in mappings {
        let flags = 4 | u32::from(mapping.writable) << 1 | u32::from(mapping.executable);
        let len = mapping.range.end - mapping.range.start;
        entry(
            &mut bytes,
            PT_LOAD,
            flags,
            [at, mapping.range.start, len, len, PAGE],
        );
        at += len;
    }
    bytes.extend(notes);
    bytes.resize(first as usize, 0);
    bytes
}

/// A program header: offset, address, length in the file and in memory, alignment.
fn entry(bytes: &mut Vec<u8>, kind: u32, flags: u32, words: [u64; 5]) {
    put(bytes, &[kind, flags]);
    let [offset, address, in_file, in_memory, alignment] = words;
    // The physical address is nobody's.
    for word in [offset, address, 0, in_file, in_memory, alignment] {
        bytes.extend(word.to_le_bytes());
    }
}

/// Copies a mapping's pages; those of zeros, and those that cannot be read, become holes.
fn copy(
    file: &mut BufWriter<&File>,
    mapping: &Mapping,
    memory: &Memory,
    present: &Present,
) -> io::Result<()> {
    let mut buffer = vec![0; (CHUNK * PAGE) as usize];
    let mut at = mapping.range.start;
    while at < mapping.range.end {
        let len = (mapping.range.end - at).min(CHUNK * PAGE);
        let chunk = &mut buffer[..len as usize];
        // What has a name has content before it is touched: files, the kernel's own code.
        if !mapping.name.is_empty() || present.any(at, len) {
            let read = memory.read(at, chunk);
            chunk[read..].fill(0);
            for page in chunk.chunks(PAGE as usize) {
                if page.iter().all(|byte| *byte == 0) {
                    file.seek(SeekFrom::Current(page.len() as i64))?;
                } else {
                    file.write_all(page)?;
                }
            }
        } else {
            file.seek(SeekFrom::Current(len as i64))?;
        }
        at += len;
    }
    Ok(())
}

/// Which pages there are at all: proc(5), `/proc/PID/pagemap`. An arena of many gigabytes costs
/// no time where nothing has been written.
struct Present(Option<File>);

impl Present {
    /// Whether one of the pages exists; they may where the kernel does not tell.
    fn any(&self, address: u64, len: u64) -> bool {
        /// In memory, or swapped out.
        const THERE: u64 = 0b11 << 62;
        let Some(file) = &self.0 else { return true };
        let mut entries = [0; CHUNK as usize * 8];
        let entries = &mut entries[..(len / PAGE) as usize * 8];
        if file.read_exact_at(entries, address / PAGE * 8).is_err() {
            return true;
        }
        let mut words = entries.chunks_exact(8).map(|entry| {
            let mut word = [0; 8];
            word.copy_from_slice(entry);
            u64::from_le_bytes(word)
        });
        words.any(|word| word & THERE != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::{ElfFile64, FileHeader as _};
    use object::{Object as _, ObjectKind, ObjectSegment as _};

    fn mapping(range: std::ops::Range<u64>, name: &str) -> Mapping {
        Mapping {
            range,
            readable: true,
            writable: name.is_empty(),
            executable: false,
            offset: 0x2000,
            name: name.into(),
        }
    }

    #[test]
    fn the_headers_are_those_of_a_core_and_every_mapping_has_its_place() {
        let mappings = [
            mapping(0x10_0000..0x10_2000, "/image"),
            mapping(0x1000_0000_0000..0x1000_0000_1000, ""),
        ];
        let mut notes = Vec::new();
        note(&mut notes, NT_FILE, &files(&mappings));
        let mut core = head(&notes, &mappings);
        assert_eq!(core.len() as u64 % PAGE, 0);
        core.resize(core.len() + 0x3000, 7);
        let file = ElfFile64::<object::LittleEndian>::parse(&*core).unwrap();
        assert_eq!(file.kind(), ObjectKind::Core);
        assert_eq!(file.elf_header().e_machine(object::LittleEndian).0, 62);
        let segments: Vec<(u64, u64, usize)> = file
            .segments()
            .map(|s| (s.address(), s.size(), s.data().unwrap().len()))
            .collect();
        assert_eq!(
            segments,
            [
                (0x10_0000, 0x2000, 0x2000),
                (0x1000_0000_0000, 0x1000, 0x1000)
            ]
        );
    }

    #[test]
    fn a_core_takes_the_place_of_another_only_when_there_is_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("core");
        std::fs::write(&path, "before").unwrap();
        drop(Destination::new(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        let filled = Destination::new(&path)
            .unwrap()
            .fill(|mut file| file.write_all(b"after"));
        assert_eq!(filled.unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap(), b"after");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        for wrong in [folder.path(), &path.join("x"), Path::new("/nowhere/x")] {
            let error = Destination::new(wrong).unwrap_err().to_string();
            assert!(error.contains(&wrong.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_note_of_files_tells_which_mapping_shows_which() {
        let content = files(&[
            mapping(0x10_0000..0x10_2000, "/image"),
            mapping(0..4096, ""),
        ]);
        let words = [1_u64, PAGE, 0x10_0000, 0x10_2000, 2];
        let mut expected: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        expected.extend(b"/image\0");
        assert_eq!(content, expected);
        let mut notes = Vec::new();
        note(&mut notes, NT_FILE, &[1, 2, 3]);
        assert_eq!(
            notes,
            [
                &[5, 0, 0, 0, 3, 0, 0, 0][..],
                b"ELIFCORE\0\0\0\0\x01\x02\x03\0"
            ]
            .concat()
        );
    }
}

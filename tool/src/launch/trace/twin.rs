//! The unstripped twin of an image: functions, source lines, and how to unwind.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::Context;
use gimli::{
    BaseAddresses, Dwarf, EhFrame, EndianSlice, LittleEndian, SectionId, UnwindContext,
    UnwindSection as _, UnwindTableRow,
};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, SymbolMap, SymbolMapName};
use serde::Serialize;

use crate::report::short;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The file's bytes.
pub struct Twin {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Twin {
    /// Reads the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            bytes: fs::read(path)?,
        })
    }

    /// Makes its content out.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it is not an ELF file with debug information as the compiler makes it.
    pub fn symbols(&self) -> io::Result<Symbols<'_>> {
        let wrong = |why: String| {
            let why = format!("{}: {why}", short(&self.path));
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let file = ElfFile64::<object::LittleEndian>::parse(&*self.bytes)
            .map_err(|error| wrong(error.to_string()))?;
        let data = |name: &str| {
            let section = file.section_by_name(name);
            section
                .and_then(|section| section.data().ok())
                .unwrap_or_default()
        };
        let load = |id: SectionId| Ok(EndianSlice::new(data(id.name()), LittleEndian));
        let dwarf = Dwarf::load::<_, gimli::Error>(load);
        let lines = dwarf.and_then(Context::from_dwarf);
        let address = |name: &str| {
            let section = file.section_by_name(name);
            section.map_or(0..0, |s| s.address()..s.address().saturating_add(s.size()))
        };
        let code = address(".text");
        let bases = BaseAddresses::default()
            .set_eh_frame(address(".eh_frame").start)
            .set_text(code.start);
        Ok(Symbols {
            lines: lines.map_err(|error| wrong(error.to_string()))?,
            functions: file.symbol_map(),
            frames: EhFrame::new(data(".eh_frame"), LittleEndian),
            bases,
            code,
        })
    }
}

/// What a twin tells.
pub struct Symbols<'a> {
    lines: Context<Slice<'a>>,
    functions: SymbolMap<SymbolMapName<'a>>,
    frames: EhFrame<Slice<'a>>,
    bases: BaseAddresses,
    code: Range<u64>,
}

/// A function that had been called and had not returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Where in the code it was.
    pub address: u64,
    /// Its name.
    pub function: Option<String>,
    /// The source file, as seen from the current folder.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// The compiler put it into its caller, the frame after this one.
    pub inlined: bool,
}

impl Frame {
    /// `FILE:LINE:COLUMN`, as far as they are known.
    pub fn place(&self) -> Option<String> {
        let mut place = self.file.clone()?;
        for number in [self.line, self.column].into_iter().flatten() {
            place += &format!(":{number}");
        }
        Some(place)
    }
}

#[cfg(test)]
impl<'a> Symbols<'a> {
    /// No names: how to unwind alone, at address 0, and where the code is.
    pub fn of_frames(frames: &'a [u8], code: Range<u64>) -> Self {
        let nothing = |_| Ok(EndianSlice::new(&[], LittleEndian));
        let dwarf = Dwarf::load::<_, gimli::Error>(nothing).unwrap();
        Self {
            lines: Context::from_dwarf(dwarf).unwrap(),
            functions: SymbolMap::new(Vec::new()),
            frames: EhFrame::new(frames, LittleEndian),
            bases: BaseAddresses::default().set_eh_frame(0),
            code,
        }
    }
}

impl Symbols<'_> {
    /// Whether an address lies in the code.
    pub fn is_code(&self, address: u64) -> bool {
        self.code.contains(&address)
    }

    /// How the function that holds `address` keeps what its caller had in registers.
    pub fn unwinding<'c>(
        &self,
        context: &'c mut UnwindContext<usize>,
        address: u64,
    ) -> Option<&'c UnwindTableRow<usize>> {
        let (frames, bases) = (&self.frames, &self.bases);
        frames
            .unwind_info_for_address(bases, context, address, EhFrame::cie_from_offset)
            .ok()
    }

    /// The functions of the instruction that holds the byte at `probe`, the innermost first: those
    /// that the compiler put into others count. `address` is what the frames are to say.
    pub fn frames(&self, address: u64, probe: u64) -> Vec<Frame> {
        let mut found = Vec::new();
        let unknown = Frame {
            address,
            function: None,
            file: None,
            line: None,
            column: None,
            inlined: false,
        };
        if let Ok(mut frames) = self.lines.find_frames(probe).skip_all_loads() {
            while let Ok(Some(frame)) = frames.next() {
                let function = frame
                    .function
                    .as_ref()
                    .and_then(|name| name.demangle().ok());
                let place = frame.location.as_ref();
                found.push(Frame {
                    function: function.map(|name| plain(&name)),
                    file: place.and_then(|place| place.file).map(shown),
                    line: place.and_then(|place| place.line),
                    column: place.and_then(|place| place.column).filter(|c| *c > 0),
                    inlined: true,
                    ..unknown.clone()
                });
            }
        }
        if found.is_empty() {
            found.push(unknown);
        }
        if let Some(outermost) = found.last_mut() {
            outermost.inlined = false;
            if outermost.function.is_none() && self.is_code(probe) {
                let symbol = self.functions.before(probe);
                outermost.function = symbol.map(|symbol| {
                    let name = addr2line::demangle_auto(symbol.name().into(), None);
                    plain(&name)
                });
            }
        }
        found
    }
}

/// A function's name without the hash that the compiler adds.
fn plain(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            rest.into()
        }
        _ => name.into(),
    }
}

/// A source file as a person would look for it: from the current folder; a package of a registry
/// by its name and version; the standard library's by the library.
fn shown(path: &str) -> String {
    if let Some((_, rest)) = path.split_once("/registry/src/")
        && let Some((_, rest)) = rest.split_once('/')
    {
        return rest.into();
    }
    if path.starts_with("/rustc/")
        && let Some((_, rest)) = path.split_once("/library/")
    {
        return rest.into();
    }
    short(Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_as_a_person_would_look_for_it() {
        let here = std::env::current_dir().unwrap();
        let own = here.join("src/lib.rs");
        assert_eq!(shown(own.to_str().unwrap()), "src/lib.rs");
        assert_eq!(shown("/elsewhere/src/lib.rs"), "/elsewhere/src/lib.rs");
        let registry = "/home/a/.cargo/registry/src/index.crates.io-1949cf8c/log-0.4.1/src/lib.rs";
        assert_eq!(shown(registry), "log-0.4.1/src/lib.rs");
        let core = "/rustc/59807616e1fa/library/core/src/option.rs";
        assert_eq!(shown(core), "core/src/option.rs");
    }

    #[test]
    fn a_name_is_shown_without_its_hash() {
        assert_eq!(plain("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(plain("a::h012345"), "a::h012345");
        assert_eq!(plain("main"), "main");
    }

    #[test]
    fn what_is_no_twin_is_refused_and_named() {
        let twin = Twin {
            path: "x.debug".into(),
            bytes: vec![0; 100],
        };
        let error = twin.symbols().err().unwrap();
        assert!(error.to_string().starts_with("x.debug: "), "{error}");
    }
}

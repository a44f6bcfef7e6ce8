//! What every image must be, read from its file.

use anyhow::{Context as _, Result, ensure};
use object::elf::{PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Object, ObjectSymbol};

use super::{Context, Test};

pub const TESTS: &[Test] = &[
    Test {
        name: "every image is complete: no undefined symbol, no interpreter, no library",
        needs: &[],
        run: complete,
    },
    Test {
        name: "no segment of an image is both writable and executable, and neither is the stack",
        needs: &[],
        run: write_xor_execute,
    },
    Test {
        name: "the images of hello and of a website without assets are small",
        needs: &[],
        run: small,
    },
    Test {
        name: "the same sources give the same image, byte for byte",
        needs: &[],
        run: reproducible,
    },
];

const EXAMPLES: [&str; 9] = [
    "examples/hello",
    "examples/kv",
    "examples/echo",
    "examples/metrics",
    "examples/website",
    "xtask/images/bulk",
    "xtask/images/crash",
    "xtask/images/hog",
    "xtask/images/race",
];

/// Hands every image to `check`: as it runs, or its twin that keeps the symbols.
fn each(context: &Context, twin: bool, check: impl Fn(&ElfFile64) -> Result<()>) -> Result<()> {
    for example in EXAMPLES {
        let mut path = context.product.image(example, &[])?;
        if twin {
            path.add_extension("debug");
        }
        let shown = path.display();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
        let file = ElfFile64::parse(&*bytes).with_context(|| format!("{shown} is no ELF"))?;
        check(&file).with_context(|| shown.to_string())?;
    }
    Ok(())
}

fn complete(context: &Context) -> Result<()> {
    each(context, true, |file| {
        let (mut defined, mut undefined) = (0, Vec::new());
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            match symbol.name() {
                Ok(name) if symbol.is_undefined() && !name.is_empty() => undefined.push(name),
                _ => defined += 1,
            }
        }
        let names = undefined.join(", ");
        ensure!(undefined.is_empty(), "undefined symbols: {names}");
        ensure!(
            defined > 10,
            "{defined} symbols: this is not the twin that keeps them"
        );
        Ok(())
    })?;
    each(context, false, |file| {
        for header in file.elf_program_headers() {
            let kind = header.p_type(file.endian());
            ensure!(kind != PT_INTERP, "it asks for an interpreter");
            ensure!(kind != PT_DYNAMIC, "it is linked dynamically");
        }
        Ok(())
    })
}

fn write_xor_execute(context: &Context) -> Result<()> {
    each(context, false, |file| {
        let mut loaded = 0;
        for header in file.elf_program_headers() {
            let flags = header.p_flags(file.endian());
            let address = header.p_vaddr(file.endian());
            let kind = header.p_type(file.endian());
            let stack = kind == PT_GNU_STACK;
            ensure!(!stack || (flags & PF_X).0 == 0, "its stack is executable");
            loaded += usize::from(kind == PT_LOAD);
            let both = (flags & PF_W).0 != 0 && (flags & PF_X).0 != 0;
            ensure!(
                !both,
                "the segment at {address:#x} is writable and executable"
            );
        }
        ensure!(
            loaded > 1,
            "it has {loaded} loaded segments: code and data share one"
        );
        Ok(())
    })
}

fn small(context: &Context) -> Result<()> {
    let folder = tempfile::tempdir_in(context.scratch.path())?;
    std::fs::write(folder.path().join("index.html"), "\n")?;
    let assets = format!("assets={}", folder.path().display());
    for (example, keys, most) in [
        ("examples/hello", &[][..], 64_000),
        ("examples/website", &[assets][..], 256_000),
    ] {
        let size = std::fs::metadata(context.product.image(example, keys)?)?.len();
        ensure!(
            size <= most,
            "the image of {example} has {size} bytes, more than {most}"
        );
    }
    Ok(())
}

/// Two target folders, so that nothing of the first build serves the second.
fn reproducible(context: &Context) -> Result<()> {
    let build = || -> Result<Vec<u8>> {
        let target = tempfile::tempdir_in(context.scratch.path())?;
        let mut command = context
            .product
            .mirage(&["build", "examples/hello", "--json"]);
        command.env("CARGO_TARGET_DIR", target.path());
        Ok(std::fs::read(crate::product::built(command)?)?)
    };
    ensure!(build()? == build()?, "two builds differ");
    Ok(())
}

//! A small world of packages in a temporary folder: interfaces, a platform that makes ordinary
//! programs, a provider with a build step, and an application. Cargo needs no network for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The world, gone when dropped.
pub struct World {
    folder: tempfile::TempDir,
}

const WORKSPACE: &str = "\
[workspace]
resolver = \"3\"
members = [\"app\", \"basic\", \"metal\"]
";

const APP: &str = "\
[package]
name = \"app\"
version = \"0.1.0\"
edition = \"2024\"

[target.'cfg(mirage)'.dependencies]
basic = { path = \"../basic\", default-features = false }
metal = { path = \"../metal\" }

[package.metadata.mirage]
main = \"app::main(console, greeting, keys)\"

[package.metadata.mirage.devices]
greeting = { from = \"greetings\" }

[package.metadata.mirage.keys]
name = { type = \"string\", default = \"world\", doc = \"Whom to greet\" }
status = { type = \"u16\", default = 0 }
";

const APP_LIB: &str = "\
pub struct Keys {
    pub name: String,
    pub status: u16,
}

pub async fn main(
    console: impl Fn(&str),
    greeting: &'static [u8],
    keys: Keys,
) -> Result<(), String> {
    console(&format!(\"{} {}\", String::from_utf8_lossy(greeting).trim(), keys.name));
    match keys.status {
        0 => Ok(()),
        9 => loop {
            std::thread::park();
        },
        status => Err(format!(\"{status}\")),
    }
}
";

const BASIC: &str = "\
[package]
name = \"basic\"
version = \"0.1.0\"
edition = \"2024\"

[features]
default = [\"broken\"]
broken = []
pack = []

[package.metadata.mirage.interfaces]
console = { shared = true }
greeting = {}
disk = { attached = \"block\" }

[package.metadata.mirage.provides.console]
new = \"basic::console(runtime)\"

[package.metadata.mirage.provides.disk]
new = \"basic::disk(name)\"

[package.metadata.mirage.provides.greeting]
new = \"basic::greeting(sealed)\"
build = { function = \"basic::pack::pack\", features = [\"pack\"] }
primary = \"from\"

[package.metadata.mirage.provides.greeting.keys]
from = { type = \"path\", at = \"build\", required = true, doc = \"Folder of greetings\" }
";

const BASIC_LIB: &str = "\
#[cfg(feature = \"broken\")]
compile_error!(\"the application did not ask for the default features\");

pub fn console<R>(_runtime: R) -> impl Fn(&str) {
    |text: &str| println!(\"{text}\")
}

pub fn disk(name: &'static str) -> &'static str {
    name
}

pub fn greeting(sealed: &'static [u8]) -> &'static [u8] {
    assert!((sealed.as_ptr() as usize).is_multiple_of(16));
    sealed
}

#[cfg(feature = \"pack\")]
pub mod pack {
    use std::path::Path;

    pub fn pack(from: &Path, out: &Path) -> Result<(), String> {
        let mut files: Vec<_> = std::fs::read_dir(from)
            .map_err(|error| error.to_string())?
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let texts: Vec<String> = files.iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
        if texts.is_empty() {
            return Err(\"the folder is empty\".into());
        }
        std::fs::write(out, texts.concat()).map_err(|error| error.to_string())
    }
}
";

const METAL: &str = "\
[package]
name = \"metal\"
version = \"0.1.0\"
edition = \"2024\"

[package.metadata.mirage.platform]
artifact = \"program\"
runs-on = [\"host\"]
entry = \"metal::program\"
";

const METAL_LIB: &str = "\
use std::fmt::Display;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[derive(Clone)]
pub struct Runtime;

impl Runtime {
    pub fn check<T, E: Display>(&self, name: &str, result: Result<T, E>) -> Result<T, String> {
        result.map_err(|error| format!(\"{name}: {error}\"))
    }

    pub fn finish(&self, outcome: Result<(), String>) -> Result<(), String> {
        outcome
    }
}

pub struct Keys(pub Vec<(String, String)>);

impl Keys {
    pub fn get<T: std::str::FromStr>(&self, name: &str) -> Result<T, String> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        let (_, value) = found.ok_or(\"no value\")?;
        value.parse().map_err(|_| \"wrong type\".to_string())
    }
}

pub fn run<F: Future<Output = Result<(), String>>>(
    keys: &[(&str, Option<&str>)],
    main: impl FnOnce(Runtime, Keys) -> F,
) {
    let defaults = keys.iter().filter_map(|(k, v)| Some((k.to_string(), v.as_ref()?.to_string())));
    let given = std::env::args().skip(1);
    let given = given.filter_map(|word| word.split_once('=').map(|(k, v)| (k.into(), v.into())));
    let keys = Keys(defaults.chain(given).collect());
    let main = pin!(main(Runtime, keys));
    match main.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(status)) => std::process::exit(status.parse().unwrap_or(1)),
        Poll::Pending => unreachable!(),
    }
}

#[macro_export]
macro_rules! program {
    (
        devices: [$(($device:expr, $kind:ident)),* $(,)?],
        keys: [$(($key:expr, $type:ident, $default:expr, $required:expr, $doc:expr $(,)?)),* $(,)?],
        main: $main:expr $(,)?
    ) => {
        fn main() {
            $crate::run(&[$(($key, $default)),*], $main)
        }
    };
}
";

impl World {
    /// A world in which the application builds.
    pub fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        world.write("Cargo.toml", WORKSPACE);
        world.write("app/Cargo.toml", APP);
        world.write("app/src/lib.rs", APP_LIB);
        world.write("app/greetings/1.txt", "Good day,");
        world.write("basic/Cargo.toml", BASIC);
        world.write("basic/src/lib.rs", BASIC_LIB);
        world.write("metal/Cargo.toml", METAL);
        world.write("metal/src/lib.rs", METAL_LIB);
        world
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces text in a file that must have it.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{path} has {from}");
        self.write(path, &text.replace(from, to));
    }

    /// The tool, to be run in `folder`, with an environment that is the same everywhere.
    pub fn tool(&self, folder: &str) -> Command {
        let mut command = tool(&self.path(folder));
        command.env("CARGO_TARGET_DIR", self.path("target"));
        command
    }

    /// Runs the tool in the world's root.
    pub fn mirage(&self, arguments: &[&str]) -> Said {
        Said::new(self.tool("").args(arguments).output().unwrap())
    }
}

/// The tool in a folder, heeding nothing of the environment that these tests run in.
pub fn tool(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirage"));
    command.current_dir(folder).env("CARGO_NET_OFFLINE", "true");
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "MIRAGE_HOME",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    command
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn new(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It failed with this status and said all of this.
    #[track_caller]
    pub fn failed(&self, status: i32, said: &[&str]) {
        assert_eq!(self.status, status, "{self:#?}");
        for said in said {
            assert!(self.err.contains(said), "`{said}` in {self:#?}");
        }
    }

    /// It succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{self:#?}");
        self
    }
}

//! The image under test, and how it is started.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use mirage_manifest::Kind;

/// The program.
pub const TENDER: &str = env!("CARGO_BIN_EXE_mirage-tender-process");

/// The probe's file, without devices.
pub static PROBE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe");
    let folder = folder();
    let output = folder.path().join("probe");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=bin", "--crate-name=probe"]);
    command.args([
        "-Cpanic=abort",
        "-Copt-level=1",
        "-Crelocation-model=static",
    ]);
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        &format!("-Wl,-T,{}", source.join("link.ld").display()),
    ] {
        command.arg(format!("-Clink-arg={argument}"));
    }
    command.arg(source.join("image.rs")).arg("-o").arg(&output);
    let built = crate::probe::output(&mut command);
    assert!(built.status.success(), "{}", text(&built.stderr));
    std::fs::read(output).unwrap()
});

/// Held while a child is on its way from fork to exec, and while an image is open for writing: a
/// child that inherits that descriptor would make the image one that cannot be executed.
static FORK: Mutex<()> = Mutex::new(());

/// Starts a command.
pub fn spawn(command: &mut Command) -> Child {
    let _held = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

/// Runs a command to its end and takes what it says.
pub fn output(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command.stdin(Stdio::null()))
        .wait_with_output()
        .unwrap()
}

/// A folder for one test's files that an image may be executed in by any user.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// An image in a folder of its own.
pub struct Image {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
}

/// The probe, declaring these devices.
pub fn image(devices: &[(Kind, &str)]) -> Image {
    image_of(&with_note(&note(devices)))
}

/// An image of these bytes.
pub fn image_of(bytes: &[u8]) -> Image {
    let folder = folder();
    let path = folder.path().join("probe");
    let _held = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o755).open(&path);
    file.as_mut().unwrap().write_all(bytes).unwrap();
    Image { folder, path }
}

/// The note of these devices, as the documentation of mirage-manifest lays it down.
pub fn note(devices: &[(Kind, &str)]) -> Vec<u8> {
    let mut description = vec![1, devices.len() as u8];
    for (kind, name) in devices {
        description.push(if *kind == Kind::Net { 1 } else { 2 });
        description.push(name.len() as u8);
        description.extend(name.as_bytes());
    }
    raw_note(&description)
}

/// A note of ours with any description.
pub fn raw_note(description: &[u8]) -> Vec<u8> {
    let mut note = vec![7, 0, 0, 0];
    note.extend((description.len() as u32).to_le_bytes());
    note.extend([1, 0, 0, 0]);
    note.extend(b"Mirage\0\0");
    note.extend(description);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// The probe with another note in place of its own.
pub fn with_note(note: &[u8]) -> Vec<u8> {
    let mut file = PROBE.clone();
    let offset = file.len() as u64;
    let entry = program_header(&file, 4);
    file[entry + 8..entry + 16].copy_from_slice(&offset.to_le_bytes());
    file[entry + 32..entry + 40].copy_from_slice(&(note.len() as u64).to_le_bytes());
    file.extend(note);
    file
}

/// Where in the file the first program header of this type stands.
pub fn program_header(file: &[u8], kind: u8) -> usize {
    let mut entries = (64..).step_by(56).take(file[56].into());
    entries.find(|at| file[*at] == kind).unwrap()
}

impl Image {
    /// A file beside the image.
    pub fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// The tender with these options before the image and these words after it.
    pub fn command(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(TENDER);
        command.args(options).arg(&self.path).args(words);
        command.stdin(Stdio::null());
        command.env("SECRET", "of the parent");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, options: &[&str], words: &[&str]) -> Output {
        output(&mut self.command(options, words))
    }

    /// Runs it with one `call=` after the other: their results.
    #[track_caller]
    pub fn results(&self, options: &[&str], calls: &[&str]) -> Vec<i64> {
        let words: Vec<String> = calls.iter().map(|call| format!("call={call}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.run(options, &words);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines = text(&output.stdout);
        lines.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Runs it with one word and expects the signal of a forbidden system call.
    #[track_caller]
    pub fn is_killed(&self, options: &[&str], word: &str) {
        let output = self.run(options, &[word]);
        // SIGSYS.
        assert_eq!(output.status.signal(), Some(31), "{word}: {output:?}");
        assert_eq!(text(&output.stdout), "", "{word}");
    }
}

/// Expects status 125 and one line on the standard error stream that contains `message`.
#[track_caller]
pub fn refused(output: &Output, message: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(error.starts_with("mirage: "), "{error}");
    assert!(
        error.ends_with('\n') && error.lines().count() == 1,
        "{error}"
    );
    assert!(error.contains(message), "`{message}` is not in: {error}");
    assert_eq!(text(&output.stdout), "");
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test, or a part of one, does not run here.
pub fn skip(what: &str, why: &str) {
    let line = format!("SKIPPED {what}: {why}\n");
    // Not eprint!, which the harness keeps back.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

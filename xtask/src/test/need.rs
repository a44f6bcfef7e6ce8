//! What a test needs of the machine, and how to get it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// A program, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// A target of the compiler.
    Target(&'static str),
    /// Network namespaces and taps: root, or a user namespace where `/dev/net/tun` opens.
    Tap,
}

/// Why a test cannot run.
pub struct Missing {
    /// In words.
    pub reason: String,
    /// The Debian package that would help.
    pub package: Option<&'static str>,
}

impl Need {
    /// `None` when the need is met.
    pub fn missing(self) -> Option<Missing> {
        match self {
            Self::Program(name, package) => find(name).is_none().then(|| Missing {
                reason: format!("there is no program {name}"),
                package: Some(package),
            }),
            Self::Target(name) => (!has_target(name)).then(|| Missing {
                reason: format!("the compiler has no target {name}: rustup target add {name}"),
                package: None,
            }),
            Self::Tap if find("ip").is_none() => Self::Program("ip", "iproute2").missing(),
            Self::Tap => crate::net::ready().err().map(|error| Missing {
                reason: format!("no network namespace with a tap, run as root: {error:#}"),
                package: None,
            }),
        }
    }
}

/// Whether the compiler can build for a target.
fn has_target(name: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", name])
        .output();
    output
        .is_ok_and(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Where a program lies.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // An ordinary user's path often lacks the folders of system programs.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// An ordinary user goes on in a user namespace, as the same user, where that may make network
/// namespaces and taps. The network and the files stay the same.
pub fn gain_namespaces() {
    const INSIDE: &str = "XTASK_IN_USER_NAMESPACE";
    if rustix::process::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return;
    }
    let user_namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-current-user", "--keep-caps"]);
        command
    };
    let mut probe = user_namespace();
    probe
        .args(["--net", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Comes back only with an error, and then we go on without.
        let _ = user_namespace()
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
    }
}

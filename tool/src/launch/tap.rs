//! Whether a tap can be used, found out before the start.

use std::fs;
use std::path::Path;

use miette::Diagnostic;
use mirage_tap::Tap;
use thiserror::Error;

/// Why a tap cannot be used.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum Error {
    /// There is no such interface.
    #[error("there is no tap `{name}`")]
    #[diagnostic(help(
        "make it: sudo ip tuntap add dev {name} mode tap user $USER && \
         sudo ip address add 10.0.0.1/24 dev {name} && sudo ip link set {name} up"
    ))]
    Missing { name: String },
    /// The interface is another thing.
    #[error("the network interface `{name}` is not a tap")]
    #[diagnostic(help("make one: sudo ip tuntap add dev tap0 mode tap user $USER"))]
    NotATap { name: String },
    /// It belongs to somebody else.
    #[error("the tap `{name}` belongs to another user")]
    #[diagnostic(help("make one of your own: sudo ip tuntap add dev NAME mode tap user $USER"))]
    Foreign { name: String },
    /// The kernel refuses.
    #[error("--pcap: the tap `{name}` cannot be opened: {why}")]
    #[diagnostic(help(
        "end the process that has it; `ip -details link show {name}` tells its owner"
    ))]
    Open { name: String, why: String },
}

/// Opens a tap, to stand between it and an image. Returns at once.
pub fn open(name: &str) -> Result<Tap, Error> {
    Tap::open(name).map_err(|why| Error::Open {
        name: name.into(),
        why: why.to_string(),
    })
}

/// Looks at a tap. Returns at once.
pub fn check(name: &str) -> Result<(), Error> {
    let user = rustix::process::geteuid().as_raw();
    match check_in(Path::new("/sys/class/net"), name, user) {
        // In a network namespace made by `unshare --net`, sysfs still shows the one it was mounted
        // in; procfs shows ours. The kernel then judges the rest when the tap is opened.
        Err(Error::Missing { .. }) if listed(name) => Ok(()),
        result => result,
    }
}

/// Whether this process's network namespace has the interface.
fn listed(name: &str) -> bool {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let mut names = table.lines().filter_map(|line| line.split_once(':'));
    names.any(|(listed, _)| listed.trim() == name)
}

fn check_in(interfaces: &Path, name: &str, user: u32) -> Result<(), Error> {
    const IFF_TAP: u32 = 2;
    let folder = interfaces.join(name);
    let name = name.to_string();
    if !folder.exists() {
        return Err(Error::Missing { name });
    }
    let flags = fs::read_to_string(folder.join("tun_flags")).unwrap_or_default();
    let flags = flags.trim().trim_start_matches("0x");
    match u32::from_str_radix(flags, 16) {
        Ok(flags) if flags & IFF_TAP != 0 => {}
        _ => return Err(Error::NotATap { name }),
    }
    let owner = fs::read_to_string(folder.join("owner")).unwrap_or_default();
    match owner.trim().parse::<u32>() {
        Ok(owner) if user != 0 && owner != user => Err(Error::Foreign { name }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_of_this_network_namespace_is_listed() {
        assert!(listed("lo"));
        assert!(!listed("l"));
    }

    #[test]
    fn a_tap_is_one_that_exists_is_a_tap_and_is_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[(&str, &str)]| {
            fs::create_dir(folder.path().join(name)).unwrap();
            for (file, text) in files {
                fs::write(folder.path().join(name).join(file), text).unwrap();
            }
        };
        make("tap0", &[("tun_flags", "0x1002\n"), ("owner", "1000\n")]);
        make("tun0", &[("tun_flags", "0x1001\n"), ("owner", "1000\n")]);
        make("any0", &[("tun_flags", "0x1002\n"), ("owner", "-1\n")]);
        make("eth0", &[]);
        let check = |name: &str, user| check_in(folder.path(), name, user);
        let name = |name: &str| name.to_string();
        assert_eq!(check("tap0", 1000), Ok(()));
        assert_eq!(check("tap0", 0), Ok(()));
        assert_eq!(check("any0", 1000), Ok(()));
        assert_eq!(
            check("tap0", 1001),
            Err(Error::Foreign { name: name("tap0") })
        );
        assert_eq!(
            check("tun0", 1000),
            Err(Error::NotATap { name: name("tun0") })
        );
        assert_eq!(
            check("eth0", 1000),
            Err(Error::NotATap { name: name("eth0") })
        );
        assert_eq!(
            check("tap1", 1000),
            Err(Error::Missing { name: name("tap1") })
        );
    }
}

//! Who holds a port of this machine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The process that listens where `address` would, as far as this user may know.
pub fn holder(address: SocketAddr, udp: bool) -> Option<String> {
    let (state, tables) = if udp {
        ("07", ["/proc/net/udp", "/proc/net/udp6"])
    } else {
        ("0A", ["/proc/net/tcp", "/proc/net/tcp6"])
    };
    let tables = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> = tables
        .flat_map(|table| inodes(&table, address.port(), state))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let (pid, holder) = processes
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, entry.path()))
        })
        .find(|(_, process)| holds(process, &inodes))?;
    let name = fs::read_to_string(holder.join("comm")).ok()?;
    Some(format!("{} (process {pid})", name.trim()))
}

/// The sockets in a table of proc(5) that have this local port and are in this state.
fn inodes(table: &str, port: u16, state: &str) -> Vec<String> {
    let wanted = format!("{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, port) = fields.get(1)?.rsplit_once(':')?;
            let same = port == wanted && *fields.get(3)? == state;
            same.then(|| fields.get(9).map(ToString::to_string))?
        })
        .collect()
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(process.join("fd"));
    let descriptors = descriptors.into_iter().flatten().flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| {
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder(listener.local_addr().unwrap(), false).unwrap();
        assert!(
            holder.ends_with(&format!("(process {})", std::process::id())),
            "{holder}"
        );
    }

    #[test]
    fn nobody_holds_a_port_that_nobody_listens_on() {
        assert_eq!(holder("127.0.0.1:0".parse().unwrap(), false), None);
    }
}

//! Who listens on a port: proc_pid_net(5), and the sockets among a process's descriptors.

use std::collections::BTreeSet;

use super::mark::Mark;
use super::table;

/// Who listens on a port of the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// A process of the group, or one that carries the mark, and nobody else.
    Ours,
    /// Somebody else.
    Other,
    /// Nobody.
    Nobody,
    /// This platform does not tell.
    Unknown,
}

/// Who listens on `port` so that a connection to 127.0.0.1 reaches it: a process of the group `group`, or one with
/// just this mark, or somebody else. Reads files; keep it off the async threads.
pub fn owns_port(group: u32, mark: Option<&Mark>, port: u16) -> Listener {
    if !cfg!(target_os = "linux") {
        return Listener::Unknown;
    }
    let mut inodes = reached(port);
    if inodes.is_empty() {
        return Listener::Nobody;
    }
    let ours = |pid: &u32| {
        table::entry(*pid).is_some_and(|entry| entry.group == group)
            || mark.is_some_and(|mark| table::marks(*pid).contains(mark))
    };
    for pid in table::pids().into_iter().filter(ours) {
        for inode in sockets(pid) {
            inodes.remove(&inode);
        }
        if inodes.is_empty() {
            return Listener::Ours;
        }
    }
    Listener::Other
}

/// A process that listens on `port` as above, if the system lets us see whose the socket is. Reads files.
pub(crate) fn listener_on(port: u16) -> Option<u32> {
    let inodes = reached(port);
    if inodes.is_empty() {
        return None;
    }
    table::pids().into_iter().find(|pid| sockets(*pid).iter().any(|inode| inodes.contains(inode)))
}

/// The inodes of the sockets that a connection to `port` of 127.0.0.1 reaches.
fn reached(port: u16) -> BTreeSet<u64> {
    // No IPv6 in the kernel, no file.
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().flat_map(std::fs::read_to_string);
    tables.flat_map(|text| listening(&text, port)).collect()
}

/// The inodes of a process's sockets; none when it is not ours to look into.
fn sockets(pid: u32) -> Vec<u64> {
    let Ok(folder) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let link = |item: std::fs::DirEntry| socket(std::fs::read_link(item.path()).ok()?.to_str()?);
    folder.flatten().filter_map(link).collect()
}

fn socket(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inodes of the sockets in a table that listen (state 0A) on a port of 127.0.0.1 or of all addresses. Addresses
/// are hexadecimal in groups of four bytes, each in the machine's order; both orders are accepted.
fn listening(text: &str, port: u16) -> Vec<u64> {
    const REACHED: [&str; 8] = [
        "0100007F",
        "7F000001",
        "00000000",
        "00000000000000000000000000000000",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000FFFF7F000001",
        "0000000000000000FFFF000000000000",
        "00000000000000000000FFFF00000000",
    ];
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, number) = fields.nth(1)?.split_once(':')?;
        let listens = fields.nth(1)? == "0A";
        let inode = fields.nth(5)?.parse().ok()?;
        (listens && REACHED.contains(&address) && u16::from_str_radix(number, 16).ok()? == port).then_some(inode)
    };
    text.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_tables() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0\n\
             1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0\n\
             2: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0\n\
             3: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 \
             00:00000000 00000000  1000        0 4714 1 0\n\
             broken\n";
        assert_eq!(listening(text, 8080), [4711, 4714]);
        assert_eq!(listening(text, 8081), [0; 0]);
        assert_eq!(socket("socket:[12]"), Some(12));
        assert_eq!(socket("pipe:[12]"), None);
    }
}

//! The table of processes: `/proc` on Linux (proc_pid_stat(5), proc_pid_environ(5)).

use super::mark::Mark;

/// One process, as `/proc/<pid>/stat` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: u32,
    /// The program's short name, at most 15 bytes.
    pub(super) name: String,
    pub(super) state: u8,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// Clock ticks between boot and start.
    pub(super) started: u64,
}

impl Entry {
    /// Whether it can still do anything: not a zombie, not dead.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Reads one line of `/proc/<pid>/stat`. The name is in brackets and may itself hold brackets and spaces: the last
/// closing one counts.
pub(super) fn parse_stat(text: &str) -> Option<Entry> {
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some(Entry {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: *fields.next()?.as_bytes().first()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        // Field 22 of the line; the state is field 3 and two more were taken.
        started: fields.nth(16)?.parse().ok()?,
    })
}

/// The process of this number, if there is one.
pub(super) fn entry(pid: u32) -> Option<Entry> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// The numbers of all processes; none on platforms without `/proc`.
pub(super) fn pids() -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    folder.filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The living processes of a group.
pub(super) fn group(group: u32) -> Vec<Entry> {
    pids().into_iter().filter_map(entry).filter(|entry| entry.group == group && entry.lives()).collect()
}

/// The marks of a process; none when it has none or its environment is not ours to read.
pub(super) fn marks(pid: u32) -> Vec<Mark> {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return Vec::new() };
    environment
        .split(|byte| *byte == 0)
        .filter_map(|pair| pair.strip_prefix(Mark::VARIABLE.as_bytes())?.strip_prefix(b"="))
        .flat_map(Mark::parse_all)
        .collect()
}

/// Ourselves and all processes above us.
pub(super) fn lineage() -> Vec<u32> {
    let mut line = vec![std::process::id()];
    while let Some(parent) = line.last().and_then(|pid| entry(*pid)).map(|entry| entry.parent) {
        if parent == 0 || line.contains(&parent) {
            break;
        }
        line.push(parent);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_brackets_and_spaces() {
        let entry = parse_stat("42 (a) S (b) Z 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n").unwrap();
        assert_eq!((entry.pid, entry.name.as_str(), entry.parent, entry.group), (42, "a) S (b", 7, 42));
        assert_eq!(entry.started, 987_654);
        assert!(!entry.lives());
        for broken in ["", "42", "42 (x", "42 (x) ", "42 (x) S 1", "x (y) S 1 1 1"] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn finds_ourselves() {
        let own = entry(std::process::id()).unwrap();
        assert!(own.lives() && own.started > 0);
        assert!(lineage().len() > 1);
        assert!(pids().contains(&own.pid));
    }
}

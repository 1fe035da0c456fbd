//! The table of processes: `/proc` on Linux (proc_pid_stat(5), proc_pid_environ(5)).

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

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

/// The number that was given last to a process or thread in our namespace (proc_loadavg(5)). Numbers are given in turn:
/// if it is that of a child that is not reaped yet, then nothing was started since that child. `None` where the file is
/// another program's imitation, which may lag behind.
fn last_given() -> Option<u32> {
    let mut file = std::fs::File::open("/proc/loadavg").ok()?;
    let own = std::fs::metadata("/proc/self").ok()?;
    if file.metadata().ok()?.dev() != own.dev() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    // Nobody has the number 0: gVisor says it where it doesn't know.
    text.trim_end().rsplit_once(' ')?.1.parse().ok().filter(|last| *last != 0)
}

/// Since when a child of ours runs, by time and by number: what it starts gets a later one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    child: u32,
    at: Instant,
}

/// How many microseconds the kernel takes at least to give a number: a tenth of what it does on its fastest machines.
const GIVES: u128 = 1;

impl Since {
    /// Since this child, which was started after `at`.
    pub(super) fn child(child: u32, at: Instant) -> Since {
        Since { child, at }
    }

    /// Whether nothing at all was started since. Only to be asked before the child is reaped: its number is not given
    /// again while it is held.
    pub(super) fn nothing(&self) -> bool {
        last_given() == Some(self.child)
    }

    /// All processes that can have been started since, and others where that can't be told.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut all = pids();
        // After the listing: what is listed was given by then.
        let last = last_given();
        let most =
            std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|most| most.trim().parse::<u32>().ok());
        if let (Some(last), Some(most)) = (last, most)
            && self.at.elapsed().as_micros() / GIVES < u128::from(most) / 2
        {
            all.retain(|pid| self.is_later(*pid, last));
        }
        all
    }

    /// Whether a number was given after the child's, up to the last one; they begin anew at the largest.
    fn is_later(&self, pid: u32, last: u32) -> bool {
        if self.child <= last { self.child < pid && pid <= last } else { self.child < pid || pid <= last }
    }
}

/// Whether another process than the child lives in the child's group.
pub(super) fn others_in_group(since: Since) -> bool {
    since.pids().into_iter().filter_map(entry).any(|entry| entry.group == since.child && entry.lives())
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A program chooses its own name, and must not choose what else is read of it.
        #[test]
        fn no_name_changes_what_is_read(name in "[ -~()]{0,15}", pid in 1_u32.., parent in any::<u32>(), started in any::<u64>()) {
            let line = format!("{pid} ({name}) S {parent} 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {started} 1 2 3\n");
            let entry = parse_stat(&line).unwrap();
            prop_assert_eq!((entry.pid, entry.state, entry.parent, entry.group, entry.started), (pid, b'S', parent, 8, started));
            prop_assert_eq!(entry.name, name);
        }

        #[test]
        fn reads_anything_without_failing(line in "[0-9() SZé\\n]{0,40}") {
            let _ = parse_stat(&line);
        }
    }

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

    #[test]
    fn numbers_begin_anew_at_the_largest() {
        let since = Since::child(100, Instant::now());
        let later = |last: u32| [1, 50, 99, 100, 101, 150, 4_000].map(|pid| since.is_later(pid, last));
        assert_eq!(later(100), [false; 7]);
        assert_eq!(later(150), [false, false, false, false, true, true, false]);
        assert_eq!(later(50), [true, true, false, false, true, true, true]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_that_starts_another_is_never_taken_for_one_that_starts_nothing() {
        let ended = |script: &str| {
            let at = Instant::now();
            let child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let since = Since::child(child.id(), at);
            while entry(child.id()).unwrap().lives() {
                std::thread::yield_now();
            }
            (child, since)
        };
        let mut alone = false;
        for _ in 0..20 {
            let (mut child, since) = ended("true & wait");
            assert!(!since.nothing());
            child.wait().unwrap();
            // Others beside this test start processes too, but not always.
            let (mut child, since) = ended(":");
            alone |= since.nothing();
            child.wait().unwrap();
        }
        assert!(alone, "it is never seen that nothing was started");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_is_started_later_is_among_those_since() {
        let at = Instant::now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let since = Since::child(child.id(), at);
        let mut later = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = since.pids();
        for child in [&mut child, &mut later] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(pids.contains(&later.id()) && !pids.contains(&child.id()), "{pids:?}");
        assert!(!pids.contains(&std::process::id()), "{pids:?}");
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

//! Other processes: killed drivers, readers beside a driver, a full disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Dir;
use super::contract::{record, run};
use super::sqlite::{open, open_as};
use crate::error::Kind;
use crate::journal::{Append, Durability, Journal, Reader};

const CHILD: &str = "TIDEGATE_JOURNAL_TEST";

/// Runs a test of this file, which is ignored otherwise, in a process of its own. The kernel's default for a lost
/// parent applies: the child ends when its output can't be written.
fn child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("journal::tests::crash::{test}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("ack ")?.parse().ok()
}

/// Appends until it is killed, and says what is acknowledged.
#[test]
fn appends_for_ever() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut journal = open_as(Path::new(&path), Durability::Full).unwrap();
    let mut head = journal.head(&run("a")).unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let events = (0..1 + head % 3).map(|_| record(1, &"x".repeat(500))).collect::<Vec<_>>();
        let count = events.len() as u64;
        journal.append(vec![Append::new(run("a"), head, events)], &[]).unwrap();
        head += count;
        let mut out = std::io::stdout().lock();
        if writeln!(out, "ack {head}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// Appends a hundred times, and says what is acknowledged.
#[test]
fn appends_a_hundred_times() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut journal = open_as(Path::new(&path), Durability::Full).unwrap();
    for n in 0..100 {
        journal.append(vec![Append::new(run("a"), n, vec![record(1, "x")])], &[]).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {n}").and_then(|()| out.flush()).unwrap();
    }
}

/// What the kernel saw: before each acknowledgement was written, every file of the database to which something was
/// written since had been synced.
#[test]
fn no_event_is_acknowledged_that_no_sync_preceded() {
    let dir = Dir::new("sync");
    let trace = dir.0.join("trace");
    let done = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-qq",
            "-s",
            "16",
            "-e",
            "trace=write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate",
            "-o",
        ])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::crash::appends_a_hundred_times", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir.0.join("x.db"))
        .stdout(Stdio::null())
        .status()
        .expect("strace, which tests/run installs");
    assert!(done.success());
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut dirty, mut acknowledged, mut syncs) = (std::collections::BTreeSet::new(), 0, 0);
    for line in trace.lines() {
        // `1234 pwrite64(5</tmp/x.db-wal>, "…"..., 4096, 32) = 4096`; a call that waits ends on a line of its own.
        let Some((call, rest)) = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('(')) else {
            continue;
        };
        assert!(!line.contains("<unfinished"), "one thread at a time: {line}");
        let file = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(file, _)| file);
        match call {
            "fsync" | "fdatasync" if line.ends_with("= 0") => {
                syncs += u32::from(dirty.remove(file));
            }
            _ if file.ends_with("x.db") || file.ends_with("x.db-wal") => {
                dirty.insert(file.to_owned());
            }
            "write" if rest.contains("\"ack ") => {
                acknowledged += 1;
                assert!(dirty.is_empty(), "acknowledged before {dirty:?} was synced: {line}");
            }
            _ => {}
        }
    }
    assert_eq!(acknowledged, 100);
    assert!(syncs >= 100, "{syncs} syncs for 100 acknowledgements");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = Dir::new("kill");
    let path = dir.0.join("x.db");
    let mut last = 0;
    for round in 0..20_u64 {
        let mut driver = child("appends_for_ever", &path);
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
        // Let it write a little, each time another number of events, then kill it in the middle.
        let wait = 1 + round * 7 % 23;
        let mut seen = 0;
        for head in lines.by_ref().filter_map(|line| acknowledged(&line)) {
            last = head;
            seen += 1;
            if seen > wait {
                break;
            }
        }
        driver.kill().unwrap();
        driver.wait().unwrap();
        // What it said before it died counts as well.
        last = lines.filter_map(|line| acknowledged(&line)).last().unwrap_or(last);
        assert!(seen > wait, "the child ended early");
        let mut journal = open(&path).unwrap();
        let found = journal.head(&run("a")).unwrap();
        assert!(found >= last, "round {round}: {last} were acknowledged, {found} are there");
        assert!(found <= last + 3, "round {round}: at most one append was under way, {found} are there after {last}");
        assert_eq!(journal.read(&run("a")).unwrap().len() as u64, found);
    }
    assert!(open(&path).unwrap().verify().unwrap().is_sound());
}

#[test]
fn a_reader_sees_what_another_process_drives() {
    let dir = Dir::new("two");
    let path = dir.0.join("x.db");
    let mut driver = child("appends_for_ever", &path);
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
    let first = lines.by_ref().find_map(|line| acknowledged(&line)).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let mut seen = 0;
    while seen < first + 20 {
        let ahead = lines.by_ref().find_map(|line| acknowledged(&line)).unwrap();
        for event in reader.read(&run("a"), seen, 1_000).unwrap() {
            assert_eq!(event.seq, seen + 1);
            seen = event.seq;
        }
        assert!(seen >= ahead, "{ahead} were acknowledged, {seen} are seen");
    }
    assert_eq!(reader.driver().unwrap().pid, driver.id());
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains(&format!("pid: {}", driver.id())), "{error}");
    let id = reader.send(&run("a"), crate::time::Time(1), b"1").unwrap();
    driver.kill().unwrap();
    driver.wait().unwrap();
    // The lock is free at once, and the command is still there.
    let mut journal = open(&path).unwrap();
    assert_eq!(journal.inbox().unwrap()[0].id, id);
}

/// Fills a small disk, and writes the way back into the reserve.
#[test]
fn fills_the_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let mut journal = open_as(&dir.join("x.db"), Durability::Full).unwrap();
    journal.reserve().unwrap();
    let append =
        |head, way_back| vec![Append { way_back, ..Append::new(run("a"), head, vec![record(1, &"x".repeat(3_000))]) }];
    let mut head = 0;
    let full = loop {
        match journal.append(append(head, false), &[]) {
            Ok(()) => head += 1,
            Err(e) => break e,
        }
        assert!(head < 5_000, "the disk is never full");
    };
    assert_eq!(full.kind(), Kind::Io, "{full}");
    assert_eq!(journal.head(&run("a")).unwrap(), head);
    // Even what other programs leave of the disk is taken; only the reserve is left.
    let mut rest = std::fs::File::create(dir.join("rest")).unwrap();
    while rest.write_all(&[1; 512]).is_ok() {}
    assert_eq!(journal.append(append(head, false), &[]).unwrap_err().kind(), Kind::Io);
    // Killed now, it must come up again: its opening is written into the reserve as well.
    drop(journal);
    let _ = std::fs::remove_file(dir.join("x.db-shm"));
    while rest.write_all(&[1; 512]).is_ok() {}
    let mut journal = open_as(&dir.join("x.db"), Durability::Full).unwrap();
    assert!(!dir.join("x.db.reserve").exists());
    for _ in 0..30 {
        journal.append(append(head, true), &[]).unwrap();
        head += 1;
    }
    assert!(!dir.join("x.db.reserve").exists());
    assert_eq!(journal.read(&run("a")).unwrap().len() as u64, head);
    drop(journal);
    let mut journal = open(&dir.join("x.db")).unwrap();
    assert_eq!(journal.head(&run("a")).unwrap(), head);
    assert!(journal.verify().unwrap().is_sound());
    writeln!(std::io::stdout(), "the way back was written").unwrap();
}

/// A tmpfs of 4 MiB in a mount namespace of its own, which ends with the child.
#[cfg(target_os = "linux")]
#[test]
fn the_way_back_can_be_written_on_a_full_disk() {
    let dir = Dir::new("full");
    let script = "mount -t tmpfs -o size=4m none \"$1\" || exit 77; shift; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&dir.0)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "journal::tests::crash::fills_the_disk", "--nocapture"])
        .env(CHILD, &dir.0)
        .output();
    let output = match output {
        // Where no namespaces are allowed, there is no small disk to test on.
        Err(e) => return eprintln!("skipped, unshare can't be run: {e}"),
        Ok(output) if output.status.code() == Some(77) || output.stderr.starts_with(b"unshare:") => {
            return eprintln!("skipped, no small disk can be mounted: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => output,
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("the way back was written"), "{text}");
}

#[test]
fn a_driver_killed_while_it_opens_leaves_a_journal_that_opens() {
    for round in 0..12 {
        let dir = Dir::new("opening");
        let path = dir.0.join("x.db");
        let mut driver = child("appends_for_ever", &path);
        // From before the first file is made until after the first events; where it is cut is chance.
        #[allow(clippy::disallowed_methods, reason = "a test that lets another process get on")]
        std::thread::sleep(Duration::from_millis(round * 3));
        driver.kill().unwrap();
        driver.wait().unwrap();
        let mut journal = open(&path).unwrap();
        let head = journal.head(&run("a")).unwrap();
        journal.append(vec![Append::new(run("a"), head, vec![record(1, "x")])], &[]).unwrap();
        assert!(journal.verify().unwrap().is_sound());
    }
}

/// Opens, appends once, and says so.
#[test]
fn opens_once() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut journal = open_as(Path::new(&path), Durability::Full).unwrap();
    let head = journal.head(&run("a")).unwrap();
    journal.append(vec![Append::new(run("a"), head, vec![record(1, "x")])], &[]).unwrap();
    writeln!(std::io::stdout(), "opened").unwrap();
}

/// Kills the driver when it begins its nth call of one kind, for each kind that changes a file and each n.
#[cfg(target_os = "linux")]
#[test]
fn a_driver_killed_at_any_system_call_of_its_opening_leaves_a_journal_that_opens() {
    let mut cuts = 0;
    for call in ["openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "rename", "unlink"] {
        for n in 1.. {
            let dir = Dir::new("cut");
            let path = dir.0.join("x.db");
            let output = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "journal::tests::crash::opens_once", "--nocapture", "--test-threads=1"])
                .env(CHILD, &path)
                .output()
                .expect("strace, which tests/run installs");
            if String::from_utf8_lossy(&output.stdout).contains("opened") {
                assert!(n > 1 || call == "ftruncate", "{call}: {}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            let reopened = open(&path).and_then(|mut journal| {
                let head = journal.head(&run("a"))?;
                journal.append(vec![Append::new(run("a"), head, vec![record(1, "x")])], &[])?;
                journal.verify()
            });
            assert!(reopened.as_ref().is_ok_and(|verified| verified.is_sound()), "{call} {n}: {reopened:?}");
            cuts += 1;
        }
    }
    assert!(cuts > 40, "{cuts} cuts");
}

/// Appends until that fails, and says what is acknowledged.
#[test]
fn appends_until_it_fails() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let Ok(mut journal) = open_as(Path::new(&path), Durability::Full) else { return };
    // The test's own name stands on this line.
    writeln!(std::io::stdout()).unwrap();
    for n in 0..8 {
        if journal.append(vec![Append::new(run("a"), n, vec![record(1, &"x".repeat(3_000))])], &[]).is_err() {
            return;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {}", n + 1).and_then(|()| out.flush()).unwrap();
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "all").and_then(|()| out.flush()).unwrap();
}

/// A disk that fails once, and one that fails from then on: at each write, sync and truncation.
#[test]
fn an_io_error_at_any_write_is_reported_and_loses_nothing_that_was_acknowledged() {
    let mut failed = 0;
    for call in ["pwrite64", "fsync", "fdatasync", "ftruncate"] {
        for lasting in ["", "+"] {
            for n in 1.. {
                let dir = Dir::new("eio");
                let path = dir.0.join("x.db");
                let output = Command::new("strace")
                    .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                    .args(["-e", &format!("inject={call}:error=EIO:when={n}{lasting}")])
                    .arg(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "journal::tests::crash::appends_until_it_fails",
                        "--nocapture",
                        "--test-threads=1",
                    ])
                    .env(CHILD, &path)
                    .output()
                    .expect("strace, which tests/run installs");
                assert!(output.status.success(), "{call} {n}: {}", String::from_utf8_lossy(&output.stderr));
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let last = said.lines().filter_map(acknowledged).next_back().unwrap_or(0);
                let found = open(&path).and_then(|mut journal| {
                    let head = journal.head(&run("a"))?;
                    journal.append(vec![Append::new(run("a"), head, vec![record(1, "x")])], &[])?;
                    Ok((head, journal.verify()?.is_sound()))
                });
                match found {
                    // What failed may be there, as after a crash at that point.
                    Ok((head, true)) => {
                        assert!(head == last || head == last + 1, "{call} {n}{lasting}: {last}, {head}")
                    }
                    other => panic!("{call} {n}{lasting}: {other:?} after {last} were acknowledged"),
                }
                if said.contains("all") {
                    break;
                }
                failed += 1;
            }
        }
    }
    assert!(failed > 40, "{failed} failures");
}

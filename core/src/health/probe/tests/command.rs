//! The command probe against real processes, all of which must be gone afterwards.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::health::probe::build;
use crate::health::{Outcome, ProbeSpec, Verdict};
use crate::time::Span;

const LONG: Span = Span::seconds(20);
const SHORT: Span = Span::seconds(2);

async fn run(argv: &[&str], timeout: Span) -> Outcome {
    build(&ProbeSpec::command(argv.iter().copied()), timeout).unwrap().run().await
}

async fn shell(script: &str, timeout: Span) -> Outcome {
    run(&["/bin/sh", "-c", script], timeout).await
}

/// A file for process ids, removed at the end.
struct Pids(PathBuf);

impl Pids {
    fn new(name: &str) -> Pids {
        let path = std::env::temp_dir().join(format!("tidegate-probe-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Pids(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn read(&self) -> Vec<Pid> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }

    /// Waits until `n` processes have written their ids.
    async fn wait_for(&self, n: usize) {
        for _ in 0..2_000 {
            if self.read().len() >= n {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} of {n} processes came up", self.read().len());
    }

    /// Waits until none is left; one that was killed may take a moment to go.
    async fn all_gone(&self) {
        let pids = self.read();
        for _ in 0..2_000 {
            if pids.iter().all(|pid| is_gone(*pid)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left: Vec<_> = pids.into_iter().filter(|pid| !is_gone(*pid)).collect();
        panic!("still running: {left:?}");
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Gone, or dead and waiting for whoever has inherited it to reap it.
fn is_gone(pid: Pid) -> bool {
    let dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    test_kill_process(pid).is_err() || dead()
}

#[tokio::test]
async fn the_exit_code_decides() {
    for (script, verdict, reason) in [
        ("exit 0", Verdict::Pass, "exit code 0"),
        ("echo; echo ' all is well '; echo more", Verdict::Pass, "exit code 0: all is well"),
        ("echo 'disk full' >&2; exit 2", Verdict::Fail, "exit code 2: disk full"),
        ("exit 127", Verdict::Fail, "exit code 127"),
        ("kill -TERM $$", Verdict::Fail, "killed by signal 15"),
        ("kill -KILL $$", Verdict::Fail, "killed by signal 9"),
        ("exec >&- 2>&-; exit 3", Verdict::Fail, "exit code 3"),
    ] {
        let outcome = shell(script, LONG).await;
        assert_eq!((outcome.verdict, outcome.reason.as_str()), (verdict, reason), "{script}");
    }
    let outcome = shell("printf 'one\\n'; printf 'two\\n' >&2; exit 4", LONG).await;
    assert_eq!((&outcome.detail["exit_code"], &outcome.detail["output"]), (&4.into(), &"one\ntwo\n".into()));
    assert!(outcome.took_us > 0);
}

#[tokio::test]
async fn what_cannot_be_started_is_unknown() {
    let outcome = run(&["tidegate-no-such-program"], LONG).await;
    assert_eq!(outcome.verdict, Verdict::Unknown);
    assert_eq!(outcome.reason, "no such program: tidegate-no-such-program");
    let outcome = run(&["/"], LONG).await;
    assert_eq!(outcome.verdict, Verdict::Unknown, "a folder: not permitted: {}", outcome.reason);
}

#[tokio::test]
async fn output_is_bounded_and_never_blocks_the_command() {
    let outcome =
        shell("i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done", LONG)
            .await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.reason);
    assert_eq!(outcome.detail["output"].as_str().map(str::len), Some(4096));
}

#[tokio::test]
async fn a_hanging_command_is_gone_with_its_grandchildren() {
    let pids = Pids::new("hang");
    let script = format!("(echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait) & echo $! >> {0}; sleep 600", pids.path());
    let outcome = shell(&script, SHORT).await;
    assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Fail, "timed out after 2s"));
    assert_eq!(pids.read().len(), 3, "all had come up");
    pids.all_gone().await;
}

#[tokio::test]
async fn grandchildren_that_hold_the_pipe_neither_delay_the_result_nor_stay() {
    let pids = Pids::new("pipe");
    let outcome = shell(&format!("sleep 600 & echo $! >> {}; echo done; exit 1", pids.path()), LONG).await;
    assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Fail, "exit code 1: done"));
    assert!(outcome.took_us < 15_000_000, "{}", outcome.took_us);
    assert_eq!(pids.read().len(), 1);
    pids.all_gone().await;
}

#[tokio::test]
async fn dropping_a_probe_ends_its_group() {
    let pids = Pids::new("drop");
    let script = format!("trap '' TERM; echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait", pids.path());
    let probe = build(&ProbeSpec::command(["/bin/sh", "-c", &script]), LONG).unwrap();
    tokio::select! {
        outcome = probe.run() => panic!("it ended: {outcome:?}"),
        () = pids.wait_for(2) => {}
    }
    pids.all_gone().await;
    // The leader is this process's own child: reaped as well, not only dead.
    let leader = pids.read()[0];
    for _ in 0..2_000 {
        if test_kill_process(leader).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the leader was not reaped");
}

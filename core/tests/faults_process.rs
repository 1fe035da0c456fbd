//! Commands at their worst. What is left of them is looked for in the table of processes, what they wrote in files.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use common::{Site, reason, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate::{Command, Pipeline, Status};

/// The folder and the work of a second process of this test.
const TO: &str = "PROCESS_TEST_TO";

/// What the second process does; in the first one there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_in_a_process_of_its_own() {
    let Ok(to) = std::env::var(TO) else { return };
    let (folder, work) = to.split_once('|').unwrap();
    let site = Site::at(folder.as_ref(), 0);
    match work {
        "much" => much(&site).await,
        "no-files" => no_files(&site).await,
        _ => no_input(&site).await,
    }
}

/// Runs the second process and gives what it wrote to `said`.
async fn in_a_process_of_its_own(site: &Site, work: &str) -> String {
    let mut program = Process::new(std::env::current_exe().unwrap());
    program.args(["--exact", "works_in_a_process_of_its_own"]).env(TO, format!("{}|{work}", site.path().display()));
    if work == "no-input" {
        // The shell closes it, which `Command` can't.
        let mut shell = Process::new("sh");
        shell.arg("-c").arg("exec \"$0\" \"$@\" <&-").arg(program.get_program()).args(program.get_args());
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        program = shell;
    }
    let output = tokio::task::spawn_blocking(move || program.stdin(Stdio::null()).output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(site.file("said")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_and_grandchildren_that_ignore_term_go() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    let begun = site.file("begun");
    let deaf = "trap '' TERM; while :; do sleep 0.05; done";
    let script = format!("({deaf}) & setsid sh -c \"({deaf}) & {deaf}\" & touch '{}'; {deaf}", begun.display());
    let _ = p.shell("deaf", script).grace("300ms");
    let engine = site.open().await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    until("it has begun", async || begun.exists()).await;
    let asked = Instant::now();
    run.send(Command::Cancel { by: "test".into(), reason: "enough".into() }).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    assert!(asked.elapsed() >= Duration::from_millis(300), "they were given their grace");
    site.nothing_left().await;
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_processes_that_hide_are_found() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    // Each in a session of its own, none with the step's pipe; the step itself succeeds at once.
    let script = "i=0; while [ $i -lt 1000 ]; do setsid sleep 1000 >/dev/null 2>&1 </dev/null & i=$((i+1)); done";
    let _ = p.shell("bomb", script).grace("2s");
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    // What a step starts ends with it: looked at now, not waited for.
    let left = common::left_by(site.path());
    assert!(left.is_empty(), "{} left running", left.len());
    assert_eq!(outcome.status, Status::Succeeded, "{}", reason(&outcome, "bomb"));
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_holds_the_pipe_holds_no_run_up() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    let begun = Instant::now();
    let _ = p.shell("daemon", "setsid sleep 1000 & echo done").grace("1s").text();
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    assert_eq!(outcome.steps["daemon"].value, "done");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    site.nothing_left().await;
    engine.close().await.unwrap();
}

/// A gigabyte, then a line of 100 megabytes.
async fn much(site: &Site) {
    let mut p = Pipeline::new("p");
    let line = "x".repeat(999);
    let much = p.shell("much", format!("yes {line} | head -c 1000000000"));
    let _ = p.shell("line", "head -c 100000000 /dev/zero | tr '\\0' y; echo; echo after").after(&much);
    let engine = site.open().await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert!(outcome.succeeded(), "{outcome:?}");
    engine.close().await.unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    std::fs::write(site.file("said"), format!("{} {}", run.id(), peak.trim().trim_end_matches(" kB"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_and_a_line_without_end_take_little_memory() {
    let site = Site::new();
    let said = in_a_process_of_its_own(&site, "much").await;
    let (run, peak) = said.split_once(' ').unwrap();
    let peak: u64 = peak.trim().parse().unwrap();
    assert!(peak < 150_000, "{peak} kB");
    let logs = site.file("release.db.logs").join(run);
    let much = std::fs::read(logs.join("much.1.log")).unwrap();
    assert!(much.len() <= 64 << 20, "{}", much.len());
    let end = String::from_utf8_lossy(&much[much.len() - 200..]).into_owned();
    assert!(end.contains("more lines are left out: the log has reached its limit"), "{end}");
    let line = std::fs::read_to_string(logs.join("line.1.log")).unwrap();
    assert!(line.len() < 1 << 20 && line.ends_with("\nafter\n"), "{}", line.len());
}

#[tokio::test]
async fn output_that_is_no_text_is_kept_as_such_and_ends_nothing() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    let _ = p.shell("bytes", "printf 'a\\377\\376b\\n\\000c\\r\\n\\302'; exit 4");
    let text = p.shell("text", "printf '\\377'").text();
    let engine = site.open().await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.steps["bytes"].last_lines, ["a\u{fffd}\u{fffd}b", "\0c", "\u{fffd}"], "{outcome:?}");
    let log = std::fs::read_to_string(site.file("release.db.logs").join(run.id()).join("bytes.1.log")).unwrap();
    assert_eq!(log, "a\u{fffd}\u{fffd}b\n\0c\n\u{fffd}\n");
    // A value is never changed in silence.
    assert!(reason(&outcome, text.name()).contains("UTF-8"), "{outcome:?}");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_can_t_be_run_says_why() {
    let site = Site::new();
    let script = site.file("a script");
    std::fs::write(&script, "#!/bin/sh\necho ran\n").unwrap();
    let odd = site.file("größe 测试 'quoted\" $HOME");
    std::fs::write(&odd, "#!/bin/sh\necho \"$1\"\n").unwrap();
    std::fs::set_permissions(&odd, PermissionsExt::from_mode(0o755)).unwrap();
    let bad = site.file("bad-interpreter");
    std::fs::write(&bad, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&bad, PermissionsExt::from_mode(0o755)).unwrap();
    let mut p = Pipeline::new("p");
    let _ = p.command("folder", [site.path().display().to_string()]);
    let _ = p.command("not-executable", [script.display().to_string()]);
    let _ = p.command("interpreter", [bad.display().to_string()]);
    let odd = p.command("größe 测试 / ..", [odd.display().to_string(), "a b\n\u{e9}".to_owned()]).text();
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    assert!(reason(&outcome, "folder").contains("why: a directory"), "{}", reason(&outcome, "folder"));
    let refused = reason(&outcome, "not-executable");
    assert!(refused.contains("a script") && refused.contains("not executable"), "{refused}");
    let refused = reason(&outcome, "interpreter");
    assert!(refused.contains("/no/such/interpreter"), "{refused}");
    assert_eq!(outcome.value(&odd).unwrap(), "a b\n\u{e9}");
    engine.close().await.unwrap();
}

/// Standard input of the program is closed: the next file that is opened gets its number.
async fn no_input(site: &Site) {
    let mut p = Pipeline::new("p");
    let read = p.shell("read", "cat; readlink /proc/self/fd/0").text();
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    engine.close().await.unwrap();
    std::fs::write(site.file("said"), outcome.value(&read).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_standard_input_is_empty_for_steps() {
    let site = Site::new();
    assert_eq!(in_a_process_of_its_own(&site, "no-input").await, "/dev/null");
}

/// All files that may be open are: a step fails and says so, the engine goes on, and with files again so do steps.
async fn no_files(site: &Site) {
    let engine = site.open().await;
    let mut p = Pipeline::new("p");
    let _ = p.command("say", ["echo", "said"]);
    assert!(engine.run(&p).key("before").await.unwrap().succeeded());
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(40), maximum: limit.maximum }).unwrap();
    let held: Vec<std::fs::File> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let outcome = engine.run(&p).key("during").await.unwrap();
    drop(held);
    let after = engine.run(&p).key("after").await.unwrap();
    engine.close().await.unwrap();
    std::fs::write(site.file("said"), format!("{}|{}", after.succeeded(), reason(&outcome, "say"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_a_step_fails_and_the_engine_goes_on() {
    let site = Site::new();
    let said = in_a_process_of_its_own(&site, "no-files").await;
    let (after, why) = said.split_once('|').unwrap();
    assert_eq!(after, "true");
    assert!(why.contains("oo many open files"), "{why}");
}

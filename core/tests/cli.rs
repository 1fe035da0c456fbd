//! The command line as its own process, against a journal that this process drives.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use common::{Site, reason, shop, wait_for_gate};
use serde_json::{Value, json};
use tidegate::{Engine, Pipeline, Rollout, Status};

fn command(journal: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).env("TIDEGATE_JOURNAL", journal).env("USER", "ann");
    command.env_remove("GITHUB_ACTIONS").env_remove("GITLAB_CI");
    command
}

/// What a command line answers. Not on the runtime's thread: the engine may be waited for.
async fn ask(site: &Site, args: &[&str]) -> Output {
    let mut command = command(&site.journal(), args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of one that ends with this code and says nothing else.
async fn answer(site: &Site, code: i32, args: &[&str]) -> String {
    let output = ask(site, args).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(code), ""), "{}", text(&output.stdout));
    text(&output.stdout)
}

/// Standard error of one that ends with this code.
async fn complaint(site: &Site, code: i32, args: &[&str]) -> String {
    let output = ask(site, args).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), ""), "{}", text(&output.stderr));
    text(&output.stderr)
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_is_listed_shown_and_told() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("release");
    let build = pipeline.shell("build", "echo compiling; echo done >&2");
    let test = pipeline.shell("test", "echo one; echo 'assertion \u{1b}[31mfailed'; exit 3");
    let _ = pipeline.shell("deploy", "true").after(&test).after(&build);
    let outcome = engine.run(&pipeline).key("nightly").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);

    let listed = answer(&site, 0, &["runs"]).await;
    let (head, row) = listed.split_once('\n').unwrap();
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["PIPELINE", "KEY", "STATUS", "STARTED", "ID"]);
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((row[0], row[1], row[2], row[4]), ("release", "nightly", "failed", outcome.run.as_str()));
    let [listed] = objects(&answer(&site, 0, &["runs", "--json"]).await).try_into().unwrap();
    assert_eq!((&listed["id"], &listed["finished"]), (&json!(outcome.run), &json!(true)));

    // By its key, its id, and how its id begins.
    for name in ["nightly", &outcome.run, &outcome.run[..outcome.run.len() - 3]] {
        let shown = answer(&site, 0, &["show", name]).await;
        assert!(shown.starts_with("release (nightly): failed\n"), "{shown}");
        let steps: Vec<String> = shown
            .lines()
            .skip(4)
            .take(3)
            .map(|row| row.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(steps, ["build succeeded", "test failed", "deploy skipped"], "{shown}");
        assert!(shown.contains("test: exited with code 3\n  | one\n  | assertion \\u{1b}[31mfailed\n"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "a terminal obeys nothing that a step wrote: {shown:?}");
    }
    let [shown] = objects(&answer(&site, 0, &["--json", "show", "nightly"]).await).try_into().unwrap();
    assert_eq!(shown["steps"]["deploy"]["status"], "skipped");

    let logs = answer(&site, 0, &["logs", "nightly"]).await;
    assert!(logs.starts_with("build | ") && logs.contains("test | one\n"), "{logs}");
    assert_eq!(answer(&site, 0, &["logs", "nightly", "test"]).await, "one\nassertion \u{1b}[31mfailed\n");
    let lines = objects(&answer(&site, 0, &["logs", "nightly", "test", "--follow", "--json"]).await);
    assert_eq!(lines[0], json!({ "step": "test", "attempt": 1, "line": "one" }));

    let told = answer(&site, 3, &["watch", "nightly"]).await;
    assert!(told.ends_with("the run failed\n") && told.contains("deploy: skipped"), "{told}");
    let events = objects(&answer(&site, 3, &["watch", "nightly", "--json"]).await);
    assert_eq!(events.last().unwrap()["kind"], "run_finished");

    let file = site.file("page.html").display().to_string();
    assert_eq!(answer(&site, 0, &["report", "nightly", "-o", &file]).await, format!("written to {file}\n"));
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("test: exited with code 3"), "{page}");
    let nowhere = complaint(&site, 1, &["report", "nightly", "-o", "/no/such/folder/page.html"]).await;
    assert!(nowhere.contains("can't write the page (path: /no/such/folder/page.html)"), "{nowhere}");

    let refused = complaint(&site, 1, &["cancel", "nightly"]).await;
    assert!(refused.contains("the run has ended, and takes no commands"), "{refused}");
    let sound = answer(&site, 0, &["verify"]).await;
    assert!(sound.starts_with("sound: ") && sound.contains(" events of 1 streams"), "{sound}");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_and_cancelled_while_it_goes_on() {
    let site = Site::new();
    let engine = site.open().await;
    let go = site.file("go");
    let mut pipeline = Pipeline::new("release");
    let script = format!("echo waits; while [ ! -e {} ]; do sleep 0.05; done; echo goes; exec sleep 60", go.display());
    let _ = pipeline.shell("slow", &script);
    let run = engine.run(&pipeline).key("k").start().await.unwrap();

    let mut follower = command(&site.journal(), &["logs", "k", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut watcher = command(&site.journal(), &["watch", "k"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Each line is seen before the step goes on: nothing of it lies in a buffer.
    assert_eq!(lines.next().unwrap().unwrap(), "slow | waits");
    std::fs::write(&go, "").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "slow | goes");

    let shown = answer(&site, 0, &["show", "k"]).await;
    assert!(shown.contains(&format!("driven by process {} on ", std::process::id())), "{shown}");
    let said = answer(&site, 0, &["cancel", "k", "--reason", "too slow"]).await;
    assert!(said.starts_with("cancelled by ann: too slow\n"), "{said}");
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    assert!(lines.next().is_none(), "the end of the run is the end of its logs");
    assert!(follower.wait().unwrap().success());
    let output = watcher.stdout.take().unwrap();
    let told: Vec<String> = BufReader::new(output).lines().map(Result::unwrap).collect();
    assert_eq!(told.last().unwrap(), "the run was cancelled");
    assert_eq!(watcher.wait().unwrap().code(), Some(4));
    engine.close().await.unwrap();
}

/// On a terminal, which `script` of Debian's bsdutils lends.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_what_goes_on_stands_below() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("release");
    let _ = pipeline.shell("slow", "echo; printf 'com\\033[31mpil\\033[0ming\\n\\n'; exec sleep 60");
    let run = engine.run(&pipeline).key("k").start().await.unwrap();
    let watcher = |no_color: &str| {
        let watch = format!("{} watch k", env!("CARGO_BIN_EXE_tidegate"));
        let mut script = Command::new("script");
        script.args(["-qfec", &watch, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
        script.env("TIDEGATE_JOURNAL", site.journal()).env("TERM", "xterm").env("NO_COLOR", no_color);
        script.env_remove("GITHUB_ACTIONS").env_remove("GITLAB_CI");
        script.spawn().unwrap()
    };
    let mut watchers = [watcher(""), watcher("1")].map(|mut watcher| {
        let (shown, mut output) = (Arc::new(Mutex::new(Vec::new())), watcher.stdout.take().unwrap());
        let gathered = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                gathered.lock().unwrap().extend_from_slice(&chunk[..count]);
            }
        });
        (watcher, reader, shown)
    });
    let shows = |shown: &Mutex<Vec<u8>>| text(&shown.lock().unwrap()).contains(" s  compiling");
    common::until("both show a frame", async || watchers.iter().all(|(_, _, shown)| shows(shown))).await;
    answer(&site, 0, &["cancel", "k"]).await;
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    for ((watcher, reader, shown), bold) in watchers.iter_mut().zip([true, false]) {
        common::until("it ends", async || reader.is_finished()).await;
        assert_eq!(watcher.wait().unwrap().code(), Some(4));
        let shown = text(&shown.lock().unwrap());
        assert!(shown.contains("slow: started\r\n"), "{shown:?}");
        let frame = shown.rsplit_once("0 of 1 done, 1 running").unwrap().1;
        let step = frame.lines().nth(1).unwrap();
        assert!(step.starts_with("slow ") && step.ends_with(" s  compiling"), "{step:?} in {shown:?}");
        assert_eq!(shown.contains("\u{1b}[1m"), bold, "{shown:?}");
        // The frame is gone in the end.
        let end = shown.rsplit_once("\u{1b}[J").unwrap().1;
        let cancelled = if bold { "\u{1b}[33mcancelled\u{1b}[0m" } else { "cancelled" };
        assert!(end.ends_with(&format!("the run was {cancelled}\r\n")) || end.is_empty(), "{end:?}");
        assert!(!end.contains("running"), "{end:?}");
    }
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_approved_paused_and_aborted() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let by_hand = || site.quick(Rollout::blue_green("shop")).promote_by_hand();
    for (version, verb, status) in [("v2", "approve", Status::Succeeded), ("v3", "abort", Status::Failed)] {
        let run = engine.run(&site.ship(by_hand(), shop(version))).key(version).start().await.unwrap();
        wait_for_gate(&run, "approval").await;
        let services = answer(&site, 0, &["services"]).await;
        assert!(services.contains(&format!("{version} by ship of run {}", run.id())), "{services}");
        let shown = answer(&site, 0, &["show", version]).await;
        assert!(shown.contains(&format!("ship: {version} has 0 % of the traffic, waiting for a promotion")), "{shown}");
        let paused = answer(&site, 0, &["pause", version]).await;
        assert!(paused.contains("ship: paused: from the command line"), "{paused}");
        assert_eq!(answer(&site, 0, &["pause", version]).await, "taken: it changes nothing\n");
        let refused = complaint(&site, 1, &["resolve", version, "ship", "done"]).await;
        assert!(refused.contains("refused: "), "{refused}");
        let said = answer(&site, 0, &[verb, version, "ship", "--by", "bob", "-r", "seen it"]).await;
        assert!(said.contains("by bob"), "{said}");
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.status, status, "{}", reason(&outcome, "ship"));
    }
    let status = answer(&site, 0, &["status"]).await;
    assert!(status.contains("version v2: 1 running, 1 ready"), "{status}");
    engine.close().await.unwrap();
    assert_eq!(answer(&site, 0, &["stop"]).await, "ended\n");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_to_a_run_that_nobody_drives_is_recorded() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("release");
    let _ = pipeline.shell("slow", "exec sleep 60");
    let run = engine.run(&pipeline).key("k").start().await.unwrap();
    engine.close().await.unwrap();
    let _ = run.outcome().await.unwrap_err();
    let said = answer(&site, 0, &["cancel", "k"]).await;
    assert_eq!(said, "recorded: it takes effect when the program that drives the run runs again\n");
    let [said] = objects(&answer(&site, 0, &["cancel", "k", "--json"]).await).try_into().unwrap();
    assert_eq!((&said["taken"], &said["command"]["verb"]), (&json!(false), &json!("cancel")));
    let engine = site.open().await;
    assert_eq!(engine.run(&pipeline).key("k").await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered() {
    let site = Site::new();
    let mut pipeline = Pipeline::new("release");
    let mark = site.file("begun");
    let script = format!("touch {}; exec sleep 60", mark.display());
    let _ = pipeline.shell("pay", &script).once();
    let engine = site.open().await;
    let run = engine.run(&pipeline).key("k").start().await.unwrap();
    common::until("the step begins", async || mark.exists()).await;
    engine.close().await.unwrap();
    let _ = run.outcome().await.unwrap_err();

    let engine = site.open().await;
    let run = engine.run(&pipeline).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Asking);
    assert!(answer(&site, 5, &["watch", "k"]).await.contains("pay: asks: "));
    let wrong = complaint(&site, 2, &["resolve", "k", "pay", "fail", "--value", "1"]).await;
    assert!(wrong.contains("only what is done has returned something"), "{wrong}");
    let wrong = complaint(&site, 2, &["resolve", "k", "pay", "done", "--value", "{"]).await;
    assert!(wrong.contains("--value") && wrong.contains("expected JSON"), "{wrong}");
    let wrong = complaint(&site, 2, &["resolve", "k", "pay", "done", "--value", "[18446744073709551616]"]).await;
    assert!(wrong.contains("--value") && wrong.contains("2^53"), "{wrong}");
    let said = answer(&site, 0, &["resolve", "k", "pay", "fail"]).await;
    assert!(said.contains("pay: resolved by ann"), "{said}");
    let outcome = engine.run(&pipeline).key("k").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let site = Site::new();
    let missing = complaint(&site, 1, &["runs"]).await;
    assert!(missing.contains("release.db"), "{missing}");
    let mut nameless = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = nameless.arg("runs").env_remove("TIDEGATE_JOURNAL").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("name it with --journal FILE"), "{}", text(&output.stderr));

    let engine = site.open().await;
    let mut pipelines = [Pipeline::new("build"), Pipeline::new("ship")];
    for pipeline in &mut pipelines {
        let _ = pipeline.shell("only", "true");
        assert!(engine.run(pipeline).key("same").await.unwrap().succeeded());
    }
    let unknown = complaint(&site, 1, &["show", "other"]).await;
    assert!(unknown.contains("there is no such run (run: other)"), "{unknown}");
    let many = complaint(&site, 2, &["show", "same"]).await;
    assert!(
        many.contains("more than one run is meant") && many.contains(" of build") && many.contains(" of ship"),
        "{many}"
    );
    let id = engine.runs(1).await.unwrap()[0].id.clone();
    let step = complaint(&site, 1, &["logs", &id, "nothing"]).await;
    assert!(step.contains("the run has no such step (step: nothing)") && step.contains("its steps are only"), "{step}");
    let typo = complaint(&site, 2, &["sho", "same"]).await;
    assert!(typo.contains("similar") && typo.contains("'show'"), "{typo}");
    engine.close().await.unwrap();

    // One byte of an event, as a bad disk changes it.
    common::flip(&site.journal(), "only");
    let output = ask(&site, &["verify"]).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let damaged = text(&output.stdout);
    assert!(damaged.starts_with("damaged: ") && damaged.contains("run/"), "{damaged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let site = Site::new();
    let engine: Engine = site.open().await;
    let mut pipeline = Pipeline::new("release");
    let _ = pipeline.shell("much", "seq 100000");
    assert!(engine.run(&pipeline).key("k").await.unwrap().succeeded());
    let mut child =
        command(&site.journal(), &["logs", "k"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "much | 1\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    engine.close().await.unwrap();
}

#[test]
fn every_shell_gets_a_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = command.args(["completion", shell]).env_remove("TIDEGATE_JOURNAL").output().unwrap();
        assert!(output.status.success() && text(&output.stdout).contains("services"), "{shell}");
    }
}

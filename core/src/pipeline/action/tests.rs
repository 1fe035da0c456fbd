//! Real commands, all gone afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::pipeline::machine::{Cause, Outcome, StartStep, StepError};
use crate::pipeline::{ActionSpec, EnvValue, Output};
use crate::process::{Command, Stream};
use crate::secret::{Masker, Secret};
use crate::time::Span;

fn script(script: &str, output: Output) -> StartStep {
    let action = ActionSpec::Command {
        argv: Vec::new(),
        shell: Some(script.into()),
        env: BTreeMap::from([("TOKEN".into(), EnvValue::Secret { name: "token".into() })]),
        dir: None,
        grace: None,
        output,
    };
    StartStep {
        step: "build".into(),
        attempt: 2,
        token: 7,
        idempotency_key: "r/build".into(),
        inputs: Vec::new(),
        action,
        grace: Span::seconds(5),
        ends_by: None,
        sweep: None,
    }
}

/// A run's id of this test alone, so that no other test's processes are swept.
fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

async fn run_in(run: &str, start: &StartStep, stop: impl Future<Output = ()>) -> (Outcome, Vec<StepLine>) {
    let secrets = BTreeMap::from([("token".to_owned(), Secret::new("hunter22-long").unwrap())]);
    let masker = Masker::new(secrets.values()).unwrap();
    let context = CommandContext { journal: "tidegate-test", run, secrets: &secrets, masker: &masker };
    let (sender, mut receiver) = mpsc::channel(4);
    let read = async {
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        lines
    };
    futures_util::future::join(run_command(start, context, sender, stop), read).await
}

async fn run(start: &StartStep) -> (Outcome, Vec<StepLine>) {
    run_in(&unique(), start, std::future::pending()).await
}

fn error(outcome: Outcome) -> StepError {
    match outcome {
        Outcome::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn texts(lines: &[StepLine], stream: Stream) -> Vec<&str> {
    lines.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect()
}

#[tokio::test]
async fn values_come_from_what_it_writes() {
    for (text, output, expected) in [
        ("echo '{\"a\": 1}'", Output::None, Value::Null),
        ("printf 'one\\ntwo\\n'", Output::Text, json!("one\ntwo")),
        ("printf '{\\n\"a\": 1}'", Output::Json, json!({"a": 1})),
        ("echo building; echo '[1, 2]'; echo; echo noise >&2", Output::LastLineJson, json!([1, 2])),
    ] {
        let (outcome, _) = run(&script(text, output)).await;
        assert_eq!(outcome, Outcome::Succeeded { value: expected }, "{text}");
    }
    for (text, output, message) in [
        ("echo '{'", Output::Json, "its output is not JSON: line 1, column 1"),
        ("printf '\\377'", Output::Text, "its output is not UTF-8, so it can't be a value"),
        ("echo token=$TOKEN", Output::Text, "its output holds a secret, and values are recorded"),
        (
            "head -c 1100000 /dev/zero | tr '\\0' x",
            Output::Text,
            "its output is too large for a value: more than 1048576 bytes",
        ),
    ] {
        let error = error(run(&script(text, output)).await.0);
        assert_eq!((error.cause, error.message.as_str()), (Cause::BadValue, message), "{text}");
    }
}

#[tokio::test]
async fn codes_and_signals_are_told_apart_and_the_last_lines_kept() {
    let (outcome, lines) =
        run(&script("for i in $(seq 30); do echo $i; done; echo no $TOKEN >&2; exit 3", Output::None)).await;
    let failure = error(outcome);
    assert_eq!((failure.cause, failure.message.as_str()), (Cause::ExitCode { code: 3 }, "exited with code 3"));
    assert_eq!(failure.last_lines.len(), 20);
    assert_eq!(texts(&lines, Stream::Err), ["no ***"]);
    assert_eq!(texts(&lines, Stream::Out).len(), 30);
    let failure = error(run(&script("kill -9 $$", Output::None)).await.0);
    assert_eq!((failure.cause, failure.message.as_str()), (Cause::Signal { signal: 9 }, "ended by SIGKILL"));
    // -e and -u.
    assert_eq!(error(run(&script("false; true", Output::None)).await.0).cause, Cause::ExitCode { code: 1 });
    assert!(matches!(error(run(&script("echo $not_set", Output::None)).await.0).cause, Cause::ExitCode { .. }));
}

#[tokio::test]
async fn knows_who_it_is_and_what_it_was_given() {
    let mut start = script(
        "echo $TIDEGATE_STEP $TIDEGATE_ATTEMPT $TIDEGATE_IDEMPOTENCY_KEY $TIDEGATE_TOKEN; echo $TIDEGATE_INPUTS; \
         test $TOKEN = hunter22-long",
        Output::None,
    );
    start.inputs = vec![json!({"a": 1}), json!("b")];
    let (outcome, lines) = run(&start).await;
    assert_eq!(outcome, Outcome::Succeeded { value: Value::Null });
    assert_eq!(texts(&lines, Stream::Out), ["build 2 r/build 7", "[{\"a\":1},\"b\"]"]);
    start.inputs = vec![json!("x".repeat(100_000))];
    assert!(error(run(&start).await.0).message.contains("too large for its environment"));
}

#[tokio::test]
async fn says_what_is_missing() {
    let mut start = script("true", Output::None);
    if let ActionSpec::Command { shell, argv, .. } = &mut start.action {
        *shell = None;
        *argv = vec!["tidegate-no-such-program".into()];
    }
    let failure = error(run(&start).await.0);
    assert_eq!(failure.cause, Cause::NotFound);
    if let ActionSpec::Command { env, .. } = &mut start.action {
        env.insert("X".into(), EnvValue::Secret { name: "absent".into() });
    }
    let failure = error(run(&start).await.0);
    assert_eq!(failure.message, "there is no secret \"absent\", which the variable X is to hold");
    assert!(failure.permanent);
}

/// Told to stop, it ends with all that it started; what it returns after that is no success.
#[tokio::test]
async fn stopping_ends_the_whole_group() {
    let run = unique();
    let start = script("trap 'echo bye; exit 0' TERM; sleep 1000 & echo $!; wait", Output::None);
    let (outcome, lines) = run_in(&run, &start, tokio::time::sleep(Duration::from_millis(700))).await;
    assert_eq!(outcome, Outcome::Stopped, "{lines:?}");
    let out = texts(&lines, Stream::Out);
    assert_eq!(out.get(1), Some(&"bye"));
    let status = std::fs::read_to_string(format!("/proc/{}/stat", out[0]));
    assert!(!status.is_ok_and(|stat| stat.contains("(sleep)") && !stat.contains(") Z")), "a child is left running");
    // It does not listen: killed after its grace.
    let mut start = script("trap '' TERM; echo up; while :; do sleep 0.1; done", Output::None);
    start.grace = Span::millis(300);
    let failure = error(run_in(&run, &start, tokio::time::sleep(Duration::from_millis(700))).await.0);
    assert_eq!(failure.cause, Cause::Signal { signal: 9 });
    assert_eq!(failure.last_lines, ["up"]);
}

/// A command that ended before it was told to stop ended as it did, whatever it left behind.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_has_ended_is_not_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let ended = dir.path().join("ended");
    let (child, file) = ("trap '' TERM; until grep -q ') Z' /proc/$$/stat; do :; done", ended.display());
    let mut start = script(&format!("({child}; touch '{file}'; sleep 1000) & echo done"), Output::Text);
    start.grace = Span::millis(300);
    let until_it_ended = async {
        while !ended.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (outcome, lines) = run_in(&unique(), &start, until_it_ended).await;
    assert_eq!(outcome, Outcome::Succeeded { value: json!("done") }, "{lines:?}");
}

#[tokio::test]
async fn what_is_stopped_before_it_starts_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let start = script(&format!("touch '{}'", ran.display()), Output::None);
    assert_eq!(run_in(&unique(), &start, std::future::ready(())).await.0, Outcome::Stopped);
    assert!(!ran.exists());
}

/// What an attempt left behind is gone before the next one starts, and a later one is not touched.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn leftovers_are_swept_before_a_start() {
    let run = unique();
    let left = |attempt| Command::new(["sleep", "1000"]).step("tidegate-test", &run, "build", attempt).spawn().unwrap();
    let (mut old, mut later) = (left(1), left(3));
    let mut start = script("true", Output::None);
    start.sweep = Some(1);
    assert_eq!(run_in(&run, &start, std::future::pending()).await.0, Outcome::Succeeded { value: Value::Null });
    let ended = tokio::time::timeout(Duration::from_secs(20), old.finish()).await.expect("it was swept");
    assert_eq!(ended.exit, crate::process::Exit::Signal(15));
    assert_eq!(later.exit(), None);
    assert!(tokio::time::timeout(Duration::from_millis(50), later.next()).await.is_err(), "a later attempt was swept");
    later.stop(Span::ZERO).await;
}

/// A secret over two lines, and a line that is cut in the middle of one.
#[tokio::test]
async fn secrets_are_masked_across_lines_and_cuts() {
    let secrets = BTreeMap::from([("key".to_owned(), Secret::new("ab\nsecond-line").unwrap())]);
    let masker = Masker::new(secrets.values()).unwrap();
    let mut capture = super::capture::Capture::new(&masker, Output::None);
    let line = |bytes: &[u8], cut| crate::process::Line { stream: Stream::Out, bytes: bytes.to_vec(), cut };
    assert!(capture.push(&line(b"x ab", 0)).is_empty());
    assert_eq!(capture.push(&line(b"second-line y", 0)), [(Stream::Out, "x *** y".to_owned())]);
    assert_eq!(capture.push(&line(b"tail second-l", 9)), [(Stream::Out, "tail *** [9 more bytes]".to_owned())]);
    assert!(capture.finish().is_empty());
}

/// An engine runs each step in a task of its own.
#[test]
fn can_be_run_in_a_task() {
    fn sends<T: Send>(_: T) {}
    let (start, secrets, masker) = (script("true", Output::None), BTreeMap::new(), Masker::default());
    let context = CommandContext { journal: "j", run: "r", secrets: &secrets, masker: &masker };
    sends(run_command(&start, context, mpsc::channel(1).0, std::future::ready(())));
}

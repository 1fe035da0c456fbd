//! A journal that is damaged, of another version or of another time, or driven by somebody else.

#[cfg(target_os = "linux")]
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod versions;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::Site;
use tidegate::error::Kind;
use tidegate::journal::{DamageKind, Durability, Reader};
use tidegate::{Engine, EngineOptions, Pipeline, Status};

fn pipeline(word: &str) -> Pipeline {
    let mut p = Pipeline::new("p");
    let _ = p.shell("say", format!("echo {word}")).text();
    p
}

#[tokio::test]
async fn a_flipped_byte_is_named_and_writing_is_refused() {
    let site = Site::new();
    let engine = site.open().await;
    for word in ["anteater", "badger"] {
        assert_eq!(engine.run(&pipeline(word)).key(&word[..1]).await.unwrap().status, Status::Succeeded);
    }
    assert!(engine.verify().await.unwrap().damages.is_empty());
    let ids = engine.runs(10).await.unwrap();
    let hurt = ids.iter().find(|row| row.key == "b").unwrap();
    engine.close().await.unwrap();
    common::flip(&site.journal(), "badger");

    let verified = Reader::open(&site.journal()).unwrap().verify().unwrap();
    let damage = verified.damages.iter().find(|damage| damage.kind == DamageKind::Changed).unwrap();
    assert_eq!(
        (damage.stream.as_ref().map(|stream| stream.name()), damage.seq),
        (Some(hurt.id.as_str()), Some(1)),
        "{verified:?}"
    );
    let error = Engine::open(site.journal()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains(&hurt.id), "{error}");
    site.end().await;
}

/// Opens the journal in a process of its own, which then waits to be killed.
#[tokio::test]
async fn hold() {
    let Ok(path) = std::env::var("TIDEGATE_TEST_HOLD") else { return };
    let _engine = Engine::open(path).await.unwrap();
    #[allow(clippy::print_stdout, reason = "the other process waits for it")]
    {
        println!("held");
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn another_process_that_drives_is_named() {
    let site = Site::new();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold", "--nocapture"])
        .env("TIDEGATE_TEST_HOLD", site.journal())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")));
    let error = Engine::open(site.journal()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let text = error.to_string();
    assert!(text.contains(&format!("pid: {}", other.id())) && text.contains("host: "), "{text}");
    assert!(text.contains("since: 20"), "{text}");
    other.kill().unwrap();
    other.wait().unwrap();
    // The lock ends with its process.
    site.open().await.close().await.unwrap();
    site.end().await;
}

/// The driver of another process: for each key of a thousand it opens the journal, runs the key and closes. Refused, it
/// lets the other one go on.
#[tokio::test]
async fn race() {
    let Ok(dir) = std::env::var("TIDEGATE_TEST_RACE") else { return };
    let path = std::path::Path::new(&dir);
    let mut pipeline = Pipeline::new("race");
    let ran = path.join("ran");
    pipeline.blocking("note", (), move |context, ()| {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&ran)?;
        writeln!(file, "{}", context.params())
    });
    let mut refused = 0;
    for key in 0..RACES {
        let engine = loop {
            match EngineOptions::new().durability(Durability::Relaxed).open(path.join("release.db")).await {
                Ok(engine) => break engine,
                Err(error) if error.kind() == Kind::Busy => refused += 1,
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        };
        engine.run(&pipeline).key(key.to_string()).params(key).await.unwrap().ok().unwrap();
        engine.close().await.unwrap();
    }
    std::fs::write(path.join(format!("refused-{}", std::process::id())), format!("{refused}")).unwrap();
}

const RACES: u64 = 1_000;

#[tokio::test]
async fn two_processes_that_race_for_a_thousand_keys_run_each_once() {
    let site = Site::new();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "race", "--nocapture"])
            .env("TIDEGATE_TEST_RACE", site.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut racers = [start(), start()];
    for racer in &mut racers {
        assert!(racer.wait().unwrap().success());
    }
    let ran = std::fs::read_to_string(site.file("ran")).unwrap();
    let mut keys: Vec<u64> = ran.lines().map(|line| line.parse().unwrap()).collect();
    keys.sort_unstable();
    assert!(keys.iter().copied().eq(0..RACES), "each key once: {} ran", keys.len());
    let refused = |racer: &std::process::Child| {
        std::fs::read_to_string(site.file(&format!("refused-{}", racer.id()))).unwrap().parse::<u64>().unwrap()
    };
    let refused: u64 = racers.iter().map(refused).sum();
    assert!(refused > 100, "they met at the lock: {refused}");
    eprintln!("figure: two processes raced for {RACES} keys: each ran once, {refused} openings were refused");
    assert!(Reader::open(&site.journal()).unwrap().verify().unwrap().is_sound());
    site.end().await;
}

#[tokio::test]
async fn one_process_may_drive_two_journals_but_none_twice() {
    let (left, right) = (Site::new(), Site::new());
    let (a, b) = (left.open().await, right.open().await);
    let error = Engine::open(left.journal()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.to_string().contains(&format!("pid: {}", std::process::id())), "{error}");
    let (left_said, right_said) = tokio::join!(async { a.run(&pipeline("left")).key("k").await.unwrap() }, async {
        b.run(&pipeline("right")).key("k").await.unwrap()
    },);
    assert_eq!((&left_said.steps["say"].value, &right_said.steps["say"].value), (&"left".into(), &"right".into()));
    a.close().await.unwrap();
    b.close().await.unwrap();
    left.end().await;
    right.end().await;
}

#[tokio::test]
async fn a_journal_in_memory_leaves_no_file() {
    let site = Site::new();
    let open = || async { EngineOptions::new().durability(Durability::Memory).open(site.journal()).await.unwrap() };
    let (a, b) = (open().await, open().await);
    assert_eq!(a.run(&pipeline("a")).key("k").await.unwrap().steps["say"].value, "a");
    assert_eq!(b.run(&pipeline("b")).key("k").await.unwrap().steps["say"].value, "b");
    a.close().await.unwrap();
    b.close().await.unwrap();
    assert_eq!(std::fs::read_dir(site.path()).unwrap().count(), 0);
    site.end().await;
}

#[tokio::test]
async fn an_engine_that_gave_up_says_why_from_then_on() {
    let site = Site::new();
    let engine = site.open().await;
    // As a driver would that got hold of the file in spite of the lock, say on a copy of the disk.
    let raise_epoch = |by: i64| {
        let other = rusqlite::Connection::open(site.journal()).unwrap();
        assert_eq!(other.execute("UPDATE meta SET value = value + ?1 WHERE name = 'epoch'", [by]).unwrap(), 1);
    };
    raise_epoch(1);
    let first = engine.run(&pipeline("a")).key("k").await.unwrap_err();
    assert_eq!(first.kind(), Kind::Busy, "{first}");
    for _ in 0..2 {
        let later = engine.runs(10).await.unwrap_err();
        assert_eq!(later.kind(), Kind::Busy, "{later}");
        assert!(later.to_string().contains("its journal can't be written"), "{later}");
    }
    engine.close().await.unwrap_err();
    raise_epoch(-1);
    let again = site.open().await;
    assert_eq!(again.run(&pipeline("a")).key("k").await.unwrap().steps["say"].value, "a");
    again.close().await.unwrap();
    site.end().await;
}

/// It is set aside, and what was sent after it is heard.
#[tokio::test]
async fn a_damaged_command_hides_none_behind_it() {
    let site = Site::new();
    let engine = site.open().await;
    let mut p = Pipeline::new("p");
    let _ = p.command("wait", ["sleep", "600"]);
    let run = engine.run(&p).key("k").start().await.unwrap();
    let stream = tidegate::journal::StreamId::run(run.id()).unwrap();
    let other = rusqlite::Connection::open(site.journal()).unwrap();
    let sql = "INSERT INTO inbox (stream, at, body, sum) VALUES (?1, 1, x'31', x'00')";
    other.execute(sql, [stream.as_str()]).unwrap();
    drop(other);
    let cancel = serde_json::to_vec(&tidegate::Command::Cancel { by: "ann".into(), reason: String::new() }).unwrap();
    let mut reader = Reader::open(&site.journal()).unwrap();
    let sent = reader.send(&stream, tidegate::time::Time(1), &cancel).unwrap();
    let outcome = tokio::time::timeout(common::LONG, run.outcome()).await.expect("it is heard").unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    assert!(!reader.waits(sent).unwrap());
    assert!(reader.verify().unwrap().is_sound());
    engine.close().await.unwrap();
    site.end().await;
}

/// The world is brought back to the stable version before the engine gives up, and the next one records that.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_taken_back_when_nothing_can_be_recorded_any_more() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let pipeline = site.ship(site.canary("10m"), common::shop("v2"));
    let run = engine.run(&pipeline).key("v2").start().await.unwrap();
    let late = std::time::Instant::now() + common::LONG;
    while site.get().await != "v2" {
        assert!(std::time::Instant::now() < late, "v2 gets its share");
    }
    // From now on no event can be written, whatever room there is.
    let sql = |text: &str| rusqlite::Connection::open(site.journal()).unwrap().execute_batch(text).unwrap();
    sql("CREATE TRIGGER bad BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'bad'); END");
    let refused = engine.run(&self::pipeline("other")).key("k").await.unwrap_err();
    let error = run.outcome().await.unwrap_err();
    assert!(error.to_string().contains("taken back, not recorded: shop"), "{error}, {refused}");
    for _ in 0..40 {
        assert_eq!(site.get().await, "v1");
    }
    drop(run);
    engine.close().await.unwrap_err();
    sql("DROP TRIGGER bad");

    let engine = site.open().await;
    let run = engine.run(&pipeline).key("v2").start().await.unwrap();
    let mut lines = run.lines();
    let mut told = Vec::new();
    while let Some(line) = lines.next().await {
        told.push(line);
    }
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Failed, "{told:#?}");
    let reason = outcome.steps["ship"].reason.clone().unwrap_or_default();
    assert!(reason.contains("it was taken back while the journal could not be written"), "{reason}\n{told:#?}");
    let service = engine.service("shop").await.unwrap().unwrap();
    assert_eq!((service.stable.as_deref(), service.claim), (Some("v1"), None));
    assert_eq!(service.sizes.keys().collect::<Vec<_>>(), ["v1"]);
    assert_eq!(site.get().await, "v1");
    assert!(engine.verify().await.unwrap().damages.is_empty());
    engine.close().await.unwrap();
    site.end().await;
}

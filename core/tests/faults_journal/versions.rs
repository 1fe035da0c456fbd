//! Journals that another version of the library wrote. `core/tests/journals/1` is what the first one left when it was
//! killed; every later version must read it and go on with it. It is never written anew.

use std::path::Path;
use std::process::Command;

use tidegate::error::Kind;
use tidegate::journal::Reader;
use tidegate::service::Outcome;
use tidegate::{Engine, Pipeline, Status};

use crate::common::{Site, shop};

/// What was run: `second` never ends in the life that is killed.
fn pipeline(ran: &Path, hangs: bool) -> Pipeline {
    let mut p = Pipeline::new("kept");
    let note = ran.to_owned();
    let first = p.blocking("first", (), move |_, ()| std::fs::write(&note, "first").map(|()| 41));
    let second = p.function("second", &first, move |_, n: u64| async move {
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok::<_, String>(n + 1)
    });
    let _ = p.shell("say", "echo said").text().after(&second);
    let _ = p.shell("fail", "echo broken >&2; exit 3").allow_failure().after(&first);
    p
}

/// Writes such a journal into an empty folder, says so, and waits to be killed with SIGKILL:
/// `TIDEGATE_TEST_KEPT=FOLDER cargo test --test faults_journal versions::writes_one -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn writes_one() {
    let Ok(folder) = std::env::var("TIDEGATE_TEST_KEPT") else { return };
    let site = Site::at(Path::new(&folder), 18_471);
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let canary = site.ship(site.canary("200ms"), shop("v2"));
    assert!(engine.run(&canary).key("v2").await.unwrap().succeeded());
    engine.remove_service("shop").await.unwrap();
    let ran = site.file("ran");
    assert!(engine.run(&pipeline(&ran, false)).key("whole").await.unwrap().succeeded());
    // What came before lies in the database, the rest in its log.
    engine.close().await.unwrap();
    let engine = site.open().await;
    let run = engine.run(&pipeline(&ran, true)).key("half").params(7).start().await.unwrap();
    crate::common::wait_for(&run, "the second step", |event| event["step"] == "second").await;
    #[allow(clippy::print_stdout, reason = "whoever kills it waits for it")]
    {
        println!("written");
    }
    std::future::pending::<()>().await;
}

fn kept() -> Site {
    let site = Site::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/1");
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), site.file(entry.file_name().to_str().unwrap())).unwrap();
    }
    site
}

/// The command line on a journal: its exit code, and what it said.
fn command_line(site: &Site, verb: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("-j").arg(site.journal()).arg(verb).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_journal_of_the_first_version_opens_reads_verifies_and_resumes() {
    let site = kept();
    let mut reader = Reader::open(&site.journal()).unwrap();
    let verified = reader.verify().unwrap();
    assert!(verified.is_sound() && verified.events > 60, "{verified:?}");
    let runs = reader.runs(10).unwrap();
    let keys: Vec<&str> = runs.iter().map(|run| run.key.as_str()).collect();
    assert_eq!(keys, ["half", "whole", "v2", "stable-v1"]);
    let mut follow = |key: &str| {
        let run = runs.iter().find(|run| run.key == key).unwrap();
        let mut follow = reader.follow(&run.id, 0).unwrap();
        while follow.look(&mut reader, 256).unwrap().is_some_and(|news| !news.is_empty()) {}
        follow.outcome()
    };
    let shipped = follow("v2").unwrap();
    assert_eq!((shipped.status, &shipped.steps["ship"].value["version"]), (Status::Succeeded, &"v2".into()));
    let whole = follow("whole").unwrap();
    assert_eq!((&whole.steps["second"].value, &whole.steps["say"].value), (&42.into(), &"said".into()));
    assert!(follow("half").is_none());
    let service = reader.service("shop").unwrap().unwrap();
    assert_eq!((service.stable, service.last.map(|last| last.outcome)), (None, Some(Outcome::Promoted)));
    drop(reader);
    assert_eq!(command_line(&site, "verify").0, Some(0));

    let engine = site.open().await;
    let ran = site.file("ran-again");
    let outcome = engine.run(&pipeline(&ran, false)).key("half").params(7).await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    assert_eq!((&outcome.steps["second"].value, outcome.steps["second"].attempts), (&42.into(), 2));
    // What had ended has not run again, there and in the run that is over.
    assert_eq!(engine.run(&pipeline(&ran, false)).key("whole").await.unwrap().steps["say"].value, "said");
    assert!(!ran.exists());
    assert!(engine.verify().await.unwrap().is_sound());
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_journal_of_a_later_or_an_unknown_version_is_refused_and_told_so() {
    let site = Site::new();
    site.open().await.close().await.unwrap();
    let written = std::fs::read(site.journal()).unwrap();
    let later = "the journal is of a later version (found: 2, known: 1";
    let header = "the journal is damaged: its header is not what was written";
    let tables = "its tables are not those of a journal";
    // The last byte of SQLite's user_version.
    for (version, kind, engine, reader, help) in [
        (2, Kind::Unsupported, later, later, "use the version of tidegate that wrote it"),
        (0, Kind::Corrupt, header, tables, "restore the journal"),
    ] {
        let mut bytes = written.clone();
        bytes[63] = version;
        std::fs::write(site.journal(), &bytes).unwrap();
        for (error, says) in [
            (Engine::open(site.journal()).await.unwrap_err(), engine),
            (Reader::open(&site.journal()).unwrap_err(), reader),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.help_text().unwrap().contains(help), "{error}");
        }
        let (code, said) = command_line(&site, "runs");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(reader) && said.contains(help), "{said}");
        assert!(std::fs::read(site.journal()).unwrap() == bytes, "it is left as it is");
    }
    std::fs::write(site.journal(), &written).unwrap();
    site.open().await.close().await.unwrap();
    site.end().await;
}

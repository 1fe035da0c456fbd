//! Secrets stay out of everything that is written, whichever way they come; the truth is in the bytes of the files.

use std::path::Path;

use tidegate::error::Kind;
use tidegate::{
    Command, Engine, EngineOptions, Pipeline, Reader, Release, Rollout, Secret, Status, StepAnswer, StepStatus,
};

const SECRET: &str = "hunter2-and-more";

async fn open(dir: &Path) -> Engine {
    let secret = Secret::new(SECRET).unwrap();
    EngineOptions::new().secret("password", secret).open(dir.join("release.db")).await.unwrap()
}

/// No file below the folder holds the secret.
fn check_files(dir: &Path) {
    let mut looked = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", path.display());
                looked += 1;
            }
        }
    }
    assert!(looked > 0);
}

#[tokio::test]
async fn what_would_record_a_secret_is_refused_and_names_the_fields() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    let mut p = Pipeline::new("p");
    let _ = p.command("login", ["login", "--password", SECRET]);
    let _ = p.shell("curl", format!("curl -u me:{SECRET} x")).env("URL", format!("x://me:{SECRET}@y")).dir(SECRET);
    let release = Release {
        version: "v1".to_owned(),
        command: vec!["shop".to_owned(), format!("--password={SECRET}")],
        env: [("PASSWORD".to_owned(), SECRET.to_owned())].into(),
        dir: None,
    };
    let _ = p.rollout_of("ship", Rollout::blue_green("shop").listen("127.0.0.1:0").replicas(1), release);
    let error = engine.run(&p).key(SECRET).params(format!("{SECRET} as a param")).start().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let places: Vec<&str> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(
        places,
        [
            "/key",
            "/params",
            "/steps/0/action/argv",
            "/steps/1/action/shell",
            "/steps/1/action/env/URL",
            "/steps/1/action/dir",
            "/steps/2/action/release/command",
            "/steps/2/action/release/env/PASSWORD",
        ]
    );
    let text = error.to_string();
    assert!(text.contains("step \"login\": argv holds a secret, and is recorded"), "{text}");
    assert!(text.contains("name the secret in a command's env") && !text.contains(SECRET), "{text}");
    assert!(engine.runs(10).await.unwrap().is_empty());
    engine.close().await.unwrap();
    check_files(dir.path());
}

#[tokio::test]
async fn a_value_that_holds_a_secret_fails_its_step_and_words_are_masked() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    let mut p = Pipeline::new("p");
    let _ = p.function("token", (), |_, ()| async { Ok::<_, String>(format!("Bearer {SECRET}")) }).attempts(3);
    let outcome = engine.run(&p).await.unwrap();
    let token = &outcome.steps["token"];
    assert_eq!((token.status, token.attempts), (StepStatus::Failed, 1));
    assert_eq!(token.reason.as_deref(), Some("its value holds a secret, and values are recorded"));

    let mut p = Pipeline::new("q");
    let ask = p.function("ask", (), |context, ()| async move {
        context.stopped().await;
        Err::<String, _>("stopped")
    });
    let _ = ask.once();
    let run = engine.run(&p).key("k").start().await.unwrap();
    drop(run);
    engine.close().await.unwrap();

    let engine = open(dir.path()).await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Asking);
    let answer = StepAnswer::Done { value: SECRET.into() };
    let error = run.send(Command::Resolve { step: "ask".into(), answer, by: "ann".into() }).await.unwrap_err();
    assert_eq!(error.to_string(), "the value holds a secret, and values are recorded (step: ask)");
    let unknown = Command::Abort { step: SECRET.into(), by: SECRET.into(), reason: SECRET.into() };
    assert!(!run.send(unknown).await.unwrap_err().to_string().contains(SECRET));
    run.cancel(format!("ann {SECRET}"), format!("it was {SECRET}")).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    check_files(dir.path());
}

/// What a person wrote is told again with each step that it concerns: at the length that the inbox takes, it would be
/// too much for one commit.
#[tokio::test]
async fn long_words_are_clipped_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    let mut p = Pipeline::new("p").max_parallel(1);
    let _ = p.command("first", ["sleep", "600"]);
    for i in 0..1_500 {
        let _ = p.command(&format!("step-{i}"), ["true"]);
    }
    let run = engine.run(&p).key("k").start().await.unwrap();
    let mut reader = Reader::open(&dir.path().join("release.db")).unwrap();
    let cancel = Command::Cancel { by: "b".repeat(30_000), reason: "r".repeat(30_000) };
    reader.command(run.id(), &cancel).unwrap();
    let outcome = tokio::time::timeout(std::time::Duration::from_secs(60), run.outcome()).await.unwrap().unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    let reason = outcome.steps["step-7"].reason.clone().unwrap();
    assert!(reason.len() < 1_100 && reason.contains("bytes left out"), "{reason}");
    let events = reader.follow(run.id(), 0).unwrap().look(&mut reader, 256).unwrap().unwrap();
    assert!(events.iter().any(|event| event.contains("cancel_requested")));
    engine.close().await.unwrap();
}

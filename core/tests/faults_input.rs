//! Bad input: said before anything runs, all at once, with the place and what was expected.

mod common;

use std::collections::BTreeMap;

use common::{Site, reason, shop};
use tidegate::error::Kind;
use tidegate::{Context, Judge, Pipeline, Release, Rollout, Status, StepStatus};

#[tokio::test]
async fn every_fault_of_a_definition_is_said_before_anything_runs() {
    let site = Site::new();
    let ran = site.file("ran");
    let mut p = Pipeline::new("release");
    let first = p.shell("first", format!("touch {}", ran.display()));
    let a = p.command("a", ["true"]).after_named("b");
    let _ = p.command("b", ["true"]).after(&a).timeout("2 minutes");
    let _ = p.command("first", ["true"]).after_named("frist");
    let falls = Rollout::canary("shop", [50.0, 25.0], "1m").judge(Judge::errors().alpha(1.0));
    let _ = p.rollout_of("falls", falls, shop("v1")).after(&first);
    let passes = Rollout::canary("shop", [101.0], "soon").judge(Judge::errors().alpha(0.0));
    let _ = p.rollout_of("passes", passes, shop("v1")).after(&first);
    let mut odd = Release { version: "v1 ".into(), dir: Some(String::new()), ..shop("v1") };
    odd.command.push("a\0b".into());
    odd.env = ["PORT", "a=b", "TIDEGATE_SLOT", "NUL"].map(|name| (name.to_owned(), "80\0".to_owned())).into();
    let _ = p.rollout_of("odd", Rollout::blue_green("shop").replicas(1_001), odd).after(&first);

    let engine = site.open().await;
    let error = engine.run(&p).key("k").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    for (pointer, said) in [
        ("/steps/3/name", "step \"first\" is defined twice, first at /steps/0"),
        ("/steps/3/after/0/step", "there is no step \"frist\"; did you mean \"first\"?"),
        ("/steps/1", "steps wait for one another in a cycle: a → b → a"),
        ("/steps/2/timeout", "not a duration: \"2 minutes\"; expected numbers with the units d, h, m, s or ms"),
        ("/steps/4/action/rollout/strategy/steps/1", "25"),
        ("/steps/4/action/rollout/judge/alpha", "1 is not a chance from 0.000001 to 0.5"),
        ("/steps/5/action/rollout/strategy/steps/0", "101"),
        ("/steps/5/action/rollout/strategy/bake", "not a duration: \"soon\""),
        ("/steps/5/action/rollout/judge/alpha", "0 is not a chance"),
        ("/steps/6/action/rollout/serve/replicas", "expected 1 to 1000: 1001"),
        ("/steps/6/action/release/version", "at most 200 bytes, no control characters, and no blanks at its ends"),
        ("/steps/6/action/release/command", "a program's arguments can't hold NUL characters"),
        ("/steps/6/action/release/dir", "expected a directory"),
        ("/steps/6/action/release/env/PORT", "PORT is given by tidegate to each process"),
        ("/steps/6/action/release/env/a=b", "not a variable's name: \"a=b\""),
        ("/steps/6/action/release/env/TIDEGATE_SLOT", "TIDEGATE_SLOT is given by tidegate"),
        ("/steps/6/action/release/env/NUL", "a variable can't hold NUL characters"),
    ] {
        let fault = error.faults().iter().find(|fault| fault.pointer == pointer);
        let message = &fault.unwrap_or_else(|| panic!("no fault at {pointer}:\n{text}")).message;
        assert!(message.contains(said), "{pointer}: {message}");
        assert!(text.contains(pointer), "{text}");
    }
    assert!(engine.runs(10).await.unwrap().is_empty(), "nothing was recorded");
    assert!(!ran.exists(), "nothing ran");
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn a_command_that_is_not_found_says_where_it_looked() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    let _ = p.command("by-name", ["no-such-program-here"]);
    let _ = p.command("by-path", ["/no/such/program"]);
    let _ = p.command("no-dir", ["true"]).dir("/no/such/folder");
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let path = std::env::var("PATH").unwrap();
    assert!(reason(&outcome, "by-name").contains("not found in any directory of PATH"), "{outcome:?}");
    assert!(reason(&outcome, "by-name").contains(&path), "{outcome:?}");
    assert!(reason(&outcome, "by-path").contains("/no/such/program"), "{outcome:?}");
    assert!(reason(&outcome, "no-dir").contains("/no/such/folder"), "{outcome:?}");
    engine.close().await.unwrap();
    site.end().await;
}

#[derive(Clone, serde::Serialize)]
struct Rates {
    by_region: BTreeMap<String, Vec<f64>>,
}

#[tokio::test]
async fn what_a_function_does_wrong_fails_its_step_and_nothing_else() {
    let site = Site::new();
    let mut p = Pipeline::new("p");
    let _ = p.function("panics", (), |_, ()| async {
        assert!(std::hint::black_box(false), "the shelf is empty");
        Ok::<_, String>(())
    });
    let _ = p.blocking("panics too", (), |_, ()| {
        std::panic::panic_any("not even a string".to_owned());
        #[allow(unreachable_code)]
        Ok::<_, String>(())
    });
    let _ = p.function("errs", (), |_: Context, ()| async { Err::<(), _>(std::io::Error::other("no shelf")) });
    let _ = p.function("nan", (), |_, ()| async {
        Ok::<_, String>(Rates { by_region: [("eu/west".to_owned(), vec![0.5, f64::NAN])].into() })
    });
    let _ = p.blocking("infinite", (), |_, ()| Ok::<_, String>(f64::NEG_INFINITY));
    let _ = p.blocking("large", (), |_, ()| Ok::<_, String>(vec![1_u64 << 53]));
    let fine = p.function("fine", (), |_, ()| async { Ok::<_, String>(1) });
    let engine = site.open().await;
    let outcome = engine.run(&p).await.unwrap();
    assert_eq!(outcome.value(&fine).unwrap(), 1);
    for (step, said) in [
        ("panics", "panicked: the shelf is empty"),
        ("panics too", "panicked: not even a string"),
        ("errs", "no shelf"),
        ("nan", "the number is not finite: NaN (at: /by_region/eu~1west/1)"),
        ("infinite", "the number is not finite: -inf (at: the value itself)"),
        ("large", "the integer is beyond 2^53 − 1: 9007199254740992 (at: /0)"),
    ] {
        assert_eq!(outcome.steps[step].status, StepStatus::Failed);
        assert!(reason(&outcome, step).contains(said), "{step}: {}", reason(&outcome, step));
    }
    let error = engine.run(&p).params([1.0, f64::INFINITY]).start().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("the number is not finite: inf (at: /1)"), "{error}");
    engine.close().await.unwrap();
    site.end().await;
}

/// What ran keeps its definition: to go on with another one, or to run what failed again, is refused and shown.
#[tokio::test]
async fn a_definition_that_changed_is_shown() {
    let site = Site::new();
    let pipeline = |script: &str| {
        let mut p = Pipeline::new("p");
        let _ = p.shell("build", script);
        p
    };
    let engine = site.open().await;
    let run = engine.run(&pipeline("sleep 600")).key("open").start().await.unwrap();
    common::wait_for(&run, "step_started", |event| event["kind"] == "step_started").await;
    let ended = engine.run(&pipeline("exit 1")).key("ended").await.unwrap();
    assert_eq!(ended.status, Status::Failed);
    drop(run);
    engine.close().await.unwrap();

    let engine = site.open().await;
    let changed = [
        engine.run(&pipeline("sleep 5")).key("open").start().await.unwrap_err(),
        engine.run(&pipeline("exit 0")).key("ended").rerun_failed("ann").start().await.unwrap_err(),
    ];
    for (error, (was, is)) in changed.iter().zip([("sleep 600", "sleep 5"), ("exit 1", "exit 0")]) {
        assert_eq!(error.kind(), Kind::Conflict);
        let text = error.to_string();
        assert!(text.contains("the pipeline has changed") && text.contains("step build"), "{text}");
        assert!(text.contains(was) && text.contains(is), "{text}");
    }
    // The run is as it was, and can still be taken up by what it was started with.
    let run = engine.run(&pipeline("sleep 600")).key("open").start().await.unwrap();
    run.cancel("ann", "enough").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}

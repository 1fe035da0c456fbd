//! Ends in the middle of something, in the folder that it is started in: `tests/hosts/scenes.py` looks what is left.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tidegate::{Engine, Kind, Pipeline, Run};

/// One step is a command, the other a function, and neither ends by itself.
fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new("p");
    let _ = pipeline.shell("command", "touch command-up; sleep 600");
    let _ = pipeline.function("function", (), |context, ()| async move {
        let _ = std::fs::write("function-up", "");
        context.stopped().await;
        Ok::<_, String>(())
    });
    pipeline
}

async fn up() {
    while !(Path::new("command-up").exists() && Path::new("function-up").exists()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the user's program")]
async fn act(action: &str, place: &str) -> tidegate::Result<()> {
    let engine = Engine::open("release.db").await?;
    if action == "interrupt" {
        let run = engine.run(&pipeline()).key("v1");
        let ended = run.cancel_on_ctrl_c().await;
        engine.close().await?;
        return ended.map(drop);
    }
    let mut run: Option<Run> = None;
    if place != "open" {
        run = Some(engine.run(&pipeline()).key("v1").start().await?);
    }
    if place == "up" {
        up().await;
    }
    match action {
        "close" => engine.close().await?,
        "drop" => {
            drop((run, engine));
            // The program goes on.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        "second" => second(engine).await?,
        "forget" => std::mem::forget((run, engine)),
        "exit" => std::process::exit(7),
        "raise" => panic!("raised by the program"),
        _ => {}
    }
    Ok(())
}

/// A second engine on a second journal works, on the same one it is refused with who has it.
async fn second(engine: Engine) -> tidegate::Result<()> {
    let mut short = Pipeline::new("short");
    let _ = short.function("one", (), |_, ()| async { Ok::<_, String>(1) });
    let other = Engine::open("second.db").await?;
    other.run(&short).await?.ok()?;
    other.close().await?;
    let refused = Engine::open("release.db").await.err();
    let own = std::process::id().to_string();
    assert!(refused.is_some_and(|error| error.kind() == Kind::Busy && error.to_string().contains(&own)), "not refused");
    engine.run(&short).await?.ok()?;
    engine.close().await
}

#[allow(clippy::print_stderr, reason = "a program says why it failed")]
pub(crate) fn main(action: &str, place: &str) -> ExitCode {
    match tidegate::block_on(act(action, place)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

//! A rollout ships what a step has released, and nothing else.
use tidegate::{Pipeline, Release, Rollout};

fn main() {
    let mut p = Pipeline::new("p");
    let name = p.command("name", ["echo", "v1"]).text();
    let release = p.function("release", &name, |_, version: String| async move {
        Ok::<_, String>(Release { version, command: vec!["shop".into()], env: Default::default(), dir: None })
    });
    let _ = release.name();
    // mended: let _ = p.rollout("ship", Rollout::canary("shop", [50.0], "1s"), &release);
    let _ = p.rollout("ship", Rollout::canary("shop", [50.0], "1s"), &name);
}

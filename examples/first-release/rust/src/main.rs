//! Builds, tests and ships one version of the shop: `first-release v2`, from the repository's root.
//!
//! Run it again after a crash and it goes on where it was. It exits with 0 when the version was promoted and with 3 when
//! it was rolled back. `FOLDER` is where it keeps its journal and what it builds, `LISTEN` where the shop is served.
#![forbid(unsafe_code)]

use std::fs::{OpenOptions, create_dir_all};
use std::io::{Error, Write};
use std::path::{Path, absolute};
use std::process::ExitCode;

use tidegate::analysis::OnInconclusive;
use tidegate::service::Outcome;
use tidegate::{Engine, Judge, Pipeline, Release, Result, Rollout};

fn main() -> ExitCode {
    // What is shipped lives longer than this program: it is held by a process that is this program started again.
    if let Some(code) = tidegate::supervise_if_asked() {
        return code;
    }
    let Some(version) = std::env::args().nth(1) else {
        eprintln!("usage: first-release VERSION");
        return ExitCode::from(2);
    };
    match tidegate::block_on(ship(&version)) {
        Ok(Some(Outcome::Promoted)) => ExitCode::SUCCESS,
        Ok(Some(Outcome::RolledBack)) => ExitCode::from(3),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("first-release: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the pipeline, shows what happens, and says how the version's rollout ended, if there was one.
async fn ship(version: &str) -> Result<Option<Outcome>> {
    let setting = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let folder = absolute(setting("FOLDER", "target/first-release")).and_then(|f| create_dir_all(&f).map(|()| f));
    let folder = folder.map_err(|error| tidegate::Error::new(tidegate::Kind::Io, "no folder").because(error))?;
    let pipeline = pipeline(version, &folder, &setting("LISTEN", "127.0.0.1:8080"));

    let engine = Engine::open(folder.join("release.db")).await?;
    engine.run(&pipeline).key(version).show().await?;
    let last = engine.service("shop").await?.and_then(|shop| shop.last);
    engine.close().await?;
    Ok(last.filter(|last| last.version == version).map(|last| last.outcome))
}

fn pipeline(version: &str, folder: &Path, listen: &str) -> Pipeline {
    let mut pipeline = Pipeline::new("first-release");
    let notes = folder.join("steps.txt");
    let shop = folder.join(version).join("shop");
    // Each step notes when it begins and ends, so that the demo can count without asking the engine.
    let noted = |step: &str, script: &str| {
        let note = |what: &str| format!("echo {step} {version} {what} >> '{}'", notes.display());
        format!("{}\n{script}\n{}", note("begins"), note("ends"))
    };

    let build = noted(
        "build",
        &format!(
            "SHOP_VERSION={version} cargo build --quiet --package shop\n\
             mkdir -p '{}'\n\
             cp \"${{CARGO_TARGET_DIR:-target}}/debug/shop\" '{}'",
            folder.join(version).display(),
            shop.display()
        ),
    );
    let build = pipeline.shell("build", build);
    let test = noted("test", &format!("SHOP_VERSION={version} cargo test --quiet --package shop"));
    let test = pipeline.shell("test", test).after(&build);

    let name = version.to_owned();
    let release = pipeline.blocking("release", (), move |_, ()| release(&name, &shop, &notes)).after(&test);

    let _ = pipeline.rollout("ship", rollout(listen), &release);
    pipeline
}

/// What is to be shipped: a version's name and the program to start.
fn release(version: &str, shop: &Path, notes: &Path) -> Result<Release, Error> {
    let mut notes = OpenOptions::new().append(true).open(notes)?;
    writeln!(notes, "release {version} begins")?;
    let shop = shop.canonicalize()?.display().to_string();
    writeln!(notes, "release {version} ends")?;
    Ok(Release { version: version.to_owned(), command: vec![shop], env: [].into(), dir: None })
}

/// Four processes behind the proxy. A fifth of the traffic goes to the new version, then half of it, each for 12 s.
///
/// The judge looks every second (`window`), counts errors of one second as one piece of evidence (`burst`), and condemns
/// a version that is no worse with a chance of at most 1 % (`alpha`). A version may pass only if 3 % of errors would have
/// been found: 30 times (`detect`) the 0.1 % (`base_rate`) that is normal. At 300 requests a second that takes 8 s of a
/// fifth of them; the first second of a process (`warmup`) is not counted.
fn rollout(listen: &str) -> Rollout {
    let judge = Judge::errors()
        .alpha(0.01)
        .windows("1s", "1s")
        .warmup("1s")
        .detect(30.0)
        .base_rate(0.001)
        .inconclusive(OnInconclusive::RollBack);
    Rollout::canary("shop", [20.0, 50.0], "12s").listen(listen).replicas(4).judge(judge).drain("5s").keep_old("1s")
}

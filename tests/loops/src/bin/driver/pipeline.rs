//! The pipeline: commands and functions, in parallel and one after the other, with retries, `once`, and a cleanup. Every
//! step leaves a line `key step attempt token start` when it begins, and the same with `end` when it is through.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate::pipeline::{Cause, Jitter, RetrySpec, StepError};
use tidegate::{Context, Pipeline, Result};

use crate::shop;

/// The file of lines, in the driver's folder.
pub(crate) const EFFECTS: &str = "effects";
/// The steps that must not run twice, and what they return.
pub(crate) const ONCE: [(&str, Option<&str>); 2] = [("tag", None), ("publish", Some("published"))];
/// How often `flaky` fails before it succeeds.
const FAILURES: usize = 2;

/// With an address, the version `key` of the service `shop` is built, tested and shipped as well.
pub(crate) fn release(folder: &Path, key: &str, address: Option<&str>) -> Result<Pipeline> {
    let effects = folder.join(EFFECTS);
    let mut p = Pipeline::new("release").max_parallel(3);
    let command = |step: &str, pause: &str, words: &str| {
        let line = format!("echo {key} {step} $TIDEGATE_ATTEMPT $TIDEGATE_TOKEN");
        let file = effects.display();
        format!("{line} start >> '{file}'; sleep {pause}; {words}{line} end >> '{file}'")
    };
    let retry = RetrySpec {
        attempts: 5,
        initial: Some(Duration::from_millis(20).into()),
        factor: Some(1.0),
        cap: None,
        jitter: Some(Jitter::None),
    };
    let build = p.shell("build", command("build", "0.06", "")).attempts(2);
    let test = p.shell("test", command("test", "0.1", "echo '{\"passed\": 7}'; ")).json::<serde_json::Value>();
    let log = Log { effects: effects.clone(), key: key.to_owned() };
    let flaky = p.function("flaky", (), move |context, ()| log.clone().flaky(context)).retry(retry);
    let tag = p.shell("tag", command("tag", "0.05", "")).once().after(&build);
    let log = Log { effects: effects.clone(), key: key.to_owned() };
    let sum = p.blocking("sum", (&test, &flaky), move |context, (test, flaky): (serde_json::Value, u64)| {
        log.line(&context, "start")?;
        log.line(&context, "end")?;
        Ok::<_, StepError>(test["passed"].as_u64().unwrap_or_default() + flaky)
    });
    let log = Log { effects: effects.clone(), key: key.to_owned() };
    let publish = p.function("publish", &sum, move |context, _: u64| log.clone().publish(context)).once().after(&tag);
    if let Some(address) = address {
        let log = Log { effects: effects.clone(), key: key.to_owned() };
        shop::ship(&mut p, folder, key, address, &command, &log, &publish)?;
    }
    let _ = p.shell("tidy", command("tidy", "0.02", "")).cleanup();
    Ok(p)
}

/// Where steps that are functions leave their lines.
#[derive(Clone)]
pub(crate) struct Log {
    effects: PathBuf,
    key: String,
}

impl Log {
    pub(crate) fn line(&self, context: &Context, what: &str) -> Result<(), StepError> {
        let line = format!("{} {} {} {} {what}\n", self.key, context.step(), context.attempt(), context.token());
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.effects)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| StepError::new(Cause::Exception, error.to_string()))
    }

    async fn flaky(self, context: Context) -> Result<u64, StepError> {
        self.line(&context, "start")?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let failed = format!("{} flaky ", self.key);
        let text = std::fs::read_to_string(&self.effects).unwrap_or_default();
        if text.lines().filter(|line| line.starts_with(&failed) && line.ends_with(" failed")).count() < FAILURES {
            self.line(&context, "failed")?;
            return Err(StepError::new(Cause::Exception, "the network is away"));
        }
        self.line(&context, "end")?;
        Ok(35)
    }

    async fn publish(self, context: Context) -> Result<&'static str, StepError> {
        self.line(&context, "start")?;
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.line(&context, "end")?;
        Ok("published")
    }
}

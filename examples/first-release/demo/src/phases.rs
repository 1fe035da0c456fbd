//! What is shown, in order, and what must come of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::time::Chance;

use crate::args::Args;
use crate::load::{Counts, Load, RATE_AT_LEAST};
use crate::program::{Ended, Program};
use crate::{Failure, Try, definition, expect, say, world};

/// The exit code of a program whose version was rolled back.
const ROLLED_BACK: i32 = 3;
/// The longest time from the first traffic to the kill: somewhere within the first step of the rollout or the second.
const KILL_WITHIN_MS: u64 = 20_000;
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Demo {
    pub(crate) program: Program,
    load: Option<Load>,
    seed: u64,
}

impl Demo {
    pub(crate) fn new(args: &Args) -> Try<Demo> {
        // What an earlier demo left here is of no use.
        if args.folder.exists() {
            fs::remove_dir_all(&args.folder)?;
        }
        fs::create_dir_all(&args.folder)?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let program = Program { argv: args.program.clone(), folder: args.folder.canonicalize()?, listen };
        Ok(Demo { program, load: None, seed: args.seed })
    }

    /// Shows everything, and gives what was counted.
    pub(crate) async fn show(&mut self) -> Try<Value> {
        title("v1: the first release");
        promoted(&self.program.run("v1").await?, "v1")?;
        world::served_by(&self.program, "v1")?;

        let load = std::env::current_exe()?.with_file_name("load");
        self.load = Some(Load::start(&load, &self.program.listen, &self.program.folder).await?);
        let good = self.good().await?;
        let bad = self.bad().await?;
        let crash = self.crash().await?;
        Ok(json!({ "good": good, "bad": bad, "crash": crash }))
    }

    async fn good(&mut self) -> Try<Value> {
        title("v2 is good: it is promoted, and no request is lost");
        let before = self.load()?.settled().await?;
        let ended = self.program.run("v2").await?;
        promoted(&ended, "v2")?;
        definition::check(&self.program, "v2")?;
        self.served_by("v2").await?;
        let after = self.load()?.settled().await?;
        none_lost(&before, &after)?;
        let (requests, failed) = (after.requests() - before.requests(), after.failed() - before.failed());
        Ok(json!({ "outcome": "promoted", "requests": requests, "failed": failed, "seconds": tenths(ended.took) }))
    }

    async fn bad(&mut self) -> Try<Value> {
        title("v3 answers 500 to 3 % of its requests: it is rolled back");
        let before = self.load()?.settled().await?;
        let program = self.program.clone();
        let mut seen = (None, 0, 0);
        let load = self.load()?;
        let watch = async {
            loop {
                let counts = load.counts()?;
                let of = counts.of("v3");
                if of > seen.1 {
                    seen = (seen.0.or(Some(counts.elapsed_ms())), of, counts.elapsed_ms());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::select! {
            ended = program.run("v3") => ended?,
            failed = watch => return failed,
        };
        expect(ended.status.code() == Some(ROLLED_BACK), || format!("v3 was not rolled back: {}", ended.status))?;
        let reason = ended.shown.iter().find(|line| line.contains("v3 rolled back ")).cloned().unwrap_or_default();
        expect(reason.contains("judge") && reason.contains("evidence"), || {
            format!("the reason names no judge and evidence: {reason:?}")
        })?;
        self.served_by("v2").await?;
        let after = self.load()?.settled().await?;
        let failed = after.failed() - before.failed();
        let of_v3 = after.failed_of("v3") - before.failed_of("v3");
        expect(failed == of_v3, || format!("requests failed that v3 did not answer: {}", after.failures()))?;
        let seconds = tenths(Duration::from_millis(seen.2 - seen.0.unwrap_or(seen.2)));
        let requests = after.requests() - before.requests();
        Ok(json!({
            "outcome": "rolled_back", "requests": requests, "failed": failed, "seconds_to_decision": seconds
        }))
    }

    async fn crash(&mut self) -> Try<Value> {
        title("v4 is good, but the program that ships it is killed with SIGKILL");
        let before = self.load()?.settled().await?;
        let mut running = self.program.start("v4")?;
        running.line_with(&["ship", "traffic", "v4"]).await?;
        let instant = Duration::from_millis(Chance(self.seed).below(KILL_WITHIN_MS));
        let shown = running
            .kill_after(instant)
            .await?
            .ok_or_else(|| Failure(format!("it ended before it could be killed (seed {})", self.seed)))?;
        say(&format!("*** killed {} s after the first traffic (seed {}); started again:", tenths(instant), self.seed));
        let (killed, held) = (self.load()?.counts()?, world::processes(&self.program));
        let alone = self.load()?.settled().await?;
        expect(alone.of("v4") > killed.of("v4"), || "v4 answers nobody while no program runs".to_owned())?;
        let ended = self.program.start("v4")?.after(shown).end().await?;
        promoted(&ended, "v4")?;
        self.served_by("v4").await?;
        // A rollout begun anew would have started v4 anew.
        let now = world::processes(&self.program);
        let resumed = match (&held, &now) {
            (Some(held), Some(now)) => held.get("v4").is_some_and(|pids| pids.is_subset(&now["v4"])),
            _ => true,
        };
        expect(resumed, || format!("it did not go on where it was: processes {held:?}, then {now:?}"))?;
        let after = self.load()?.settled().await?;
        none_lost(&before, &after)?;
        let mut begun = BTreeMap::new();
        for note in self.program.notes("v4")? {
            *begun.entry(note).or_insert(0_u32) += 1;
        }
        let twice: Vec<&String> = begun.iter().filter(|(_, times)| **times > 1).map(|(note, _)| note).collect();
        expect(twice.is_empty() && begun.len() == 6, || format!("steps did not run once each: {begun:?}"))?;
        Ok(json!({ "resumed": resumed, "steps_run_twice": twice, "failed": after.failed() - before.failed() }))
    }

    /// Checks that the shop has four processes of this version and no other, and that all answers come from it.
    async fn served_by(&mut self, version: &str) -> Try<()> {
        world::served_by(&self.program, version)?;
        let before = self.load()?.settled().await?;
        let after = self.load()?.settled().await?;
        let (all, of) = (after.requests() - before.requests(), after.of(version) - before.of(version));
        expect(all > 0 && of == all, || format!("{of} of {all} answers come from {version}"))
    }

    fn load(&mut self) -> Try<&mut Load> {
        self.load.as_mut().ok_or_else(|| Failure("there is no load".to_owned()))
    }

    pub(crate) async fn end_load(&mut self) {
        if let Some(load) = self.load.take()
            && let Err(Failure(what)) = load.stop().await
        {
            say(&format!("the load generator: {what}"));
        }
    }

    pub(crate) async fn check_gone(&self) -> Try<()> {
        world::is_gone(&self.program).await
    }
}

fn promoted(ended: &Ended, version: &str) -> Try<()> {
    expect(ended.status.success(), || format!("{version} was not promoted: {}", ended.status))
}

fn none_lost(before: &Counts, after: &Counts) -> Try<()> {
    expect(after.failed() == before.failed(), || format!("requests were lost: {}", after.failures()))?;
    let rate = after.rate_since(before);
    expect(rate >= RATE_AT_LEAST, || format!("too few requests a second: {rate:.0}"))
}

fn title(text: &str) {
    say(&format!("\n=== {text}"));
}

fn tenths(time: Duration) -> f64 {
    time.as_millis().div_ceil(100) as f64 / 10.0
}

/// The result in words, and how long all of it took.
pub(crate) fn summary(result: &Value, took: Duration) -> String {
    let (good, bad, crash) = (&result["good"], &result["bad"], &result["crash"]);
    format!(
        "\n=== counted by the load generator and by what the steps wrote\n\
         v2 promoted after {} s: {} requests, {} failed\n\
         v3 rolled back {} s after its first answer: {} of {} requests failed\n\
         v4 killed, resumed and promoted: {} requests failed, no step ran twice\n\
         all of it took {} s",
        good["seconds"],
        good["requests"],
        good["failed"],
        bad["seconds_to_decision"],
        bad["failed"],
        bad["requests"],
        crash["failed"],
        took.as_secs()
    )
}

//! The rounds: a run is started, killed and started again under its key until it ends, and held against the proofs.

use std::time::Duration;

use serde_json::Value;
use tidegate::supervisor::Client;
use tidegate::time::Chance;

use crate::Failed;
use crate::fell::{Fell, fell};
use crate::load::Load;
use crate::proof::{Acknowledged, check_journal, check_run, essence, losses};
use crate::session::{Driver, processes};

/// A run that was killed this often is let through, so that a loop ends.
const MOST_KILLS: usize = 12;
/// The same for the main job, in which kills come this often on average while it would run.
const MOST_KILLS_OF_MAIN: usize = 60;
const KILLS_PER_RUN: f64 = 5.0;
/// Kills go on for as many again until each part has its tenth.
const TOO_MANY: usize = 3;
/// How long what is to end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one part came to.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    pub(crate) runs: usize,
    pub(crate) commits: usize,
    pub(crate) spawns: usize,
    pub(crate) weights: usize,
}

impl Tally {
    const NONE: Tally = Tally { kills: 0, runs: 0, commits: 0, spawns: 0, weights: 0 };

    fn add(&mut self, fell: Fell) {
        self.kills += 1;
        self.commits += usize::from(fell.commit);
        self.spawns += usize::from(fell.spawn);
        self.weights += usize::from(fell.weights);
    }

    /// Whether at least a tenth of the kills fell into each.
    fn is_spread(&self) -> bool {
        [self.commits, self.spawns, self.weights].iter().all(|part| part * 10 >= self.kills)
    }
}

/// When lives of the driver are cut off.
#[derive(Debug)]
enum Instants {
    /// Drawn evenly from the time that a whole run takes.
    Even(Duration),
    /// So long apart on average, without memory: every instant of the whole job is as likely as any other, whatever was
    /// done before.
    Memoryless(Duration),
}

impl Instants {
    fn draw(&self, chance: &mut Chance) -> Duration {
        match self {
            Instants::Even(normal) => normal.mul_f64(chance.unit()),
            Instants::Memoryless(mean) => mean.mul_f64(-f64::ln(1.0 - chance.unit())),
        }
    }

    fn most(&self) -> usize {
        match self {
            Instants::Even(_) => MOST_KILLS,
            Instants::Memoryless(_) => MOST_KILLS_OF_MAIN,
        }
    }
}

/// A run from its first start to its end, killed now and then. Returns how it ended.
async fn run(
    driver: &Driver,
    key: &str,
    instants: &Instants,
    chance: &mut Chance,
    tally: &mut Tally,
) -> Result<Value, Failed> {
    let mut acknowledged = Acknowledged::default();
    let before = tally.kills;
    loop {
        let kill = (tally.kills - before < instants.most()).then(|| instants.draw(chance));
        let session = driver.live(key, kill).await?;
        if session.killed {
            tally.add(fell(driver, key, &session.left).await?);
        }
        acknowledged.add(&session.acknowledged)?;
        acknowledged.check(driver, key)?;
        match session.outcome {
            // It may have been killed after it said how it ended: then it has nothing more to do.
            Some(outcome) if !session.killed => {
                check_run(driver, key, &acknowledged)?;
                tally.runs += 1;
                return Ok(outcome);
            }
            _ => {}
        }
    }
}

/// Waits until nothing of the folder is left.
async fn nothing_left(driver: &Driver) -> Result<(), Failed> {
    let late = tokio::time::Instant::now() + PATIENCE;
    loop {
        let left = processes(&driver.folder);
        if left.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > late {
            return Err(format!("processes are left over:\n{}", left.join("\n")).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn same(key: &str, outcome: &Value, expected: &Value) -> Result<(), Failed> {
    let ended = essence(outcome, key);
    if ended == *expected && ended["status"] == "succeeded" {
        return Ok(());
    }
    Err(format!("{key}: it ended otherwise than a run without kills:\n{ended}\n{expected}\nwhole: {outcome}").into())
}

/// Pipelines alone.
pub(crate) async fn pipelines(driver: &Driver, kills: usize, chance: &mut Chance) -> Result<Tally, Failed> {
    let calm = driver.live("calm", None).await?;
    let expected = essence(&calm.outcome.ok_or("the calm run did not say how it ended")?, "calm");
    let mut tally = Tally::NONE;
    while tally.kills < kills {
        let key = format!("run-{}", tally.runs);
        let outcome = run(driver, &key, &Instants::Even(calm.took), chance, &mut tally).await?;
        same(&key, &outcome, &expected)?;
        nothing_left(driver).await?;
    }
    check_journal(driver)?;
    Ok(tally)
}

/// The main job: a version is built, tested and rolled out. First with the driver killed, under load that must not lose
/// a request; then with the supervisor killed.
pub(crate) async fn main_job(
    driver: &Driver,
    kills: usize,
    supervisor_kills: usize,
    chance: &mut Chance,
) -> Result<(Tally, Value, usize), Failed> {
    let address = driver.address.clone().ok_or("nowhere to serve")?;
    driver.live("first", None).await?;
    let load = Load::start(&address)?;
    let calm = driver.live("calm", None).await?;
    let expected = essence(&calm.outcome.ok_or("the calm run did not say how it ended")?, "calm");
    let instants = Instants::Memoryless(calm.took.div_f64(KILLS_PER_RUN));
    let mut tally = Tally::NONE;
    while tally.kills < kills || !tally.is_spread() {
        if tally.kills > TOO_MANY * kills {
            return Err(format!("a part of the job was hit by less than a tenth of the kills: {tally:?}").into());
        }
        let key = format!("v{}", tally.runs);
        let outcome = run(driver, &key, &instants, chance, &mut tally).await?;
        same(&key, &outcome, &expected)?;
        forget_builds(driver, &key)?;
    }
    let summary = load.stop().await?;
    let requests = summary["requests"].as_u64().unwrap_or(0);
    if summary["failed"] != 0 || requests == 0 {
        return Err(format!("requests were lost: {summary}").into());
    }
    let dead = supervisor(driver, supervisor_kills, calm.took, &expected, chance).await?;
    stop(driver).await?;
    nothing_left(driver).await?;
    check_journal(driver)?;
    Ok((tally, summary, dead))
}

/// Removes what was built for versions before the present one.
fn forget_builds(driver: &Driver, key: &str) -> Result<(), Failed> {
    for build in std::fs::read_dir(driver.folder.join("builds"))? {
        let build = build?;
        if build.file_name() != key {
            std::fs::remove_dir_all(build.path())?;
        }
    }
    Ok(())
}

/// The supervisor is killed at random instants. Requests may fail while nobody listens; the end must be as ever, and
/// the journal must tell each loss, at the latest when the next run ends.
async fn supervisor(
    driver: &Driver,
    kills: usize,
    normal: Duration,
    expected: &Value,
    chance: &mut Chance,
) -> Result<usize, Failed> {
    let address = driver.address.clone().ok_or("nowhere to serve")?;
    for round in 0..=kills {
        let key = format!("w{round}");
        let before = losses(driver)?;
        if before != round.saturating_sub(1) && before != round {
            return Err(format!("{key}: {round} losses, of which the journal tells {before}").into());
        }
        if Client::connect(&driver.supervisor()).await.is_err() {
            // It was killed when no driver lived any more: the next one brings everything back.
            driver.live(&format!("x{round}"), None).await?;
        }
        let client = Client::connect(&driver.supervisor()).await?;
        let pid = client.list().await?.identity.ok_or("a supervisor without a process")?.pid;
        drop(client);
        let instant = normal.mul_f64(chance.unit());
        // The last round kills nobody: what was lost at the very end of the one before is told now.
        let killer = async {
            if round < kills {
                tokio::time::sleep(instant).await;
                let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or("no such pid")?;
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            }
            Ok::<_, Failed>(())
        };
        let (session, killed) = tokio::join!(driver.live(&key, None), killer);
        killed?;
        let session = session?;
        let mut acknowledged = Acknowledged::default();
        acknowledged.add(&session.acknowledged)?;
        check_run(driver, &key, &acknowledged)?;
        same(&key, &session.outcome.ok_or("no outcome")?, expected)?;
    }
    let told = losses(driver)?;
    if told != kills {
        return Err(format!("the supervisor was killed {kills} times, and the journal tells {told} losses").into());
    }
    // What was brought back serves.
    let load = Load::start(&address)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let summary = load.stop().await?;
    let version = format!("w{kills}");
    if summary["failed"] != 0 || summary["by_version"][&version] != summary["requests"] {
        return Err(format!("the last version does not serve: {summary}").into());
    }
    Ok(kills)
}

async fn stop(driver: &Driver) -> Result<(), Failed> {
    Ok(Client::connect(&driver.supervisor()).await?.stop().await?)
}

/// Ends what a failed part left, so that it disturbs nobody.
pub(crate) async fn abandon(driver: &Driver) {
    if stop(driver).await.is_err() {
        // Without a supervisor its processes are ended by the next one, and there will be none.
        let name = driver.folder.display().to_string();
        for pid in processes(&driver.folder).iter().filter_map(|process| process.split(':').next()?.parse().ok()) {
            // It may have ended by itself.
            let _ = rustix::process::Pid::from_raw(pid)
                .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        eprintln!("kill-loop: ended what was left of {name}");
    }
    if let Err(error) = nothing_left(driver).await {
        eprintln!("kill-loop: {error}");
    }
}

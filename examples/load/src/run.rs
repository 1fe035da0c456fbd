//! The run: when requests are due, who sends them, and what ends it.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::answers::{Answers, Times};
use crate::args::{Args, LONGEST, Until};
use crate::client::Client;
use crate::report;
use crate::stats::Stats;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How often the report is replaced.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// What all workers share.
struct Shared {
    start: Instant,
    /// The next request's number.
    next: AtomicU64,
    started: AtomicU64,
    reopened: AtomicU64,
    stats: Mutex<Stats>,
    answers: Option<Mutex<Answers>>,
}

impl Shared {
    /// A panic elsewhere leaves counts that are still counts.
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends requests until it is told to stop, lets those under way end, and gives the summary.
pub(crate) async fn run(args: &Args) -> Result<Value, Failed> {
    let start = Instant::now();
    let answers = match &args.answers {
        Some(path) => Some(Mutex::new(Answers::create(path, start)?)),
        None => None,
    };
    let shared = Arc::new(Shared {
        start,
        next: AtomicU64::new(0),
        started: AtomicU64::new(0),
        reopened: AtomicU64::new(0),
        stats: Mutex::new(Stats::new()?),
        answers,
    });
    let (stop, stopped) = watch::channel(false);
    // Handlers stand before the first request: a signal at once is not lost.
    let ends = ends(args)?;
    let workers: Vec<_> =
        (0..args.connections).map(|_| tokio::spawn(work(args.clone(), Arc::clone(&shared), stopped.clone()))).collect();
    let mut reporter = tokio::spawn(report_until_stopped(args.report.clone(), Arc::clone(&shared), stopped));
    let (stopped_by, reported) = tokio::select! {
        by = ends => (by, None),
        result = &mut reporter => ("report", Some(result)),
    };
    let elapsed = shared.start.elapsed();
    stop.send_replace(true);
    for worker in workers {
        worker.await??;
    }
    if let Some(answers) = &shared.answers {
        answers.lock().unwrap_or_else(PoisonError::into_inner).finish()?;
    }
    // Over before the last report is written, so that no older one replaces it.
    match reported {
        Some(result) => result??,
        None => reporter.await??,
    }
    let mut summary = shared.stats().to_json();
    summary["done"] = json!(true);
    summary["rate"] = json!(args.rate);
    summary["seconds"] = json!((elapsed.as_secs_f64() * 1_000.0).round() / 1_000.0);
    summary["stopped_by"] = json!(stopped_by);
    summary["unsent"] = json!(due_by(args, elapsed).saturating_sub(shared.started.load(Ordering::Relaxed)));
    summary["reopened"] = json!(shared.reopened.load(Ordering::Relaxed));
    if let Some(path) = &args.report {
        report::replace(path, &summary).map_err(|error| format!("can't write {}: {error}", path.display()))?;
    }
    Ok(summary)
}

/// How many requests are due in a time; never more than the whole run has.
fn due_by(args: &Args, elapsed: Duration) -> u64 {
    let elapsed = match args.until {
        Until::Elapsed(whole) => elapsed.min(whole),
        Until::StdinCloses => elapsed.min(LONGEST),
    };
    (elapsed.as_secs_f64() * args.rate).ceil() as u64
}

/// Whether request `i` gets a connection of its own: evenly spread, exactly the share.
fn own_connection(i: u64, share: f64) -> bool {
    ((i + 1) as f64 * share).floor() > (i as f64 * share).floor()
}

async fn work(args: Args, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Result<(), String> {
    let total = due_by(&args, Duration::MAX);
    let mut client = Client::new(&args);
    loop {
        let i = shared.next.fetch_add(1, Ordering::Relaxed);
        if i >= total {
            break;
        }
        let due = shared.start + Duration::from_secs_f64(i as f64 / args.rate);
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = tokio::time::sleep_until(due) => {}
        }
        shared.started.fetch_add(1, Ordering::Relaxed);
        let shape = args.mix[(i % args.mix.len() as u64) as usize];
        let sent = Instant::now();
        let result = client.exchange(shape, own_connection(i, args.new_connection_share)).await;
        let ended = Instant::now();
        shared.stats().record(&result, ended - due);
        if let Some(answers) = &shared.answers {
            answers.lock().unwrap_or_else(PoisonError::into_inner).add(Times { due, sent, ended }, &result)?;
        }
    }
    shared.reopened.fetch_add(client.reopened, Ordering::Relaxed);
    Ok(())
}

/// Waits for what ends the run, and says what it was.
fn ends(args: &Args) -> Result<impl Future<Output = &'static str> + use<>, Failed> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (longest, stdin) = match args.until {
        Until::Elapsed(time) => (time, None),
        Until::StdinCloses => {
            let (open, closed) = oneshot::channel::<()>();
            // A thread of its own: reading standard input can't be given up.
            std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
                let mut buffer = [0; 1024];
                let mut stdin = std::io::stdin().lock();
                while stdin.read(&mut buffer).is_ok_and(|n| n > 0) {}
                drop(open);
            })?;
            (LONGEST, Some(closed))
        }
    };
    let stdin_closes = async {
        match stdin {
            // Its only news is that the other side is gone.
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            () = tokio::time::sleep(longest) => "time",
            () = stdin_closes => "stdin",
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Replaces the report every so often until the run stops or a report can't be written.
async fn report_until_stopped(
    path: Option<PathBuf>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            _ = ticks.tick() => {}
        }
        let Some(path) = path.clone() else { continue };
        let mut counts = shared.stats().to_json();
        counts["done"] = json!(false);
        counts["elapsed_ms"] = json!(u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX));
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || report::replace(&path, &counts)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("can't write {shown}: {error}")),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_spread() {
        for (share, expected) in [(0.0, 0), (0.1, 100), (0.5, 500), (1.0, 1_000)] {
            assert_eq!((0..1_000).filter(|&i| own_connection(i, share)).count(), expected, "{share}");
        }
        assert!((0..1_000).step_by(10).all(|from| (from..from + 10).filter(|&i| own_connection(i, 0.1)).count() <= 2));
    }
}

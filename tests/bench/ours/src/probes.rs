//! Probes that ask a server, and checks by the thousand that ask nobody.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rustix::time::{ClockId, clock_gettime};
use tidegate::health::probe::{self, FunctionProbe};
use tidegate::health::{CheckSpec, Outcome, ProbeSpec, Verdict, Watcher};
use tidegate::time::{Chance, Clock, Span, SystemClock, Time};

/// What this process took of a processor so far.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// CPU microseconds an HTTP probe, 64 in flight.
pub(crate) fn http(server: SocketAddr, count: usize) -> crate::Outcome {
    let spec = CheckSpec::new(ProbeSpec::http(format!("http://{server}/small")));
    let check = spec.validate()?;
    let probe = probe::build(&check.probe, check.timeout)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (before, left) = (cpu(), Arc::new(AtomicUsize::new(count)));
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (probe, left) = (probe.clone(), left.clone());
            asking.spawn(async move {
                while left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok() {
                    let outcome = probe.run().await;
                    assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.reason);
                }
            });
        }
        while let Some(done) = asking.join_next().await {
            done?;
        }
        Ok(crate::each(cpu() - before, count))
    })
}

/// Prints the cores that 10,000 planned and judged checks a second take, and how much more of them fell into the busiest
/// tenth of a second than into the mean one.
pub(crate) fn checks() -> Result<(), Box<dyn Error>> {
    const CHECKS: u64 = 10_000;
    const TENTHS: usize = 80;
    let interval = Span::seconds(1);
    let spec = CheckSpec { interval: Some(interval.into()), ..CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1")) };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Time::default()));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut watching = tokio::task::JoinSet::new();
        for seed in 0..CHECKS {
            // Whoever starts many at once spreads them: jitter alone takes hundreds of intervals to do so.
            let delay = Span::millis(seed * 1_000 / CHECKS);
            let check = CheckSpec { initial_delay: Some(delay.into()), ..spec.clone() }.validate()?;
            let asked = asked.clone();
            let passes = move || {
                asked.fetch_add(1, Ordering::Relaxed);
                async { Outcome::new(Verdict::Pass, "as it should be") }.boxed()
            };
            let probe = Arc::new(FunctionProbe::new("nothing", Arc::new(passes), check.timeout));
            let mut watcher = Watcher::new(&check, probe, clock.clone(), Chance(seed));
            watching.spawn(async move {
                loop {
                    watcher.next().await;
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (began, before) = (Instant::now(), cpu());
        let mut tenths = Vec::new();
        let mut last = asked.load(Ordering::Relaxed);
        for tenth in 1..=TENTHS {
            tokio::time::sleep_until((began + Duration::from_millis(100) * tenth as u32).into()).await;
            let now = asked.load(Ordering::Relaxed);
            tenths.push((now - last) as f64);
            last = now;
        }
        let cores = (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
        let mean = tenths.iter().sum::<f64>() / tenths.len() as f64;
        let busiest = tenths.into_iter().fold(0.0, f64::max);
        println!("{:.4} {:.4}", cores * CHECKS as f64 / (mean * 10.0), busiest / mean);
        Ok(())
    })
}

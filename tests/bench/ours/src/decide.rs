//! Judges side by side on the same canaries: how many good ones each turns back, and how soon it finds the bad ones.
//!
//! The others are their published rules, written down here: no server of theirs runs.

use tidegate::analysis::{Blackout, BlackoutRule, Evidence, Form, Judge, SideCounts, Verdict, WindowCounts};

use crate::judge::Chance;

/// Ten minutes of windows of 10 s, 1,000 requests each, a tenth of them on the new version.
const WINDOWS: usize = 60;
const STABLE: u64 = 900;
const CANARY: u64 = 100;
const SHARE: u32 = 1_000;
const RATE: f64 = 0.001;
const GOOD: u64 = 4_000;
const BAD: u64 = 1_000;

/// Errors of canary and stable in each window.
type Story = Vec<(u64, u64)>;
/// The window after which a canary is turned back.
type Condemns = dyn Fn(&Story) -> Option<usize>;

/// A canary whose errors come in bursts, each on one side.
fn story(seed: u64, rate: f64, burst: u64) -> Story {
    let mut chance = Chance(seed);
    let per = |rate: f64| rate / burst as f64;
    let draw = |_| {
        let canary = chance.binomial(CANARY, per(rate)) * burst;
        (canary.min(CANARY), (chance.binomial(STABLE, per(RATE)) * burst).min(STABLE))
    };
    (0..WINDOWS).map(draw).collect()
}

/// Prints the percentage of good canaries turned back within the time, and the windows until a bad one is (the mean;
/// one that is not found counts as the whole time).
pub(crate) fn compare(judge: &str, burst: u64) -> Result<(), Box<dyn std::error::Error>> {
    let condemns: Box<Condemns> = match judge {
        "window" => Box::new(|story| sequential(&Judge::default(), story)),
        "event" => {
            let judge = Judge { form: Form::Event {}, ..Judge::default() };
            Box::new(move |story| sequential(&judge, story))
        }
        "argo" => Box::new(argo),
        "flagger" => Box::new(flagger),
        "kayenta" => Box::new(kayenta),
        "wald's" => Box::new(wald),
        _ => return Err(format!("no judge: {judge}").into()),
    };
    let alarms = (0..GOOD).filter(|&seed| condemns(&story(seed, RATE, burst)).is_some()).count();
    let delays = (0..BAD).map(|seed| condemns(&story(GOOD + seed, 10.0 * RATE, burst)).map_or(WINDOWS, |at| at + 1));
    let mean = delays.sum::<usize>() as f64 / BAD as f64;
    println!("{:.4} {mean:.4}", alarms as f64 / GOOD as f64 * 100.0);
    Ok(())
}

fn sequential(judge: &Judge, story: &Story) -> Option<usize> {
    let side = |requests, errors| SideCounts { requests, errors, ..SideCounts::default() };
    let mut evidence = Evidence::default();
    story.iter().position(|&(canary, stable)| {
        let counts = WindowCounts { canary: side(CANARY, canary), stable: side(STABLE, stable), share: SHARE };
        judge.fold(&mut evidence, counts);
        matches!(judge.verdict(&evidence), Verdict::Harm { .. })
    })
}

/// An analysis of Argo Rollouts as its guide has it: a success rate of at least 99 % in each measurement, and a
/// `failureLimit` of 0.
fn argo(story: &Story) -> Option<usize> {
    story.iter().position(|&(canary, _)| canary * 100 > CANARY)
}

/// Flagger's default in its guide: a success rate of at least 99 %, and a `threshold` of 5 failed checks.
fn flagger(story: &Story) -> Option<usize> {
    let mut failed = 0;
    story.iter().position(|&(canary, _)| {
        failed += u32::from(canary * 100 > CANARY);
        failed >= 5
    })
}

/// The likelihood ratio of one rate against the other, by one who knows both: Wald's test, which no judge beats when
/// errors are independent.
fn wald(story: &Story) -> Option<usize> {
    let share = CANARY as f64 / (CANARY + STABLE) as f64;
    let shifted = 10.0 * share / (10.0 * share + 1.0 - share);
    let mut log = 0.0;
    story.iter().position(|&(canary, stable)| {
        log += canary as f64 * (shifted / share).ln() + stable as f64 * ((1.0 - shifted) / (1.0 - share)).ln();
        log >= 100_f64.ln()
    })
}

/// Kayenta's rank test (NetflixACAJudge) of the error rates of all windows so far, looked at after each from the tenth
/// on: high when the lower limit of the shift, at a confidence of 98 %, is over a quarter of its estimate.
fn kayenta(story: &Story) -> Option<usize> {
    let canary: Vec<f64> = story.iter().map(|window| window.0 as f64 / CANARY as f64).collect();
    let stable: Vec<f64> = story.iter().map(|window| window.1 as f64 / STABLE as f64).collect();
    (9..WINDOWS).find(|&last| {
        let (x, y) = (&canary[..=last], &stable[..=last]);
        let (low, estimate) = (shift(x, y, 2.326_347_874), shift(x, y, 0.0));
        low > 0.25 * estimate.abs() && estimate > 0.0
    })
}

/// Where the rank statistic of the experiment less a shift falls to `z`: by halving, as it falls with the shift.
fn shift(x: &[f64], y: &[f64], z: f64) -> f64 {
    let least = |of: &[f64]| of.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |of: &[f64]| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut low, mut high) = (least(x) - most(y), most(x) - least(y));
    while high - low > 1e-4 {
        let middle = f64::midpoint(low, high);
        if statistic(x, y, middle) > z {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Mann and Whitney's z with ties averaged and a correction for continuity.
fn statistic(x: &[f64], y: &[f64], shift: f64) -> f64 {
    let mut all: Vec<(f64, bool)> = x.iter().map(|x| (x - shift, true)).chain(y.iter().map(|y| (*y, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (m, n, total) = (x.len() as f64, y.len() as f64, all.len() as f64);
    let (mut ranks, mut ties, mut from) = (0.0, 0.0, 0);
    while from < all.len() {
        let to = from + all[from..].iter().take_while(|one| one.0 == all[from].0).count();
        let rank = (from + 1 + to) as f64 / 2.0;
        ranks += rank * all[from..to].iter().filter(|one| one.1).count() as f64;
        ties += ((to - from) as f64).powi(3) - (to - from) as f64;
        from = to;
    }
    let d = ranks - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let sigma = (m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))).sqrt();
    let corrected = if d == 0.0 { 0.0 } else { d - 0.5 * d.signum() };
    if sigma == 0.0 { 0.0 } else { corrected / sigma }
}

/// Errors that a dead release serves before the guard sends it back, at 10 of its requests a second.
pub(crate) fn dead() -> crate::Outcome {
    let mut guard = Blackout::new(BlackoutRule::default());
    let second = WindowCounts {
        canary: SideCounts { requests: 10, errors: 10, ..SideCounts::default() },
        stable: SideCounts { requests: 90, ..SideCounts::default() },
        share: SHARE,
    };
    (1..=60).find(|_| guard.fold(second).is_some()).map(|seconds| f64::from(seconds) * 10.0).ok_or("never".into())
}

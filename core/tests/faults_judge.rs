//! The judge when the world does not play along: a release is never condemned by data that are missing or wrong, and
//! never passed by them. Statistical claims are counted over seeded simulations.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate::analysis::{
    Assumption, Blackout, EProcessSpec, Ending, Evidence, Explanation, Judge, JudgeSpec, SideCounts, Sides, Traffic,
    Verdict, WindowCounts, WindowRecord,
};
use tidegate::rollout::RolloutSpec;
use tidegate::service::Outcome;
use tidegate::simulate::{Chapter, End, Moment, Nature, Story};
use tidegate::time::{Chance, Span};
use tidegate::{Command, pipeline::PipelineSpec};

const SIDES: Sides<'static> = Sides { canary: "v2", stable: "v1", canary_replicas: Some(4) };
/// Ten minutes of windows of 10 s.
const WINDOWS: u64 = 60;
const RUNS: u64 = 4_000;
/// What alpha = 1 % allows.
const ALLOWED: u64 = RUNS / 100;

fn spec(value: Value) -> JudgeSpec {
    serde_json::from_value(value).unwrap()
}

fn judge(value: Value) -> Judge {
    let mut faults = Vec::new();
    let judge = spec(value).check("", &mut faults);
    assert_eq!(faults, []);
    judge
}

/// One without the interval for the explanation, which has no say and costs most.
fn quick(value: Value) -> Judge {
    Judge { limits: Vec::new(), ..judge(value) }
}

/// The window in which the judge condemns, counted from 1.
fn condemned(judge: &Judge, windows: impl IntoIterator<Item = WindowCounts>) -> Option<u64> {
    let mut evidence = Evidence::default();
    (1..).zip(windows).find_map(|(n, window)| {
        if !window.is_lopsided() {
            judge.fold(&mut evidence, window);
        }
        matches!(judge.verdict(&evidence), Verdict::Harm { .. }).then_some(n)
    })
}

/// How many of the runs are condemned; each draws its windows from its own chance.
fn alarms<W: IntoIterator<Item = WindowCounts>>(what: &str, judge: &Judge, run: impl Fn(Chance) -> W) -> u64 {
    let seeds = (0..RUNS).map(|seed| Chance(seed).fork(what));
    let alarms = seeds.filter(|chance| condemned(judge, run(*chance)).is_some()).count() as u64;
    eprintln!("figure: {what}: {alarms} of {RUNS} condemned (alpha: {ALLOWED})");
    alarms
}

/// Bad requests in groups of `burst`, each group wholly on one side: `groups` are expected, and each is the canary's
/// with the chance `share` and with `worse` times the other side's rate.
fn bad(chance: &mut Chance, groups: f64, burst: u64, share: f64, worse: f64) -> (u64, u64) {
    let mut drawn = (0, 0);
    // A Poisson number, as the gaps between its events.
    let mut draw = |mean: f64| {
        let (mut n, mut left) = (0, (-mean).exp());
        loop {
            left /= chance.unit().max(1e-12);
            if left >= 1.0 {
                return n;
            }
            n += 1;
        }
    };
    drawn.0 += burst * draw(groups * share * worse);
    drawn.1 += burst * draw(groups * (1.0 - share));
    drawn
}

fn window(share: u32, requests: u64, (canary, stable): (u64, u64)) -> WindowCounts {
    let part = requests * u64::from(share) / 10_000;
    WindowCounts {
        canary: SideCounts::new(part, canary.min(part)),
        stable: SideCounts::new(requests - part, stable.min(requests - part)),
        share,
    }
}

/// What a judge says of counts, now and at the end of the bake.
fn said(judge: &Judge, windows: &[WindowCounts]) -> (Explanation, Explanation, Ending) {
    let mut evidence = Evidence::default();
    windows.iter().for_each(|window| judge.fold(&mut evidence, *window));
    let ending = judge.at_end(&evidence);
    (judge.explain(&evidence, &SIDES), judge.explain_end(&evidence, &ending, &SIDES), ending)
}

/// A thousand users who stick to a side and send one request in each window; the failing ones always fail. With
/// `once` a user's first bad request counts and no other.
fn sticky(failing: u64, once: bool, mut chance: Chance) -> Vec<WindowCounts> {
    let canary: Vec<bool> = (0..1_000).map(|_| chance.below(10) == 0).collect();
    let users = canary.iter().filter(|canary| **canary).count() as u64;
    let mut known = BTreeSet::new();
    let windows = (0..WINDOWS).map(|_| {
        let mut errors = (0, 0);
        let (a, b) = bad(&mut chance, 1.0, 1, 0.5, 1.0);
        let others: Vec<u64> = (0..a + b).map(|_| chance.below(1_000)).collect();
        for user in (0..failing).chain(others) {
            if !known.insert(user) && once {
                continue;
            }
            let side = if canary[user as usize] { &mut errors.0 } else { &mut errors.1 };
            *side += 1;
        }
        let (requests, share) = ((users, 1_000 - users), 1_000);
        WindowCounts {
            canary: SideCounts::new(requests.0, errors.0),
            stable: SideCounts::new(requests.1, errors.1),
            share,
        }
    });
    windows.collect()
}

#[test]
fn sticky_users_of_whom_a_few_always_fail() {
    let judge = quick(json!({}));
    for failing in [1, 3, 10] {
        let what = format!("{failing} of 1,000 sticky users always fail, each counted once");
        assert!(alarms(&what, &judge, |chance| sticky(failing, true, chance)) <= ALLOWED, "{what}");
    }
    // Why it must be counted so.
    let many = alarms("3 of 1,000 sticky users always fail, each request counted", &judge, |c| sticky(3, false, c));
    assert!(many > 5 * ALLOWED, "{many}");
}

#[test]
fn a_replica_with_a_fault_of_its_own() {
    let windows: Vec<WindowCounts> = vec![window(1_000, 1_000, (3, 0)); 4];
    let (judge, sentence) = (judge(json!({})), Assumption::OneReplica.sentence());
    assert!(sentence.contains("can't be told from a bad release"), "{sentence}");
    let mut evidence = Evidence::default();
    windows.iter().for_each(|window| judge.fold(&mut evidence, *window));
    let told = |replicas| judge.explain(&evidence, &Sides { canary_replicas: replicas, ..SIDES });
    let one = told(Some(1));
    assert_eq!(one.verdict, "harm");
    assert!(one.assumptions.contains(&Assumption::OneReplica));
    assert!(one.sentence.ends_with(sentence), "a person reads the sentence alone: {}", one.sentence);
    for replicas in [None, Some(2), Some(4)] {
        let more = told(replicas);
        assert!(!more.assumptions.contains(&Assumption::OneReplica) && !more.sentence.contains(sentence));
    }
    // A fault of one of the old version's replicas is never the release's.
    let old = |mut chance: Chance| {
        (0..WINDOWS).map(move |_| {
            let (canary, stable) = bad(&mut chance, 1.0, 1, 0.1, 1.0);
            window(1_000, 1_000, (canary, stable + 30))
        })
    };
    assert_eq!(alarms("an old replica fails", &judge_quick(), old), 0);
}

fn judge_quick() -> Judge {
    quick(json!({}))
}

#[test]
fn changes_of_weight_under_surge() {
    // The share goes up and down while the traffic grows twentyfold, and the errors with it, in bursts.
    let surge = |mut chance: Chance, assigned: fn(u32) -> u32| {
        (0..WINDOWS as usize).map(move |n| {
            let share = [500, 2_500, 5_000, 2_500][n / 3 % 4];
            let (requests, groups) = if n % 7 < 3 { (20_000, 20.0) } else { (1_000, 1.0) };
            let errors = bad(&mut chance, groups, 10, f64::from(share) / 10_000.0, 1.0);
            WindowCounts { share: assigned(share), ..window(share, requests, errors) }
        })
    };
    let what = "changes of weight under surge";
    assert!(alarms(what, &judge_quick(), |chance| surge(chance, |share| share)) <= ALLOWED);
    // With the share of before the change, such windows would condemn; they are seen by their requests alone.
    let stale: fn(u32) -> u32 = |_| 500;
    assert!(alarms("windows under the weights of before", &judge_quick(), |chance| surge(chance, stale)) <= ALLOWED);
    let folded = |chance| {
        let mut evidence = Evidence::default();
        surge(chance, stale).for_each(|window| judge_quick().fold(&mut evidence, window));
        matches!(judge_quick().verdict(&evidence), Verdict::Harm { .. })
    };
    assert!((0..20).all(|seed| folded(Chance(seed))), "left in, they would condemn");
}

#[test]
fn no_traffic_is_no_verdict() {
    for form in [json!({"kind": "window"}), json!({"kind": "event"}), json!({"kind": "absolute", "objective": 0.01})] {
        let judge = judge(json!({"form": form, "safe": 3}));
        for windows in [0, 1, 1_000] {
            let (now, end, ending) = said(&judge, &vec![window(1_000, 0, (0, 0)); windows]);
            assert_eq!((now.verdict.as_str(), end.verdict.as_str()), ("undecided", "inconclusive"), "{form}");
            assert_eq!(ending, Ending::Inconclusive { need: None, seen: 0 });
            assert!(end.sentence.contains("no requests"), "{}", end.sentence);
        }
    }
    let mut guard = Blackout::of(&judge(json!({}))).unwrap();
    assert!((0..1_000).all(|_| guard.fold(window(1_000, 0, (0, 0))).is_none()));
}

#[test]
fn one_side_only_is_no_verdict() {
    let (bad, good) = (SideCounts::new(100, 100), SideCounts::new(100, 0));
    let none = SideCounts::default();
    for form in ["window", "event"] {
        let judge = judge(json!({"form": {"kind": form}, "safe": 3}));
        for (canary, stable) in [(bad, none), (good, none), (none, bad), (none, good)] {
            for share in [0, 1_000, 5_000, 10_000] {
                let windows = vec![WindowCounts { canary, stable, share }; 200];
                let (now, end, ending) = said(&judge, &windows);
                let told = format!("{form} {canary:?} {stable:?} {share}");
                assert_eq!((now.verdict.as_str(), end.verdict.as_str()), ("undecided", "inconclusive"), "{told}");
                assert_eq!(ending, Ending::Inconclusive { need: None, seen: 0 }, "{told}");
            }
        }
    }
    // The absolute form needs no other side, and nothing but the new one.
    let absolute = judge(json!({"form": {"kind": "absolute", "objective": 0.01}, "safe": 3}));
    let stable = vec![WindowCounts { canary: none, stable: bad, share: 1_000 }; 200];
    let (now, end, _) = said(&absolute, &stable);
    assert_eq!((now.verdict.as_str(), end.verdict.as_str()), ("undecided", "inconclusive"));
    // Nor does the guard fire while the old side is only not seen.
    let mut guard = Blackout::of(&absolute).unwrap();
    for (canary, stable) in [(bad, none), (none, bad)] {
        assert!((0..200).all(|_| guard.fold(WindowCounts { canary, stable, share: 1_000 }).is_none()));
    }
}

#[test]
fn gaps_in_the_data_add_nothing() {
    // Of what a good release would pass with, or a bad one be condemned by, nothing changes when windows of one side,
    // or of none, lie between.
    for errors in [(1, 9), (30, 0)] {
        let full = window(1_000, 1_000, errors);
        let gaps = [window(1_000, 0, (0, 0)), WindowCounts { canary: SideCounts::default(), ..full }];
        let with: Vec<WindowCounts> = (0..60).flat_map(|n| [full, gaps[n % 2]]).collect();
        let without = vec![full; 60];
        let ((now, _, with), (then, _, without)) = (said(&judge_quick(), &with), said(&judge_quick(), &without));
        assert_eq!((now.verdict, now.evidence), (then.verdict, then.evidence));
        assert_eq!(with, without);
    }
}

fn refused<T: std::fmt::Debug>(what: &str, result: Result<T, tidegate::Error>) -> String {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), tidegate::Kind::Invalid, "{what}: {error}");
    error.to_string()
}

#[test]
fn counters_that_go_back_or_are_none_are_refused_with_their_place() {
    let good = json!({"requests": 900, "errors": 0});
    // Numbers that are none can't come in as a count.
    for count in [json!(-1), json!(1.5), json!("3"), json!(null), json!(1e30)] {
        for field in ["requests", "errors", "abandoned"] {
            let mut canary = json!({"requests": 100, "errors": 0});
            canary[field] = count.clone();
            let record = serde_json::from_value::<WindowRecord>(json!({"canary": canary, "stable": good}));
            assert!(record.is_err(), "{field} {count}");
        }
    }
    for text in ["NaN", "Infinity", "-1", "1e999"] {
        let record = format!(r#"{{"canary": {{"requests": {text}, "errors": 0}}}}"#);
        assert!(serde_json::from_str::<WindowRecord>(&record).is_err(), "{text}");
    }
    // What a counter that began anew makes of a difference: fewer requests than errors.
    let back = WindowRecord::new(SideCounts::new(3, 100), SideCounts::new(900, 0));
    let said = refused("errors above requests", spec(json!({})).replay(&[back; 10], &SIDES));
    assert!(
        said.contains("100 errors are more than 3 requests") && said.contains("/windows/0/canary/errors"),
        "{said}"
    );
    let law = json!({"kind": "betting"});
    let process: EProcessSpec = serde_json::from_value(json!({"law": law, "points": [0.5]})).unwrap();
    assert!(refused("errors above requests", process.replay(&[back])).contains("/windows/0/canary/errors"));
    let even = WindowRecord::new(SideCounts::new(100, 3), SideCounts::new(900, 0));
    for share in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        let said = refused("share", spec(json!({})).replay(&[WindowRecord { share: Some(share), ..even }], &SIDES));
        assert!(said.contains("/windows/0/share"), "{said}");
    }
    // Rates of a spec, and of a process as data.
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5] {
        let broken = |change: fn(&mut JudgeSpec, f64)| {
            let mut spec = spec(json!({}));
            change(&mut spec, number);
            spec.replay(&[even; 10], &SIDES)
        };
        for (field, change) in [
            ("alpha", (|spec, n| spec.alpha = Some(n)) as fn(&mut JudgeSpec, f64)),
            ("beta", |spec, n| spec.beta = Some(n)),
            ("tolerate", |spec, n| spec.tolerate = Some(n)),
            ("safe", |spec, n| spec.safe = Some(n)),
            ("detect", |spec, n| spec.detect = Some(n)),
            ("base_rate", |spec, n| spec.base_rate = Some(n)),
        ] {
            assert!(refused(field, broken(change)).contains(&format!("/{field}")), "{field} {number}");
        }
        let points = EProcessSpec { points: vec![number], ..process.clone() };
        assert!(refused("points", points.replay(&[even])).contains("/points/0"));
        let weights = EProcessSpec { weights: Some(vec![number]), ..process.clone() };
        assert!(refused("weights", weights.replay(&[even])).contains("/weights"));
        let traffic = Traffic { requests: 1_000, share: 1_000, rate: number };
        assert_eq!(judge_quick().power(&traffic, 3.0, Chance(1)), None, "{number}");
        let traffic = Traffic { rate: 0.001, ..traffic };
        assert_eq!(judge_quick().power(&traffic, number, Chance(1)), None, "{number}");
    }
}

/// Counts that no proxy makes, told to the judge itself: as if the window were not there.
#[test]
fn more_errors_than_requests_are_no_evidence() {
    for form in [json!({"kind": "window"}), json!({"kind": "event"}), json!({"kind": "absolute", "objective": 0.01})] {
        let judge = quick(json!({"form": form, "safe": 3}));
        let wrapped = SideCounts::new(100, u64::MAX - 3);
        for (canary, stable) in [(wrapped, SideCounts::new(900, 0)), (SideCounts::new(100, 0), wrapped)] {
            let (now, end, _) = said(&judge, &vec![WindowCounts { canary, stable, share: 1_000 }; 100]);
            assert_eq!((now.verdict.as_str(), end.verdict.as_str()), ("undecided", "inconclusive"), "{form}");
        }
        let mut guard = Blackout::of(&judge).unwrap();
        let reading = WindowCounts { canary: wrapped, stable: SideCounts::new(900, 0), share: 1_000 };
        assert!((0..10).all(|_| guard.fold(reading).is_none()), "{form}");
    }
}

#[test]
fn a_bad_day_for_both_sides() {
    // A tenth of all requests fail on both, at times more than half of them, in bursts.
    let day = |mut chance: Chance| {
        (0..WINDOWS).map(move |n| {
            let (groups, burst) = if n % 10 < 7 { (20.0, 5) } else { (40.0, 15) };
            window(1_000, 1_000, bad(&mut chance, groups, burst, 0.1, 1.0))
        })
    };
    assert!(alarms("a bad day for both sides", &judge_quick(), day) <= ALLOWED);
    let mut guard = Blackout::of(&judge_quick()).unwrap();
    assert!((0..100).all(|_| guard.fold(window(1_000, 1_000, (100, 900))).is_none()), "the guard sees both");
    // Without another side there is nobody to see it by, and the verdict says so.
    let absolute = judge(json!({"form": {"kind": "absolute", "objective": 0.01}}));
    let (now, ..) = said(&absolute, &vec![window(1_000, 1_000, (10, 90)); 10]);
    assert_eq!((now.verdict.as_str(), now.assumptions.contains(&Assumption::NoComparison)), ("harm", true));
}

/// The evidence for "no worse" that hours of good windows leave must be outweighed first.
#[test]
fn a_regression_that_begins_late() {
    const LATE: u64 = 200;
    let (mut before, mut early) = (0.0, 0);
    for hours in [0, 1, 3, 12] {
        let good = hours * 360;
        let mut delays: Vec<u64> = (0..100)
            .map(|seed| {
                let mut chance = Chance(seed).fork(&format!("late/{hours}"));
                let windows = (0..good + 2_000).map(|n| {
                    let worse = if n < good { 1.0 } else { 10.0 };
                    window(1_000, 1_000, bad(&mut chance, 1.0, 1, 0.1, worse))
                });
                condemned(&judge_quick(), windows).expect("it is found").saturating_sub(good)
            })
            .collect();
        // Those that were condemned while they were good are false alarms.
        early += delays.iter().filter(|delay| **delay == 0).count();
        delays.retain(|delay| *delay > 0);
        delays.sort_unstable();
        let mean = delays.iter().sum::<u64>() as f64 / delays.len() as f64;
        eprintln!(
            "figure: ten times the errors after {hours} h of good windows: found after {mean:.1} windows in the mean, \
             {} at most",
            delays.last().unwrap()
        );
        assert!(mean > before && early <= 4, "{early} {delays:?}");
        assert!(mean < 10.0 + LATE as f64 / 3.0 * hours as f64, "{hours} h: {mean}");
        before = mean;
    }
    // A total failure needs no evidence: the guard looks at the last seconds alone.
    let mut guard = Blackout::of(&judge_quick()).unwrap();
    assert!((0..4_320).all(|_| guard.fold(window(1_000, 1_000, (0, 1))).is_none()));
    let found = (1..).find(|_| guard.fold(window(1_000, 1_000, (90, 1))).is_some());
    assert_eq!(found, Some(2));
}

/// A chapter that ships a version as a canary at 10 percent for a minute, judged by this.
fn ship(version: &str, judge: &Value) -> Chapter {
    let rollout = json!({
        "service": "shop", "strategy": {"kind": "canary", "steps": [10], "bake": "1m"}, "judge": judge,
        "serve": {"listen": "127.0.0.1:0", "replicas": 4, "drain": "5s"}, "keep_old": "1s"
    });
    let release = json!({"version": version, "command": ["shop", version]});
    let action = json!({"kind": "rollout", "rollout": rollout, "release": release});
    let pipeline = json!({"name": "release", "steps": [{"name": "ship", "action": action}]});
    let pipeline: PipelineSpec = serde_json::from_value(pipeline).unwrap();
    assert!(serde_json::from_value::<RolloutSpec>(rollout).is_ok());
    Chapter::new(version, pipeline)
}

fn shipped(seed: u64, rate: u64, cold: Nature, chapter: Chapter) -> (Outcome, String, End) {
    let quiet = json!({"inconclusive": "pass", "warmup": "1s"});
    let story = Story { rate, ..Story::new(seed, ship("v1", &quiet)).then(chapter) }.nature("v2", cold);
    let end = story.tell().unwrap();
    assert_eq!(end.broken, Vec::<String>::new(), "seed {seed}");
    let (outcome, reason) = end.runs[1].rollouts["ship"].clone();
    (outcome, reason, end)
}

#[test]
fn a_cold_start() {
    const SEEDS: u64 = 60;
    // Four of a hundred requests fail as long as an instance is cold, and one of a thousand afterwards.
    let cold = Nature { cold: (30, 400), ..Nature::GOOD };
    let back = |warmup: &str, window: &str| {
        let judge = json!({"inconclusive": "pass", "warmup": warmup, "window": window});
        let outcomes = (0..SEEDS).map(|seed| shipped(seed, 200, cold, ship("v2", &judge)));
        let back = outcomes.filter(|(outcome, reason, _)| {
            assert!(*outcome == Outcome::Promoted || reason.contains("condemned its errors"), "{reason}");
            *outcome == Outcome::RolledBack
        });
        let back = back.count();
        eprintln!("figure: a cold start, warm-up of {warmup}: {back} of {SEEDS} rolled back");
        back
    };
    assert_eq!(back("30s", "10s"), 0);
    assert!(back("0s", "10s") > SEEDS as usize / 5, "why there is a warm-up");
}

#[test]
fn a_rollout_without_traffic_is_neither_condemned_nor_passed() {
    let nature = Nature { errors: 10_000, hangs: 5_000, ..Nature::GOOD };
    let (outcome, reason, _) = shipped(1, 0, nature, ship("v2", &json!({"inconclusive": "roll_back"})));
    assert_eq!(outcome, Outcome::RolledBack);
    assert!(reason.contains("in no window did both sides have requests"), "{reason}");
    assert!(!reason.contains("condemned"), "{reason}");
    // By default it asks, and stays where it is until somebody answers.
    let abort = Command::Abort { step: "ship".into(), by: "ann".into(), reason: "no traffic".into() };
    let chapter = ship("v2", &json!({})).say(Moment::After(Span::seconds(3_600)), abort);
    let (outcome, reason, end) = shipped(2, 0, nature, chapter);
    assert_eq!((outcome, reason.as_str()), (Outcome::Aborted, "v2 aborted at 10 % by ann: no traffic"));
    let events = String::from_utf8(end.events).unwrap();
    assert!(events.contains("the judge can't tell: ") && !events.contains(r#""verdict":"pass""#), "{events}");
}

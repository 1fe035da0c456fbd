//! Requests that clients left before an answer: a metric of its own.

use crate::analysis::draw::Binomial;
use crate::analysis::{Ending, Evidence, Judge, JudgeSpec, Metric, SideCounts, Sides, Verdict, WindowCounts};
use crate::time::Chance;

const SIDES: Sides<'static> = Sides { canary: "v3", stable: "v2", canary_replicas: Some(4) };

fn judge(json: &str) -> Judge {
    let mut faults = Vec::new();
    let judge = serde_json::from_str::<JudgeSpec>(json).unwrap().check("", &mut faults);
    assert_eq!(faults, []);
    judge
}

/// Requests with an answer, bad ones, and those that the client left, on each side.
fn counts(canary: (u64, u64, u64), stable: (u64, u64, u64), share: u32) -> WindowCounts {
    let side = |(requests, errors, abandoned)| SideCounts { requests, errors, abandoned };
    WindowCounts { canary: side(canary), stable: side(stable), share }
}

fn folded(judge: &Judge, windows: impl IntoIterator<Item = WindowCounts>) -> Evidence {
    let mut evidence = Evidence::default();
    windows.into_iter().for_each(|window| judge.fold(&mut evidence, window));
    evidence
}

#[test]
fn a_release_that_hangs_is_condemned_in_every_form_and_the_metric_is_named() {
    for (form, against) in [
        (r#"{"kind": "window"}"#, "0 of 7,200 on v2 (0 %)"),
        (r#"{"kind": "event"}"#, "0 of 7,200 on v2 (0 %)"),
        (r#"{"kind": "absolute", "objective": 0.001}"#, "an objective of 5 %"),
        (r#"{"kind": "absolute", "objective": 0.1, "independent": true}"#, "an objective of 10 %"),
    ] {
        let judge = judge(&format!(r#"{{"form": {form}}}"#));
        // 31 of 100 give up; what is answered is answered well.
        let evidence = folded(&judge, vec![counts((69, 0, 31), (900, 0, 0), 1_000); 8]);
        let Verdict::Harm { log_e, log_bound } = judge.verdict(&evidence) else { panic!("{form}") };
        assert!(log_e >= log_bound && (log_bound - libm::log(1_000.0)).abs() < 1e-9, "{form}");
        assert_eq!((judge.condemns(&evidence), judge.at_end(&evidence)), (Some(Metric::Abandoned), Ending::Harm));
        let why = judge.explain(&evidence, &SIDES);
        let start = format!(
            "requests that clients left before an answer: 248 of 800 on v3 (31 %) against {against}; evidence "
        );
        assert!(why.sentence.starts_with(&start), "{} instead of {start}", why.sentence);
        assert!(why.sentence.ends_with(" passed the bound of 1,000 (10 % of alpha 1 %)"), "{}", why.sentence);
        assert_eq!((why.metric, why.canary, why.bound), (Metric::Abandoned, SideCounts::new(800, 248), 1_000.0));
    }
}

#[test]
fn where_every_request_hangs_nothing_else_is_there_to_judge() {
    let judge = judge("{}");
    let evidence = folded(&judge, vec![counts((0, 0, 100), (900, 0, 0), 1_000); 6]);
    assert_eq!(judge.condemns(&evidence), Some(Metric::Abandoned));
    assert_eq!(evidence.totals().canary, SideCounts::default(), "no window compares errors");
}

#[test]
fn clients_that_leave_both_sides_alike_condemn_neither() {
    const RUNS: u64 = 10_000;
    let judge = Judge { limits: Vec::new(), ..judge("{}") };
    let (canary, stable) = (Binomial::new(100, 0.001), Binomial::new(900, 0.001));
    let mut chance = Chance(17);
    let mut alarms = 0;
    for _ in 0..RUNS {
        let mut evidence = Evidence::default();
        for _ in 0..60 {
            let mut left = |side: &Binomial| side.draw(chance.unit());
            let (c, s) = (left(&canary), left(&stable));
            judge.fold(&mut evidence, counts((100 - c, 0, c), (900 - s, 0, s), 1_000));
        }
        alarms += u64::from(judge.condemns(&evidence).is_some());
    }
    eprintln!("{alarms} of {RUNS} good releases condemned by a tenth of alpha, 1 %");
    assert!(alarms > 0 && alarms <= RUNS / 1_000, "{alarms}");
}

#[test]
fn an_objective_lets_some_clients_leave_as_they_leave_any_service() {
    let judge = judge(r#"{"form": {"kind": "absolute", "objective": 0.001}}"#);
    let evidence = folded(&judge, vec![counts((980, 0, 20), (0, 0, 0), 10_000); 1_000]);
    assert_eq!(judge.condemns(&evidence), None, "2 % leave; 0.1 % is the objective for errors");
}

#[test]
fn a_release_that_clients_leave_is_not_safe_by_its_errors() {
    let judge = judge(r#"{"safe": 2}"#);
    let safe = |left| {
        let evidence = folded(&judge, vec![counts((500 - left, 0, left), (500, 4, 0), 5_000); 6]);
        matches!(judge.verdict(&evidence), Verdict::Safe { .. })
    };
    assert_eq!((safe(0), safe(1)), (true, false));
    let proven = folded(&judge, vec![counts((499, 0, 1), (440, 4, 60), 5_000); 12]);
    assert!(matches!(judge.verdict(&proven), Verdict::Safe { .. }), "many more leave the old one");
}

#[test]
fn what_is_short_of_the_bound_is_told_beside_the_errors() {
    let judge = judge("{}");
    let why = judge.explain(&folded(&judge, [counts((479, 0, 1), (4_310, 3, 2), 1_000)]), &SIDES);
    assert!(
        why.sentence.ends_with(
            "; clients left before an answer: 1 of 480 on v3 (0.21 %) against 2 of 4,312 on v2 (0.046 %), \
             evidence 1.9 of 1,000"
        ),
        "{}",
        why.sentence
    );
    assert_eq!((why.verdict.as_str(), why.metric), ("undecided", Metric::Errors));
}

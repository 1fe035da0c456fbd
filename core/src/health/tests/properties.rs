//! What must hold for every set of rules and every run of results.

use proptest::prelude::*;

use crate::health::{CheckMachine, Intervals, Rules, State, Transition, Verdict};
use crate::time::{Chance, Span, Time};

const STATES: [State; 5] = [State::Starting, State::Passing, State::Degraded, State::Failing, State::Unknown];

#[derive(Debug, Clone, Copy)]
enum Input {
    Result(Verdict, u64),
    Tick,
    Restart,
}

fn rules() -> impl Strategy<Value = Rules> {
    let counts = (0_u32..5, 0_u32..6, proptest::option::of(0_u32..6), proptest::option::of(1_u32..4));
    let states = (0_usize..5, proptest::collection::btree_set(prop_oneof![Just(1_usize), Just(3)], 0..2));
    let spans = (0_u64..40, 0_u64..40, proptest::option::of(1_u64..60), 0_u32..101);
    (counts, states, spans, any::<(bool, bool)>()).prop_map(|(counts, states, spans, flags)| Rules {
        rise: counts.0,
        fall: counts.1,
        degrade: counts.2,
        initial: STATES[states.0],
        first_result_applies: flags.0,
        unknown_after: counts.3,
        hold: states.1.into_iter().map(|i| STATES[i]).collect(),
        initial_delay: Span(spans.0),
        start_period: Span(spans.1),
        every: Intervals {
            normal: Span(10),
            starting: Span(1),
            failing: Span(20),
            rising: Span(3),
            falling: Span(4),
            jitter_percent: spans.3,
        },
        max_age: spans.2.map(Span),
        stale: if flags.1 { State::Failing } else { State::Unknown },
    })
}

fn inputs() -> impl Strategy<Value = Vec<(u64, Input)>> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Pass),
        1 => Just(Verdict::Warn),
        4 => Just(Verdict::Fail),
        1 => Just(Verdict::FailNow),
        2 => Just(Verdict::Unknown),
    ];
    let input = prop_oneof![
        12 => (verdict, 0_u64..5).prop_map(|(verdict, took)| Input::Result(verdict, took)),
        2 => Just(Input::Tick),
        1 => Just(Input::Restart),
    ];
    proptest::collection::vec((0_u64..15, input), 0..60)
}

/// Runs the inputs; `look` sees the machine before and after each one.
fn run(
    rules: &Rules,
    seed: u64,
    inputs: &[(u64, Input)],
    mut look: impl FnMut(&CheckMachine, Input, Time, Option<&Transition>, &CheckMachine),
) -> Vec<(Option<Transition>, Option<Time>)> {
    let mut now = Time(1_000);
    let mut machine = CheckMachine::new(rules.clone(), now, Chance(seed));
    let mut trace = Vec::new();
    for (wait, input) in inputs {
        now = now.after(Span(*wait));
        let before = machine.clone();
        let transition = match input {
            Input::Result(verdict, took) => {
                let began = now;
                now = now.after(Span(*took));
                machine.observe(*verdict, "because", began, now)
            }
            Input::Tick => machine.tick(now),
            Input::Restart => machine.restart(now),
        };
        look(&before, *input, now, transition.as_ref(), &machine);
        trace.push((transition, machine.due()));
    }
    trace
}

proptest! {
    #[test]
    fn equal_seeds_give_equal_traces(rules in rules(), inputs in inputs(), seed: u64) {
        let trace = run(&rules, seed, &inputs, |_, _, _, _, _| {});
        prop_assert_eq!(trace, run(&rules, seed, &inputs, |_, _, _, _, _| {}));
    }

    #[test]
    fn chance_moves_probes_and_never_states(rules in rules(), inputs in inputs(), a: u64, b: u64) {
        let states = |seed| run(&rules, seed, &inputs, |_, _, _, _, _| {}).into_iter().map(|step| step.0);
        prop_assert!(states(a).eq(states(b)));
    }

    #[test]
    fn a_transition_is_a_change_and_every_change_is_one(rules in rules(), inputs in inputs()) {
        run(&rules, 1, &inputs, |before, _, now, transition, after| match transition {
            Some(transition) => {
                assert_eq!((transition.from, transition.to), (before.state(), after.state()));
                assert_ne!(transition.from, transition.to);
                assert_eq!((transition.at, after.since()), (now, now));
                assert!(!transition.rule.is_empty());
                assert!(after.explain(now).starts_with(&format!("{} for 0s: ", transition.to.as_str())));
            }
            None => assert_eq!((before.state(), before.since()), (after.state(), after.since())),
        });
    }

    /// Counted here over the whole history, not step by step as the machine does.
    #[test]
    fn failing_takes_enough_failures_in_a_row(rules in rules(), inputs in inputs()) {
        let rules = Rules { first_result_applies: false, ..rules };
        let (mut failures, mut hard) = (0, false);
        run(&rules, 1, &inputs, |before, input, _, transition, _| {
            match input {
                Input::Result(Verdict::Fail, _) => failures += 1,
                Input::Result(Verdict::FailNow, _) => hard = true,
                Input::Result(Verdict::Pass | Verdict::Warn, _) | Input::Restart => (failures, hard) = (0, false),
                Input::Result(Verdict::Unknown, _) | Input::Tick => {}
            }
            let stale = matches!(input, Input::Tick | Input::Restart);
            if !hard && !stale && transition.is_some_and(|transition| transition.to == State::Failing) {
                assert!(failures >= rules.fall, "{failures} of {}: {before:?}", rules.fall);
            }
        });
    }

    #[test]
    fn passing_takes_enough_passes_in_a_row(rules in rules(), inputs in inputs()) {
        let rules = Rules { first_result_applies: false, ..rules };
        let mut passes = 0;
        run(&rules, 1, &inputs, |_, input, _, transition, _| {
            match input {
                Input::Result(Verdict::Pass | Verdict::Warn, _) => passes += 1,
                Input::Result(Verdict::Fail | Verdict::FailNow, _) | Input::Restart => passes = 0,
                Input::Result(Verdict::Unknown, _) | Input::Tick => {}
            }
            if input_is(input, Verdict::Pass) && transition.is_some_and(|t| t.to == State::Passing) {
                assert!(passes >= rules.rise);
            }
        });
    }

    #[test]
    fn unknown_results_count_for_nothing(rules in rules(), inputs in inputs()) {
        run(&rules, 1, &inputs, |before, input, _, transition, after| {
            if input_is(input, Verdict::Unknown) {
                let counts = |machine: &CheckMachine| (machine.passes(), machine.failures(), machine.answered());
                assert!(before.due().is_some() && after.due().is_none() || counts(before) == counts(after));
                assert!(transition.is_none_or(|transition| transition.to == State::Unknown));
            }
        });
    }

    #[test]
    fn enough_of_the_same_is_always_enough(rules in rules(), inputs in inputs(), passes: bool) {
        // Beyond the start period, with nothing held, `rise` passes lead to passing and `fall` failures to failing.
        let rules = Rules { hold: Default::default(), start_period: Span::ZERO, ..rules };
        let verdict = if passes { Verdict::Pass } else { Verdict::Fail };
        let end = std::iter::repeat_n((1, Input::Result(verdict, 0)), 6);
        let inputs: Vec<_> = inputs.into_iter().chain(end).collect();
        let mut last = None;
        run(&rules, 1, &inputs, |_, _, _, _, after| last = Some(after.state()));
        prop_assert_eq!(last, Some(if passes { State::Passing } else { State::Failing }));
    }

    #[test]
    fn what_is_said_to_be_needed_is_needed(rules in rules(), inputs in inputs(), passes: bool) {
        let rules = Rules { hold: Default::default(), start_period: Span::ZERO, ..rules };
        run(&rules, 1, &inputs, |_, _, now, _, after| {
            let mut machine = after.clone();
            let (needed, verdict, to) = match passes {
                true => (machine.passes_needed(), Verdict::Pass, State::Passing),
                false => (machine.failures_needed(), Verdict::Fail, State::Failing),
            };
            for _ in 0..needed {
                assert_ne!(machine.state(), to);
                machine.observe(verdict, "", now, now);
            }
            assert_eq!(machine.state(), to);
        });
    }

    #[test]
    fn probes_keep_their_distance_and_held_ones_stop(rules in rules(), inputs in inputs(), seed: u64) {
        run(&rules, seed, &inputs, |before, input, now, transition, after| {
            if before.due().is_none() && !matches!(input, Input::Restart) {
                assert!(transition.is_none() && after.due().is_none());
            }
            if let (Input::Result(_, took), Some(_), Some(due)) = (input, before.due(), after.due()) {
                assert!(due >= now);
                let latest = now.0 - i64::try_from(took).unwrap() + 2 * 20;
                assert!(due.0 <= latest.max(now.0), "{due} after {latest}");
            }
        });
    }
}

fn input_is(input: Input, verdict: Verdict) -> bool {
    matches!(input, Input::Result(given, _) if given == verdict)
}

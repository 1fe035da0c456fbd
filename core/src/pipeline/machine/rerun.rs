//! Which steps of a run that has ended run again.

use std::collections::BTreeSet;

use crate::pipeline::machine::event::{Ended, SkipReason};
use crate::pipeline::machine::state::{Phase, Run, meets};

/// The steps that run again, and those that can't but must be told anew why.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// The steps that run again.
    pub(super) steps: BTreeSet<usize>,
    /// Steps that stay skipped, for another reason than before: the step that they were skipped for runs again, and
    /// yet another one keeps them from running. Those that are waited for come first.
    pub(super) kept: Vec<usize>,
}

/// What failed, was cancelled, or was skipped since the run stopped; what waits for such steps, directly or not, unless
/// a step that is not run again keeps it from running; and the cleanup steps that come last, if an ordinary step runs
/// again.
pub(super) fn unfinished(run: &Run) -> Again {
    with_last(run, None)
}

/// What was skipped for `step`, which failed and is now said to have succeeded.
pub(super) fn freed_by(run: &Run, step: usize) -> Again {
    with_last(run, Some(step))
}

fn with_last(run: &Run, set_by_hand: Option<usize>) -> Again {
    let found = again(run, set_by_hand, false);
    if found.steps.iter().any(|i| !run.is_cleanup(*i)) { again(run, set_by_hand, true) } else { found }
}

fn again(run: &Run, set_by_hand: Option<usize>, last: bool) -> Again {
    let graph = run.pipeline.graph();
    let mut found = Again::default();
    for i in graph.levels().into_iter().flatten() {
        let Some(step) = run.steps.get(i).filter(|_| set_by_hand != Some(i)) else { continue };
        let anew = |on: usize| found.steps.contains(&on) || set_by_hand == Some(on);
        let blocked = graph.needs(i).iter().filter(|need| !found.steps.contains(&need.step)).any(|need| {
            let ended = match set_by_hand {
                Some(on) if on == need.step => Some(Ended::Succeeded),
                _ => run.steps.get(need.step).and_then(|step| step.phase.ended()),
            };
            !ended.is_some_and(|ended| meets(need, ended, run.is_allowed_to_fail(need.step)))
        });
        let waits_for_it = graph.needs(i).iter().any(|need| anew(need.step));
        let wanted = match (&step.phase, set_by_hand) {
            _ if last && graph.last().binary_search(&i).is_ok() => true,
            (Phase::Skipped { reason }, None) => waits_for_it || !matches!(**reason, SkipReason::Need { .. }),
            (Phase::Failed { .. } | Phase::Cancelled { .. }, None) => true,
            (_, None) => waits_for_it,
            // A result set by hand brings on what was skipped for its lack, and nothing that ran but cleanup.
            (Phase::Skipped { .. }, Some(_)) => waits_for_it,
            (_, Some(_)) => last && run.is_cleanup(i) && waits_for_it,
        };
        if wanted && !blocked {
            found.steps.insert(i);
        } else if let (true, Phase::Skipped { reason }) = (wanted, &step.phase) {
            match &**reason {
                SkipReason::Need { step, .. } if graph.index(step).is_none_or(|on| !anew(on)) => {}
                _ => found.kept.push(i),
            }
        }
    }
    found
}

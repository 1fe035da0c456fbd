//! Who looks after a run.

use crate::kernel::Command;
use crate::pipeline::RunState;
use crate::rollout::{Gate, Move};
use crate::simulate::Chapter;

/// What the one who looks after a run says now.
pub(super) fn said_by(chapter: &Chapter, state: &RunState) -> Vec<Command> {
    let Some(run) = state.run() else { return Vec::new() };
    let by = || "ann".to_owned();
    let mut said = Vec::new();
    if let Some(answer) = &chapter.person.answers {
        let questions = run.questions();
        said.extend(questions.map(|(step, _)| Command::Resolve {
            step: step.to_owned(),
            answer: answer.clone(),
            by: by(),
        }));
    }
    if chapter.person.promotes {
        said.extend(run.rollouts().filter_map(|(step, rollout)| {
            let waits = matches!(rollout.step(), Some(Move::Gate { gate: Gate::Approval })) && rollout.begun;
            let asks = rollout.paused.as_ref().is_some_and(|pause| pause.by.is_none());
            let step = step.to_owned();
            (!rollout.back && !rollout.opened && (waits || asks)).then(|| Command::Promote {
                step,
                by: by(),
                reason: String::new(),
            })
        }));
    }
    said
}

//! What a person would do when a run asks: look whether the step took effect, and answer.

use std::path::Path;

use tidegate::process::{Mark, sweep};
use tidegate::time::Span;
use tidegate::{Command, Error, Kind, Outcome, Result, Run, StepAnswer, StepStatus};

use crate::pipeline::{EFFECTS, ONCE};

/// Answers every open question. A `once` step that has begun is said to be done, whatever a kill left undone of it: it
/// must not begin twice. One that has not begun runs, and so does every other step.
pub(crate) async fn answer(run: &Run, outcome: &Outcome, journal: &Path, folder: &Path, key: &str) -> Result<()> {
    for (name, step) in outcome.steps.iter().filter(|(_, step)| step.status == StepStatus::Asking) {
        // What the killed program left of it could still begin.
        let mark = Mark::new([journal.display().to_string(), run.id().to_owned(), name.clone()]);
        let left = sweep(move |other| other.is_within(&mark), Span::seconds(1)).await;
        if left.iter().any(|swept| swept.survived) {
            return Err(Error::new(Kind::Failed, "what was left over of a step could not be ended").with("step", name));
        }
        let begun = std::fs::read_to_string(folder.join(EFFECTS))
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with(&format!("{key} {name} ")) && line.ends_with(" start"));
        let answer = match ONCE.iter().find(|(once, _)| once == name) {
            Some((_, value)) if begun => StepAnswer::Done { value: (*value).into() },
            _ => StepAnswer::RunAgain,
        };
        let reason = step.reason.clone().unwrap_or_default();
        let command = Command::Resolve { step: name.clone(), answer, by: "operator".to_owned() };
        run.send(command).await.map_err(|error| error.with("step", name).with("question", reason))?;
    }
    Ok(())
}

//! What people say to a rollout.

use serde::{Deserialize, Serialize};

use super::advance::Draft;
use crate::error::{Error, Kind, Result};
use crate::rollout::event::{Cause, Pause, RolloutEvent};
use crate::rollout::explain::doing;
use crate::rollout::plan::{Gate, Move};

/// Something that somebody says to a rollout, from the program, the command line or the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What.
    pub verb: Verb,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// What can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Skips what is waited for now: an approval, a bake or analysis before its time, or the old version's readiness.
    /// Never the new version's. Ends a pause, too. What comes later still waits.
    Promote,
    /// Begins no further move. What was begun is completed, and the judge goes on.
    Pause,
    /// Goes on after a pause.
    Resume,
    /// Goes back, from any point before the promotion.
    Abort,
    /// Goes back, from any point: as abort before the promotion, and after it to the version that was stable before.
    Revert,
}

/// How to go back when no rollout is under way any more.
pub(crate) const REVERT_ANEW: &str = "to go back to a former version, start a run with a revert step";

pub(super) fn command(draft: &mut Draft, asked: &Command) -> Result<()> {
    let state = &draft.state;
    let refuse =
        |what: &str, help: &str| Err(Error::new(Kind::Conflict, what).with("version", state.version()).help(help));
    if let Some((outcome, _)) = &state.finished {
        let what = format!("the rollout is over ({})", outcome.as_str());
        return refuse(&what, REVERT_ANEW);
    }
    let (by, reason) = (asked.by.clone(), asked.reason.clone());
    let back = state.back;
    // Not `is_promoted`: a revert to the stable version, which clears up beside it, promotes nothing.
    let promoted = !back && state.announced.is_some();
    match asked.verb {
        // On the way back already: nothing to add.
        Verb::Abort | Verb::Revert if back => {}
        // As in Argo Rollouts, where an abort changes nothing once the new version is the stable one.
        Verb::Abort if promoted => {
            let what = format!("{} is promoted already, and an abort takes back only what is not", state.version());
            let former = state.former().unwrap_or("what was before");
            return refuse(&what, &format!("revert goes back to {former} as long as the rollout is under way"));
        }
        Verb::Abort | Verb::Revert => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let cause = if promoted { Cause::Revert } else { Cause::Abort };
            draft.turn_back(cause, format!("by {by}{why}"));
        }
        Verb::Pause | Verb::Resume | Verb::Promote if back => {
            return refuse("the rollout is on its way back", "it can't be stopped there");
        }
        Verb::Pause if state.paused.as_ref().is_some_and(|pause| pause.by.is_some()) => {}
        Verb::Pause => draft.push(RolloutEvent::Paused { pause: Pause { by: Some(by), reason } }),
        Verb::Resume if state.paused.is_none() => {
            return refuse("the rollout is not paused", "promote opens a gate that waits");
        }
        Verb::Resume => draft.push(RolloutEvent::Resumed { by, reason }),
        Verb::Promote => match state.step() {
            Some(Move::Gate { gate: Gate::Pause { .. } | Gate::Analysis { .. } | Gate::Approval }) if state.begun => {
                draft.push(RolloutEvent::GateOpened { by, reason });
            }
            Some(step) if state.waits_for_old(step) => draft.push(RolloutEvent::GateOpened { by, reason }),
            _ if state.paused.is_some() => draft.push(RolloutEvent::Resumed { by, reason }),
            step => {
                let doing = match step {
                    Some(step) if state.begun => format!("it is {} now", doing(step)),
                    Some(step) => format!("{} comes next", doing(step)),
                    None => "it ends now".to_owned(),
                };
                let what = format!("the rollout waits for nothing that a promotion could skip: {doing}");
                return refuse(
                    &what,
                    "send it again once it bakes, is judged, or waits for the old version or a promotion; its events say so",
                );
            }
        },
    }
    Ok(())
}

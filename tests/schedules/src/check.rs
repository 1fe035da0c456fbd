//! What must hold at the end of every story.

use std::collections::BTreeMap;

use tidegate::pipeline::RunStatus;
use tidegate::service::Outcome;
use tidegate::simulate::{End, RunEnd, ServiceEnd, Story};

/// How a story ended, in a word for the totals; or what does not hold.
pub(crate) type Checked = Result<String, String>;

/// Tells a story of a pipeline.
pub(crate) fn pipeline(story: &Story) -> Checked {
    let end = story.tell().map_err(|error| error.to_string())?;
    whole(&end)?;
    let status = end.runs.last().ok_or("no run was begun")?.status;
    Ok(format!("{status:?}").to_lowercase())
}

/// Tells a story whose last chapter is a rollout.
pub(crate) fn rollout(story: &Story) -> Checked {
    let end = story.tell().map_err(|error| error.to_string())?;
    ended_rollout(story, &end)
}

/// The end of such a story.
pub(crate) fn ended_rollout(story: &Story, end: &End) -> Checked {
    whole(end)?;
    service(story, end)
}

fn whole(end: &End) -> Result<(), String> {
    if let Some(broken) = end.broken.first() {
        return Err(format!("a rule was broken: {broken}"));
    }
    if let Some(left) = end.left.first() {
        return Err(format!("left running: {left}"));
    }
    let goes_on = |run: &&RunEnd| !matches!(run.status, RunStatus::Finished(_) | RunStatus::Asking);
    end.runs.iter().find(goes_on).map_or(Ok(()), |run| Err(format!("a run neither ended nor asks: {run:?}")))
}

/// The service is as before its last rollout, or stands by the new version, or says why not.
fn service(story: &Story, end: &End) -> Checked {
    let mut before = story.with(Vec::new());
    before.chapters.pop();
    let before = before.tell().map_err(|error| error.to_string())?;
    if before.runs.iter().zip(&end.runs).any(|(before, run)| before.status != run.status) {
        // A step that is cut off again and again asks or fails: then nothing stands that it could go back to.
        return Ok("crashed before".to_owned());
    }
    let (Some(found), Some(earlier)) = (end.services.get("shop"), before.services.get("shop")) else {
        return Err("the service is gone".to_owned());
    };
    if let Some(held) = &found.held {
        return Err(format!("the service is still held: {held:?}"));
    }
    let run = end.runs.last().ok_or("no run was begun")?;
    let mut ends = Vec::new();
    for (outcome, reason) in run.rollouts.values() {
        if reason.is_empty() || reason.contains('\n') {
            return Err(format!("the reason is no sentence: {reason:?}"));
        }
        let expected = match outcome {
            Outcome::Promoted => {
                let version = found.stable.clone().ok_or_else(|| format!("promoted to nothing: {reason}"))?;
                let only = |count| BTreeMap::from([(version.clone(), count)]);
                (Some(version.clone()), only(10_000), only(4))
            }
            Outcome::Aborted | Outcome::Reverted | Outcome::RolledBack => shape(earlier),
            Outcome::Stuck => {
                let old = earlier.stable.as_ref().ok_or("stuck with no old version")?;
                if !found.running.contains_key(old) {
                    return Err(format!("stuck, and the old version is gone: {reason}"));
                }
                ends.push(outcome.as_str());
                continue;
            }
        };
        if shape(found) != expected {
            return Err(format!("{}: {:?} instead of {expected:?}: {reason}", outcome.as_str(), shape(found)));
        }
        if *outcome != Outcome::Promoted && found.kept != earlier.kept {
            return Err(format!("{}: kept {:?} instead of {:?}", outcome.as_str(), found.kept, earlier.kept));
        }
        ends.push(outcome.as_str());
    }
    Ok(if ends.is_empty() { "no rollout".to_owned() } else { ends.join(" and ") })
}

type Shape = (Option<String>, BTreeMap<String, u32>, BTreeMap<String, u32>);

fn shape(end: &ServiceEnd) -> Shape {
    (end.stable.clone(), end.weights.clone(), end.running.clone())
}

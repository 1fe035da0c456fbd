//! Why, in one sentence.

use super::event::{Cause, WindowLatency};
use super::machine::{LISTEN_WITHIN, RolloutState};
use super::plan::{Gate, Move};
use crate::error::counted;
use crate::service::Outcome;

/// A share in percent, from hundredths of a percent: `25 %`, `0.5 %`.
pub fn percent(share: u32) -> String {
    match (share / 100, share % 100) {
        (whole, 0) => format!("{whole} %"),
        (whole, part) if part % 10 == 0 => format!("{whole}.{} %", part / 10),
        (whole, part) => format!("{whole}.{part:02} %"),
    }
}

/// A latency to about three digits, from microseconds: `1.25 ms`, `310 ms`, `12.5 s`.
pub fn latency(micros: u64) -> String {
    let ms = micros as f64 / 1_000.0;
    match micros {
        0..10_000 => format!("{ms:.2} ms"),
        10_000..100_000 => format!("{ms:.1} ms"),
        100_000..10_000_000 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

/// How slow the slowest answers of a window were: `p99 of v2 52.3 ms, of v1 1.31 ms`; `None` where there were none.
pub fn slowest(window: &WindowLatency, canary: &str, stable: &str) -> Option<String> {
    let sides = [(canary, window.canary), (stable, window.stable)];
    let sides = sides.into_iter().filter_map(|(name, told)| Some(format!("of {name} {}", latency(told?.p99))));
    let sides = sides.collect::<Vec<_>>().join(", ");
    (!sides.is_empty()).then(|| format!("p99 {sides}"))
}

/// How a rollout ended and why, where the reason does not say both.
pub(crate) fn ended(outcome: Outcome, reason: &str) -> String {
    let outcome = outcome.as_str().replace('_', " ");
    if reason.contains(&outcome) { reason.to_owned() } else { format!("{outcome}: {reason}") }
}

/// What a move does, as the end of "while …".
pub fn doing(step: &Move) -> String {
    match step {
        Move::Scale { version, replicas } => format!("scaling {version} to {replicas}"),
        Move::Route { weights } => {
            let shares: Vec<String> =
                weights.iter().map(|(version, share)| format!("{version} {}", percent(*share))).collect();
            if shares.is_empty() {
                "taking all traffic off".to_owned()
            } else {
                format!("routing {}", shares.join(", "))
            }
        }
        Move::Gate { gate: Gate::Health { version, replicas } } => format!("waiting for {replicas} ready of {version}"),
        Move::Gate { gate: Gate::Pause { span } } => format!("pausing for {span}"),
        Move::Gate { gate: Gate::Analysis { bake } } => format!("analysing for {bake}"),
        Move::Gate { gate: Gate::Approval } => "waiting for a promotion".to_owned(),
        Move::Promote { version: Some(version) } => format!("promoting {version}"),
        Move::Promote { version: None } => "taking the first release back".to_owned(),
        Move::Retire { version } => format!("retiring {version}"),
    }
}

/// A version's last trouble with its last lines: `; v2 exited with code 3: "no such table"`.
fn trouble(state: &RolloutState, version: &str) -> String {
    let seen = state.seen.as_ref();
    if let Some(what) = seen.and_then(|seen| seen.trouble.as_ref()) {
        return format!("; {what}");
    }
    let trouble = seen.and_then(|seen| seen.versions.get(version)).and_then(|sight| sight.trouble.as_ref());
    let Some(trouble) = trouble else { return String::new() };
    let lines = trouble.last_lines.join(" | ");
    let lines = if lines.is_empty() { String::new() } else { format!(": {lines:?}") };
    format!("; {version} {}{lines}", trouble.what)
}

/// The new version's processes end again and again, or can't be started.
pub(super) fn crashes(state: &RolloutState, restarts: u32) -> String {
    let version = state.version();
    let times = counted(restarts.into(), "time", "times");
    format!("{version} was started again {times}{}", trouble(state, version))
}

/// The service's address is somebody else's.
pub(super) fn cant_listen(state: &RolloutState) -> String {
    format!("nothing could be served for {LISTEN_WITHIN}{}", trouble(state, state.version()))
}

/// The present move, or a hold within it, took too long.
pub(super) fn too_long(state: &RolloutState) -> String {
    let (own, doing) = (state.version(), state.step().map(doing).unwrap_or_default());
    let patience = state.patience();
    if let Some(hold) = state.held.as_ref().filter(|_| state.is_watching()) {
        let who = state.unready(&state.layout.weights).map_or(own.to_owned(), |(who, _)| who);
        return format!("{} for {patience} while {doing}{}", hold.why, trouble(state, &who));
    }
    let (version, ready) = match state.step() {
        Some(Move::Gate { gate: Gate::Health { version, .. } }) => {
            (version.clone(), format!(", with {} ready", state.ready(version)))
        }
        Some(Move::Scale { version, .. }) => (version.clone(), String::new()),
        // It begins once whoever gets traffic by it is ready.
        Some(Move::Route { weights }) if !state.begun => {
            state.unready(weights).map_or((own.to_owned(), String::new()), |(who, why)| (who, format!(": {why}")))
        }
        _ => (own.to_owned(), String::new()),
    };
    format!("{doing} took longer than {patience}{ready}{}", trouble(state, &version))
}

/// The way back can't be walked to its end.
pub(super) fn stuck(state: &RolloutState) -> String {
    let version = state.version();
    let former = state.former().unwrap_or("what was before");
    let doing = state.step().map(doing).unwrap_or_default();
    let turned = turned(state);
    let (trouble, patience) = (trouble(state, former), state.patience());
    let left = if state.layout.size(version) > 0 { "both are kept".to_owned() } else { format!("{version} is gone") };
    format!(
        "{version} can't be taken back to {former}: {doing} took longer than {patience}{trouble}; {left}; \
         it went back because of: {turned}"
    )
}

/// How it ended.
pub(super) fn end(state: &RolloutState, outcome: Outcome) -> String {
    let version = state.version();
    let share = state.turned.as_ref().map_or(0, |(_, _, share)| *share);
    let left = match (&state.left_running, &state.lost) {
        (Some(left), _) => format!("; processes of {left} have not ended in time"),
        (None, Some(what)) => format!("; the world was lost and is not whole again in time: {what}"),
        (None, None) => String::new(),
    };
    match outcome {
        Outcome::Promoted => {
            let how = match (state.former(), &state.verdict) {
                (None, _) => "the first release".to_owned(),
                (Some(former), _) if former == version => "what was left beside it is gone".to_owned(),
                (Some(_), Some(sentence)) => sentence.clone(),
                (Some(former), None) => format!("in place of {former}"),
            };
            format!("{version} promoted: {how}{left}")
        }
        Outcome::RolledBack => format!("{version} rolled back at {}: {}{left}", percent(share), turned(state)),
        Outcome::Aborted => format!("{version} aborted at {} {}{left}", percent(share), turned(state)),
        Outcome::Reverted => {
            format!("{version} reverted to {} {}{left}", state.former().unwrap_or("nothing"), turned(state))
        }
        Outcome::Stuck => format!("{version} was taken back at {}: {}{left}", percent(share), turned(state)),
    }
}

fn turned(state: &RolloutState) -> String {
    match &state.turned {
        Some((Cause::Harm, reason, _)) => format!("the sequential judge condemned its {reason}"),
        Some((_, reason, _)) => reason.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_shown_in_milliseconds_until_seconds_are_enough() {
        let shown: Vec<String> = [7, 1_250, 52_340, 310_400, 12_500_000].map(latency).into();
        assert_eq!(shown, ["0.01 ms", "1.25 ms", "52.3 ms", "310 ms", "12.5 s"]);
        let side = |p99| Some(crate::service::LatencyQuantiles { p50: 1, p95: 2, p99 });
        let both = WindowLatency { canary: side(52_340), stable: side(1_310) };
        assert_eq!(slowest(&both, "v2", "v1").as_deref(), Some("p99 of v2 52.3 ms, of v1 1.31 ms"));
        let one = WindowLatency { canary: None, ..both };
        assert_eq!(slowest(&one, "v2", "v1").as_deref(), Some("p99 of v1 1.31 ms"));
        assert_eq!(slowest(&WindowLatency::default(), "v2", "v1"), None);
    }

    #[test]
    fn shares_are_shown_as_people_write_them() {
        let shown: Vec<String> = [0, 2_500, 50, 1_250, 3_333, 105, 10_000].map(percent).into();
        assert_eq!(shown, ["0 %", "25 %", "0.5 %", "12.5 %", "33.33 %", "1.05 %", "100 %"]);
    }
}

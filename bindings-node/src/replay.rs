//! Recorded data run again. Everything is pure; only a judge takes long enough to need a thread.

use std::collections::BTreeMap;

use napi::Env;
use napi::bindgen_prelude::{Either, Object};
use napi_derive::napi;
use serde::Deserialize;
use tidegate::analysis::{EProcessSpec, JudgeSpec, Sides};
use tidegate::error::read_list;
use tidegate::health::{OutlierRules, OutlierSpec, Tally};
use tidegate::pipeline::RetrySpec;
use tidegate::time::{Chance, Time};

use crate::check::check_spec;
use crate::promise::{Answer, Fault, Promise, parse, text};

/// Who is who in a judge's sentences.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    canary: String,
    stable: String,
    replicas: Option<u32>,
}

/// When a check starts, and what decides its jitter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    start: Time,
    seed: u64,
}

/// ln E of an e-process after each window, as JSON.
#[napi]
pub(crate) fn replay_process(spec: String, windows: String) -> Answer<String> {
    answer(|| text(&parse::<EProcessSpec>(&spec, "the e-process")?.replay(&read_list(&windows, "windows")?)?))
}

/// What a judge says after each window: resolves to JSON.
#[napi]
pub(crate) fn replay_judge(env: &Env, spec: String, windows: String, sides: String) -> napi::Result<Object<'_>> {
    let (promise, object) = Promise::<String>::new(env)?;
    std::thread::Builder::new().name("tidegate-replay".to_owned()).spawn(move || {
        let replay = || {
            let named: Named = parse(&sides, "the names of the sides")?;
            let sides = Sides { canary: &named.canary, stable: &named.stable, canary_replicas: named.replicas };
            text(&parse::<JudgeSpec>(&spec, "the judge")?.replay(&read_list(&windows, "windows")?, &sides)?)
        };
        promise.settle(replay());
    })?;
    Ok(object)
}

/// How a check stands after each record, as JSON. Times are milliseconds since 1970.
#[napi]
pub(crate) fn replay_check(spec: String, records: String, begin: String) -> Answer<String> {
    answer(|| {
        let begin: Begin = parse(&begin, "the check's start")?;
        let records = read_list(&records, "records")?;
        text(&check_spec(&spec)?.replay(&records, Some(begin.start), Chance(begin.seed))?)
    })
}

/// How the members of a group compare, as JSON; `null` when too few had enough requests.
#[napi]
pub(crate) fn compare_members(spec: String, members: String) -> Answer<String> {
    answer(|| text(&rules(&spec)?.compare(&parse::<BTreeMap<String, Tally>>(&members, "the members")?)))
}

/// How many members may be set aside at once, as JSON.
#[napi]
pub(crate) fn most_aside(spec: String, members: String) -> Answer<String> {
    answer(|| text(&rules(&spec)?.most(parse(&members, "the number of members")?)))
}

/// How long a member is set aside, in milliseconds, as JSON.
#[napi]
pub(crate) fn aside_for(spec: String, times: String) -> Answer<String> {
    answer(|| text(&rules(&spec)?.aside_for(parse(&times, "the number of times")?).0))
}

/// The waits between a retry's attempts, in milliseconds, as JSON.
#[napi]
pub(crate) fn retry_delays(spec: String) -> Answer<String> {
    answer(|| text(&parse::<RetrySpec>(&spec, "the retry")?.delays()?.iter().map(|wait| wait.0).collect::<Vec<_>>()))
}

fn rules(spec: &str) -> tidegate::Result<OutlierRules> {
    parse::<OutlierSpec>(spec, "the rules for outliers")?.validate()
}

fn answer<T>(work: impl FnOnce() -> tidegate::Result<T>) -> Answer<T> {
    work().map_or_else(|error| Either::B(Fault::from(&error)), Either::A)
}

//! From what a user says to a pipeline that can run: every fault at once, with its place.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{Error, Fault, pointer_part};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::graph::Graph;
use crate::pipeline::spec::{ActionSpec, EnvValue, PipelineSpec, StepSpec};
use crate::time::{Span, SpanText};

/// The most steps of a pipeline.
pub const MAX_STEPS: usize = 100_000;

/// The most faults that one error lists.
const MAX_FAULTS: usize = 100;

/// The longest name in bytes.
const MAX_NAME_BYTES: usize = 200;

/// How long after SIGTERM a command's group is killed, if the user does not say.
const GRACE: Span = Span::seconds(10);

/// A pipeline that was checked: its spec, its graph, and the durations of its steps as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    spec: PipelineSpec,
    graph: Graph,
    limits: Vec<Limits>,
    hash: String,
}

/// The limits of one step, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How long one attempt may take.
    pub timeout: Option<Span>,
    /// How long all attempts and the waits between them may take.
    pub deadline: Option<Span>,
    /// How failed attempts are repeated.
    pub backoff: Backoff,
    /// How long after SIGTERM a command's group is killed.
    pub grace: Span,
}

/// It is stored as what the user said.
impl Serialize for Pipeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spec.serialize(serializer)
    }
}

/// What was recorded was checked by the version that recorded it.
impl<'de> Deserialize<'de> for Pipeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pipeline, D::Error> {
        Ok(Pipeline::index(PipelineSpec::deserialize(deserializer)?, &mut Vec::new()))
    }
}

impl PipelineSpec {
    /// Checks the spec.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault found (at most 100), each with its JSON pointer.
    pub fn check(&self) -> crate::error::Result<Pipeline> {
        let mut faults = Vec::new();
        let pipeline = Pipeline::index(self.clone(), &mut faults);
        check_names(self, &mut faults);
        check_needs(self, &pipeline.graph, &mut faults);
        check_actions(self, &mut faults);
        if !faults.is_empty() {
            let more = faults.len().saturating_sub(MAX_FAULTS);
            faults.truncate(MAX_FAULTS);
            let error = Error::invalid(format_args!("pipeline {:?}", self.name), faults);
            return Err(if more > 0 { error.with("more faults", more) } else { error });
        }
        Ok(pipeline)
    }
}

impl Pipeline {
    /// A pipeline of a spec, whatever is wrong with it; what is wrong with its limits goes into `faults`.
    fn index(spec: PipelineSpec, faults: &mut Vec<Fault>) -> Pipeline {
        let limits = spec.steps.iter().enumerate().map(|(i, step)| limits(step, i, faults)).collect();
        let graph = Graph::new(&spec);
        // Structs are written in the order of their fields and maps are sorted, so equal specs give equal bytes.
        let bytes = serde_json::to_vec(&spec).unwrap_or_default();
        Pipeline { hash: sha256_hex(&bytes), spec, graph, limits }
    }

    /// What the user said.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// Who waits for whom.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// A step's definition.
    pub fn step(&self, step: usize) -> Option<&StepSpec> {
        self.spec.steps.get(step)
    }

    /// A step's name; empty for an index out of range.
    pub fn name(&self, step: usize) -> &str {
        self.step(step).map_or("", |step| &step.name)
    }

    /// A step's limits; none for an index out of range.
    pub fn limits(&self, step: usize) -> Limits {
        let none = Limits { timeout: None, deadline: None, backoff: Backoff::NONE, grace: GRACE };
        self.limits.get(step).copied().unwrap_or(none)
    }

    /// SHA-256 of the definition as JSON, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The functions that must be registered, each with the pointer to its first use.
    pub fn functions(&self) -> BTreeMap<&str, String> {
        let mut functions = BTreeMap::new();
        for (i, step) in self.spec.steps.iter().enumerate() {
            if let ActionSpec::Function { function } = &step.action {
                functions.entry(function.as_str()).or_insert_with(|| format!("/steps/{i}/action/function"));
            }
        }
        functions
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn limits(step: &StepSpec, i: usize, faults: &mut Vec<Fault>) -> Limits {
    let mut span = |text: &Option<SpanText>, pointer: String| {
        let text = text.as_ref()?;
        let before = faults.len();
        let span = text.check(&pointer, faults);
        if span == Span::ZERO && faults.len() == before {
            faults.push(Fault::new(pointer, "expected more than no time: \"0s\"; leave it out for no limit"));
        }
        Some(span)
    };
    let timeout = span(&step.timeout, format!("/steps/{i}/timeout"));
    let deadline = span(&step.deadline, format!("/steps/{i}/deadline"));
    let backoff = match &step.retry {
        Some(retry) => Backoff::check(retry, &format!("/steps/{i}/retry"), faults),
        None => Backoff::NONE,
    };
    let grace = match &step.action {
        ActionSpec::Command { grace: Some(grace), .. } => grace.check(format!("/steps/{i}/action/grace"), faults),
        _ => GRACE,
    };
    Limits { timeout, deadline, backoff, grace }
}

fn check_name(name: &str, what: &str, pointer: &str, faults: &mut Vec<Fault>) {
    let wrong = if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!("is longer than {MAX_NAME_BYTES} bytes: {}", name.len()))
    } else if name.chars().any(char::is_control) || name.trim() != name {
        Some(format!("has control characters, or blanks at its ends: {name:?}"))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        faults.push(Fault::new(pointer, format!("the name of the {what} {wrong}")));
    }
}

fn check_names(spec: &PipelineSpec, faults: &mut Vec<Fault>) {
    check_name(&spec.name, "pipeline", "/name", faults);
    if spec.steps.is_empty() {
        faults.push(Fault::new("/steps", "expected at least one step"));
    }
    if spec.steps.len() > MAX_STEPS {
        faults.push(Fault::new("/steps", format!("expected at most {MAX_STEPS} steps: {}", spec.steps.len())));
    }
    if spec.max_parallel == Some(0) {
        faults.push(Fault::new("/max_parallel", "expected at least 1: 0"));
    }
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, step) in spec.steps.iter().enumerate() {
        let pointer = format!("/steps/{i}/name");
        check_name(&step.name, "step", &pointer, faults);
        if let Some(before) = first.get(step.name.as_str()) {
            faults
                .push(Fault::new(pointer, format!("step {:?} is defined twice, first at /steps/{before}", step.name)));
        } else {
            first.insert(&step.name, i);
        }
    }
}

fn check_needs(spec: &PipelineSpec, graph: &Graph, faults: &mut Vec<Fault>) {
    for (i, step) in spec.steps.iter().enumerate() {
        let after = step.after.iter().enumerate().map(|(j, need)| (format!("/steps/{i}/after/{j}/step"), &need.step));
        let inputs = step.inputs.iter().enumerate().map(|(j, name)| (format!("/steps/{i}/inputs/{j}"), name));
        for (pointer, name) in after.chain(inputs) {
            match graph.index(name) {
                // What is too long to be a name is like none, and takes long to compare.
                None if faults.len() < MAX_FAULTS && name.len() <= MAX_NAME_BYTES => {
                    let near =
                        nearest(name, graph.names()).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                    faults.push(Fault::new(pointer, format!("there is no step {name:?}{near}")));
                }
                None => faults.push(Fault::new(pointer, format!("there is no step {name:?}"))),
                Some(on) => {
                    let cleans = spec.steps.get(on).is_some_and(|on| on.cleanup);
                    if cleans && !step.cleanup {
                        let message = format!("{name:?} is a cleanup step; only cleanup steps can wait for it");
                        faults.push(Fault::new(pointer, message));
                    }
                }
            }
        }
    }
    for cycle in graph.cycles(10) {
        let Some(&first) = cycle.first() else { continue };
        let chain: Vec<&str> = cycle
            .iter()
            .chain([&first])
            .map(|step| spec.steps.get(*step).map_or("", |step| step.name.as_str()))
            .collect();
        let message = format!("steps wait for one another in a cycle: {}", chain.join(" → "));
        faults.push(Fault::new(format!("/steps/{first}"), message));
    }
}

fn check_actions(spec: &PipelineSpec, faults: &mut Vec<Fault>) {
    for (i, step) in spec.steps.iter().enumerate() {
        let at = format!("/steps/{i}/action");
        match &step.action {
            ActionSpec::Command { argv, shell, env, dir, grace: _, output: _ } => {
                if argv.is_empty() == shell.is_none() {
                    faults.push(Fault::new(&at, "expected either `argv` or `shell`"));
                }
                if argv.first().is_some_and(String::is_empty) {
                    faults.push(Fault::new(format!("{at}/argv/0"), "the program's name is empty"));
                }
                let texts = argv.iter().chain(shell).chain(dir);
                if texts.into_iter().any(|text| text.contains('\0')) {
                    faults.push(Fault::new(&at, "a program's arguments can't hold NUL characters"));
                }
                check_env(env, &at, faults);
            }
            ActionSpec::Function { function } => {
                check_name(function, "function", &format!("{at}/function"), faults);
            }
            ActionSpec::Rollout { rollout, release } => {
                rollout.check(&format!("{at}/rollout"), faults);
                if let Some(release) = release {
                    release.check(&format!("{at}/release"), faults);
                } else if step.inputs.is_empty() {
                    let expected = "expected a `release`, or a step in `inputs` whose value is one";
                    faults.push(Fault::new(&at, expected));
                }
            }
            ActionSpec::Revert { revert } => {
                check_name(&revert.service, "service", &format!("{at}/revert/service"), faults);
                for (field, span) in [("progress_deadline", &revert.progress_deadline), ("keep_old", &revert.keep_old)]
                {
                    if let Some(span) = span {
                        span.check(format!("{at}/revert/{field}"), faults);
                    }
                }
            }
        }
    }
}

fn check_env(env: &BTreeMap<String, EnvValue>, at: &str, faults: &mut Vec<Fault>) {
    for (name, value) in env {
        let pointer = format!("{at}/env/{}", pointer_part(name));
        if name.is_empty() || name.contains(['=', '\0']) {
            faults.push(Fault::new(&pointer, format!("not a variable's name: {name:?}")));
        }
        if name.starts_with("TIDEGATE_") {
            faults.push(Fault::new(&pointer, "variables that begin with TIDEGATE_ are tidegate's own"));
        }
        match value {
            EnvValue::Text { value } if value.contains('\0') => {
                faults.push(Fault::new(&pointer, "a variable can't hold NUL characters"));
            }
            EnvValue::Text { .. } => {}
            EnvValue::Secret { name } => check_name(name, "secret", &format!("{pointer}/name"), faults),
        }
    }
}

/// The name nearest to `name`, if it is near enough to be a slip.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 2).min(3);
    names
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * most)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in characters, without regard to case (Wagner and Fischer, J. ACM 21, 1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&b) {
            let here = (before + usize::from(a != *b)).min(left + 1).min(*cell + 1);
            before = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::spec::NeedSpec;

    fn spec(json: serde_json::Value) -> PipelineSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn gathers_every_fault_with_its_place() {
        let error = spec(serde_json::json!({
            "name": "release",
            "max_parallel": 0,
            "steps": [
                {"name": "build", "action": {"kind": "command"}, "timeout": "soon"},
                {"name": "build", "action": {"kind": "function", "function": ""}, "inputs": ["biuld"]},
                {"name": "a", "action": {"kind": "function", "function": "f"}, "after": [{"step": "b"}]},
                {"name": "b", "action": {"kind": "function", "function": "f"}, "after": [{"step": "a"}, {"step": "z"}]},
                {"name": "z", "action": {"kind": "function", "function": "f"}, "cleanup": true, "deadline": "0s"},
                {"name": "env", "action": {"kind": "command", "argv": ["x"],
                    "env": {"A/B=": {"kind": "text", "value": ""}, "TIDEGATE_RUN": {"kind": "secret", "name": ""}}}},
            ]
        }))
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pipeline \"release\" has 12 faults\n  \
             /steps/0/timeout: not a duration: \"soon\"; expected numbers with the units d, h, m, s or ms, largest first, such as \"1h30m\"\n  \
             /steps/4/deadline: expected more than no time: \"0s\"; leave it out for no limit\n  \
             /max_parallel: expected at least 1: 0\n  \
             /steps/1/name: step \"build\" is defined twice, first at /steps/0\n  \
             /steps/1/inputs/0: there is no step \"biuld\"; did you mean \"build\"?\n  \
             /steps/3/after/1/step: \"z\" is a cleanup step; only cleanup steps can wait for it\n  \
             /steps/2: steps wait for one another in a cycle: a → b → a\n  \
             /steps/0/action: expected either `argv` or `shell`\n  \
             /steps/1/action/function: the name of the function is empty\n  \
             /steps/5/action/env/A~1B=: not a variable's name: \"A/B=\"\n  \
             /steps/5/action/env/TIDEGATE_RUN: variables that begin with TIDEGATE_ are tidegate's own\n  \
             /steps/5/action/env/TIDEGATE_RUN/name: the name of the secret is empty"
        );
    }

    #[test]
    fn refuses_fields_that_it_does_not_know() {
        let error = serde_json::from_value::<PipelineSpec>(serde_json::json!({"name": "p", "stepz": []})).unwrap_err();
        assert!(error.to_string().contains("unknown field `stepz`"), "{error}");
    }

    #[test]
    fn refuses_an_empty_pipeline() {
        let error = spec(serde_json::json!({"name": "p", "steps": []})).check().unwrap_err();
        assert_eq!(error.faults(), [Fault::new("/steps", "expected at least one step")]);
    }

    #[test]
    fn a_definition_reads_back_as_it_was_and_keeps_its_hash() {
        let mut spec = spec(serde_json::json!({"name": "p", "steps": [
            {"name": "a", "action": {"kind": "command", "shell": "true", "output": "json"},
             "retry": {"attempts": 3, "factor": 1.5}},
            {"name": "b", "action": {"kind": "function", "function": "f"}, "inputs": ["a"], "guarantee": "once"},
        ]}));
        let hash = spec.check().unwrap().hash().to_owned();
        let again: PipelineSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again.check().unwrap().hash(), hash);
        spec.steps[1].after.push(NeedSpec { step: "a".into(), when: None });
        assert_ne!(spec.check().unwrap().hash(), hash);
    }

    #[test]
    fn a_hundred_thousand_steps_can_be() {
        let steps = (0..MAX_STEPS)
            .map(|i| {
                let mut step = StepSpec::new(format!("s{i}"), ActionSpec::Function { function: "f".into() });
                if i > 0 {
                    step.after.push(NeedSpec { step: format!("s{}", i - 1), when: None });
                }
                step
            })
            .collect();
        let spec = PipelineSpec { name: "p".into(), steps, max_parallel: None, fail_fast: false };
        assert_eq!(spec.check().unwrap().graph().levels().len(), MAX_STEPS);
    }
}

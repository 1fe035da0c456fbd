//! What keeps secrets out of what is recorded: what would change by masking is refused, and words for people are masked.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Fault, Kind, Result};
use crate::kernel::{Command, Report, StepAnswer};
use crate::pipeline::action::VALUE_HOLDS_SECRET;
use crate::pipeline::{ActionSpec, Cause, EnvValue, PipelineSpec, StepError, StepOutcome, StepSpec};
use crate::secret::{Masker, Secret};
use crate::service::Release;

/// How much of what a person wrote goes into the journal, in bytes: it is told again with each step that it concerns.
const WORDS: usize = 1 << 10;

const RECORDED: &str = "holds a secret, and is recorded";
const HELP: &str = "name the secret in a command's env, or read it within the function or service that needs it";

/// The engine's secrets.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(super) by_name: BTreeMap<String, Secret>,
    pub(super) masker: Masker,
}

impl Secrets {
    pub(crate) fn new(by_name: BTreeMap<String, Secret>) -> Result<Secrets> {
        Ok(Secrets { masker: Masker::new(by_name.values())?, by_name })
    }

    /// What the world reports may quote what a process wrote, and goes into the journal.
    pub(super) fn mask_report(&self, report: &mut Report) {
        match report {
            Report::Observed(observed) => {
                let mask = |text: &mut String| *text = self.masker.mask(text);
                observed.trouble.iter_mut().for_each(mask);
                for trouble in observed.versions.values_mut().filter_map(|version| version.trouble.as_mut()) {
                    mask(&mut trouble.what);
                    trouble.last_lines.iter_mut().for_each(mask);
                }
            }
            Report::Lost(why) => *why = self.masker.mask(why),
            Report::Windows(_) | Report::Settled(_) | Report::Readings(_) => {}
        }
    }

    /// What a function returned or said of its failure goes into the journal. A masked value would be another one.
    pub(super) fn keep_out(&self, outcome: StepOutcome) -> StepOutcome {
        match outcome {
            StepOutcome::Succeeded { value } if self.is_in(&value) => {
                let error = StepError::new(Cause::BadValue, format!("its value {VALUE_HOLDS_SECRET}"));
                StepOutcome::Failed { error: StepError { permanent: true, ..error }, retry_in: None }
            }
            StepOutcome::Failed { error, retry_in } => {
                let error = StepError {
                    message: self.masker.mask(&error.message),
                    detail: error.detail.map(|detail| self.masker.mask(&detail)),
                    last_lines: error.last_lines.iter().map(|line| self.masker.mask(line)).collect(),
                    ..error
                };
                StepOutcome::Failed { error, retry_in }
            }
            other => other,
        }
    }

    /// Refuses to start what would record a secret.
    ///
    /// # Errors
    /// [`Kind::Invalid`], with the places.
    pub(super) fn check(&self, spec: &PipelineSpec, key: Option<&str>, params: &Value) -> Result<()> {
        if self.by_name.is_empty() {
            return Ok(());
        }
        let mut faults = Vec::new();
        if key.is_some_and(|key| self.is_in_text(key)) {
            faults.push(Fault::new("/key", format!("the key {RECORDED}")));
        }
        if self.is_in(params) {
            faults.push(Fault::new("/params", format!("a param {RECORDED}")));
        }
        for (i, step) in spec.steps.iter().enumerate() {
            for field in self.fields(step) {
                let what = format!("step {:?}: {field} {RECORDED}", step.name);
                faults.push(Fault::new(format!("/steps/{i}/action/{}", field.replace(' ', "/")), what));
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format_args!("pipeline {:?}", spec.name), faults).help(HELP))
    }

    /// The fields of a step that hold a secret. Names, such as those of steps, are not values.
    fn fields(&self, step: &StepSpec) -> Vec<String> {
        let mut found = Vec::new();
        match &step.action {
            ActionSpec::Command { argv, shell, env, dir, .. } => {
                found.extend(argv.iter().any(|one| self.is_in_text(one)).then(|| "argv".to_owned()));
                found.extend(self.is_in_option(shell.as_ref()).then(|| "shell".to_owned()));
                let plain = env.iter().filter_map(|(name, value)| match value {
                    EnvValue::Text { value } => Some((name, value)),
                    EnvValue::Secret { .. } => None,
                });
                let held = plain.filter(|(_, text)| self.is_in_text(text));
                found.extend(held.map(|(name, _)| format!("env {name}")));
                found.extend(self.is_in_option(dir.as_ref()).then(|| "dir".to_owned()));
            }
            ActionSpec::Rollout { rollout, release } => {
                let probe = serde_json::to_value(&rollout.serve.ready).unwrap_or_default();
                found.extend(self.is_in(&probe).then(|| "rollout serve ready".to_owned()));
                if let Some(release) = release {
                    found.extend(self.release_fields(release));
                }
            }
            ActionSpec::Revert { .. } | ActionSpec::Function { .. } => {}
        }
        found
    }

    fn release_fields(&self, release: &Release) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.is_in_text(&release.version).then(|| "release version".to_owned()));
        found.extend(release.command.iter().any(|one| self.is_in_text(one)).then(|| "release command".to_owned()));
        let held = release.env.iter().filter(|(_, text)| self.is_in_text(text));
        found.extend(held.map(|(name, _)| format!("release env {name}")));
        found.extend(self.is_in_option(release.dir.as_ref()).then(|| "release dir".to_owned()));
        found
    }

    /// Makes a command fit to be recorded: what its sender wrote is masked and clipped.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the value that it says a step has holds a secret.
    pub(super) fn said(&self, command: &mut Command) -> Result<()> {
        for words in command.words() {
            *words = self.words(words);
        }
        match command {
            Command::Resolve { step, answer: StepAnswer::Done { value }, .. } if self.is_in(value) => {
                Err(Error::new(Kind::Invalid, format!("the value {VALUE_HOLDS_SECRET}")).with("step", step))
            }
            _ => Ok(()),
        }
    }

    /// What a person wrote, masked and clipped.
    pub(super) fn words(&self, words: &str) -> String {
        clip(&self.masker.mask(words), WORDS)
    }

    fn is_in(&self, value: &Value) -> bool {
        self.masker.mask_json(value) != *value
    }

    fn is_in_text(&self, text: &str) -> bool {
        self.masker.mask(text) != text
    }

    fn is_in_option(&self, text: Option<&String>) -> bool {
        text.is_some_and(|text| self.is_in_text(text))
    }
}

/// The beginning and the end of a text that is too long, with a note of what was left out.
pub(super) fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let bound = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (head, tail) = (bound(most / 2 - 64), bound(text.len() - (most / 2 - 64)));
    format!("{} ... ({} bytes left out) ... {}", &text[..head], tail - head, &text[tail..])
}

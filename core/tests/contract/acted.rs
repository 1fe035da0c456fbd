//! What steps and releases do in the real world: what the story says of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tidegate::pipeline::{ActionSpec, Cause, Output, StepError};
use tidegate::simulate::{Chapter, Nature, Script, Story};
use tidegate::time::Span;
use tidegate::{Context, Function, Functions};

use crate::common::{SHOP, Site};
use crate::play::{Cue, Cues};

/// How many seconds what does not end takes.
const ENDLESS: u64 = 600;

/// Makes commands do what their scripts say, and releases what the natures of their versions say.
pub(crate) fn make_real(story: &mut Story, cues: &[Cues], site: &Site) {
    let natures = story.natures.clone();
    for (chapter, cues) in story.chapters.iter_mut().zip(cues) {
        for step in &mut chapter.pipeline.steps {
            let script = chapter.scripts.get(&step.name).cloned().unwrap_or_default();
            match &mut step.action {
                ActionSpec::Command { argv, shell, output, .. } => {
                    argv.clear();
                    let file = site.file(&format!("{}.{}", chapter.key, step.name));
                    *shell = Some(shell_of(&file, &script, *output, lingers(&cues.kills, &step.name)));
                }
                ActionSpec::Rollout { rollout, release } => {
                    if rollout.serve.listen.ends_with(":0") {
                        rollout.serve.listen = format!("127.0.0.1:{}", site.port);
                    }
                    if let Some(release) = release {
                        let nature = natures.get(&release.version).copied().unwrap_or(Nature::GOOD);
                        release.env.insert("VERSION".to_owned(), release.version.clone());
                        release.command = program_of(nature, rollout.serve.ready.is_some());
                        // As the engine does.
                        release.dir = Some(site.path().display().to_string());
                    }
                }
                _ => {}
            }
        }
    }
}

/// How many attempts of a step wait until their driver is killed.
fn lingers(kills: &[Cue], step: &str) -> usize {
    kills.iter().filter(|cue| cue.starts_with(&format!("step_started {step} "))).count()
}

fn shell_of(file: &Path, script: &Script, output: Output, lingers: usize) -> String {
    let (file, seconds) = (file.display(), |span: Span| span.0 as f64 / 1_000.0);
    let says = match (output, &script.value) {
        (Output::None, _) => String::new(),
        (Output::Text, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    };
    // What a shell says of its children is not the command's.
    format!(
        "exec 2>/dev/null; trap 'sleep {stops}; exit 0' TERM; echo >> '{file}.began'; takes={takes}; \
         [ $TIDEGATE_ATTEMPT -gt {lingers} ] || takes={ENDLESS}; sleep $takes & wait $!; touch '{file}.failed'; \
         if [ $(wc -l < '{file}.failed') -lt {fails} ]; then echo >> '{file}.failed'; exit 1; fi; echo '{says}'",
        stops = seconds(script.stops_in),
        takes = seconds(script.takes),
        fails = script.fails,
    )
}

fn program_of(nature: Nature, is_checked: bool) -> Vec<String> {
    if !nature.starts {
        return vec!["/no/such/program".to_owned()];
    }
    let program = if nature.dies > 0 {
        "import sys; print('no such table'); sys.exit(3)".to_owned()
    } else if !nature.comes_up && is_checked {
        SHOP.replace("def do_GET(self):", "def do_GET(self):\n        import time; time.sleep(600)")
    } else if !nature.comes_up {
        "import time; time.sleep(600)".to_owned()
    } else {
        let share = f64::from(u32::try_from(nature.errors).unwrap()) / 10_000.0;
        SHOP.replace("200)", &format!("503 if __import__('random').random() < {share} else 200)"))
    };
    ["python3", "-c", &program].map(str::to_owned).to_vec()
}

/// A function that does what its script says.
struct Acted {
    script: Script,
    file: PathBuf,
    lingers: usize,
}

#[async_trait]
impl Function for Acted {
    async fn call(&self, context: Context, _: Vec<Value>) -> Result<Value, StepError> {
        add_line(&self.file.with_extension("began"));
        let waits = usize::try_from(context.attempt()).unwrap() <= self.lingers;
        let takes = if waits { Span::seconds(ENDLESS) } else { self.script.takes };
        tokio::select! {
            () = tokio::time::sleep(takes.into()) => {}
            () = context.stopped() => {
                tokio::time::sleep(self.script.stops_in.into()).await;
                return Ok(self.script.value.clone());
            }
        }
        let failed = self.file.with_extension("failed");
        if lines(&failed) < usize::try_from(self.script.fails).unwrap() {
            add_line(&failed);
            return Err(StepError::new(Cause::Exception, "fails by its script"));
        }
        Ok(self.script.value.clone())
    }
}

fn add_line(file: &Path) {
    use std::io::Write;
    std::fs::File::options().create(true).append(true).open(file).unwrap().write_all(b"\n").unwrap();
}

pub(crate) fn lines(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// The functions of a chapter.
pub(crate) fn functions(site: &Site, chapter: &Chapter, cues: &Cues) -> Functions {
    let mut functions = Functions::new();
    for step in &chapter.pipeline.steps {
        if let ActionSpec::Function { function } = &step.action {
            let script = chapter.scripts.get(&step.name).cloned().unwrap_or_default();
            let file = site.file(&format!("{}.{}.function", chapter.key, step.name));
            functions.insert(function, Arc::new(Acted { script, file, lingers: lingers(&cues.kills, &step.name) }));
        }
    }
    functions
}

/// How often each step of a run was begun.
pub(crate) fn begun(site: &Site, chapter: &Chapter) -> BTreeMap<String, usize> {
    let key = &chapter.key;
    let count = |step: &str| lines(&site.file(&format!("{key}.{step}.began")));
    let all = chapter.pipeline.steps.iter().filter(|step| step.timeout.is_none() && step.deadline.is_none());
    let steps = all.map(|step| (format!("{key}/{}", step.name), count(&step.name)));
    steps.filter(|(_, begun)| *begun > 0).collect()
}

//! The real world: a story told by the engine, with real processes, a real supervisor and proxy, and a driver that can
//! be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidegate::pipeline::{ActionSpec, Cause, Output, StepError};
use tidegate::simulate::{Chapter, Nature, Script, Story};
use tidegate::supervisor::Client;
use tidegate::time::Span;
use tidegate::{Command, Context, Engine, Function, Functions, Reader, Run, Status};

use crate::common::{LONG, SHOP, Site, until};
use crate::play::{Cue, Ending, Play, is_cue};
use crate::told::{settled, told};

/// Tells a second process of this test what to drive: a folder.
const TO: &str = "CONTRACT_TEST_TO";

/// Makes commands do what their scripts say, and releases what the natures of their versions say.
pub(crate) fn make_real(story: &mut Story, site: &Site) {
    let natures = story.natures.clone();
    for chapter in &mut story.chapters {
        for step in &mut chapter.pipeline.steps {
            let script = chapter.scripts.get(&step.name).cloned().unwrap_or_default();
            match &mut step.action {
                // One that is a script already is as it is.
                ActionSpec::Command { argv, shell, output, .. } if shell.is_none() => {
                    argv.clear();
                    *shell = Some(shell_of(&site.file(&format!("{}.{}", chapter.key, step.name)), &script, *output));
                }
                ActionSpec::Rollout { rollout, release } => {
                    if rollout.serve.listen.ends_with(":0") {
                        rollout.serve.listen = format!("127.0.0.1:{}", site.port);
                    }
                    if let Some(release) = release {
                        let nature = natures.get(&release.version).copied().unwrap_or(Nature::GOOD);
                        release.env.insert("VERSION".to_owned(), release.version.clone());
                        release.command = program_of(nature);
                        // As the engine does.
                        release.dir = Some(site.path().display().to_string());
                    }
                }
                _ => {}
            }
        }
    }
}

fn shell_of(file: &Path, script: &Script, output: Output) -> String {
    let (file, seconds) = (file.display(), |span: Span| span.0 as f64 / 1_000.0);
    let says = match (output, &script.value) {
        (Output::None, _) => String::new(),
        (Output::Text, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    };
    // What a shell says of its children is not the command's.
    format!(
        "exec 2>/dev/null; trap 'sleep {stops}; exit 0' TERM; echo >> '{file}.began'; sleep {takes} & wait $!; touch '{file}.failed'; \
         if [ $(wc -l < '{file}.failed') -lt {fails} ]; then echo >> '{file}.failed'; exit 1; fi; echo '{says}'",
        stops = seconds(script.stops_in),
        takes = seconds(script.takes),
        fails = script.fails,
    )
}

fn program_of(nature: Nature) -> Vec<String> {
    if !nature.starts {
        return vec!["/no/such/program".to_owned()];
    }
    let program = if nature.dies > 0 {
        "import sys; print('no such table'); sys.exit(3)".to_owned()
    } else if !nature.comes_up {
        "import time; time.sleep(600)".to_owned()
    } else if nature.errors == 10_000 {
        SHOP.replace("200)", "503)")
    } else {
        SHOP.to_owned()
    };
    ["python3", "-c", &program].map(str::to_owned).to_vec()
}

/// A function that does what its script says.
struct Acted {
    script: Script,
    file: PathBuf,
}

#[async_trait]
impl Function for Acted {
    async fn call(&self, context: Context, _: Vec<Value>) -> Result<Value, StepError> {
        add_line(&self.file.with_extension("began"));
        tokio::select! {
            () = tokio::time::sleep(self.script.takes.into()) => {}
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

fn lines(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

fn functions(site: &Site, chapter: &Chapter) -> Functions {
    let mut functions = Functions::new();
    for step in &chapter.pipeline.steps {
        if let ActionSpec::Function { function } = &step.action {
            let script = chapter.scripts.get(&step.name).cloned().unwrap_or_default();
            let file = site.file(&format!("{}.{}.function", chapter.key, step.name));
            functions.insert(function, Arc::new(Acted { script, file }));
        }
    }
    functions
}

/// How often each step of a run was begun.
fn begun(site: &Site, chapter: &Chapter) -> BTreeMap<String, usize> {
    let key = &chapter.key;
    let count = |step: &str| lines(&site.file(&format!("{key}.{step}.began")));
    let all = chapter.pipeline.steps.iter().filter(|step| step.timeout.is_none() && step.deadline.is_none());
    let steps = all.map(|step| (format!("{key}/{}", step.name), count(&step.name)));
    steps.filter(|(_, begun)| *begun > 0).collect()
}

/// Tells a story.
pub(crate) async fn tell(site: &Site, play: &Play) -> Ending {
    let mut ending = Ending::default();
    let mut engine = Some(site.open().await);
    let mut other_program = None;
    for (i, chapter) in play.story.chapters.iter().enumerate() {
        let is_last = i + 1 == play.story.chapters.len();
        for cue in play.kills.iter().filter(|_| is_last) {
            if let Some(engine) = engine.take() {
                engine.close().await.unwrap();
            }
            kill_at(site, chapter, cue).await;
        }
        if engine.is_none() {
            engine = Some(site.open().await);
        }
        if is_last && play.taken {
            other_program = Some(std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap());
        }
        let losses = if is_last { play.losses.as_slice() } else { &[] };
        let told = tell_chapter(site, engine.as_ref().unwrap(), chapter, &play.cues[i], losses).await;
        ending.told.extend(told.told);
        ending.status.extend(told.status);
        ending.begun.extend(told.begun);
    }
    let engine = engine.unwrap();
    services(site, &engine, play, &mut ending).await;
    engine.close().await.unwrap();
    drop(other_program);
    ending
}

/// Tells a chapter.
pub(crate) async fn tell_chapter(
    site: &Site,
    engine: &Engine,
    chapter: &Chapter,
    cues: &[Cue],
    losses: &[Cue],
) -> Ending {
    let run = engine.run_spec(chapter.pipeline.clone(), functions(site, chapter)).key(&chapter.key);
    let run = run.start().await.unwrap();
    let told = tokio::time::timeout(2 * LONG, follow(site, &run, chapter, cues, losses)).await;
    let told = told.unwrap_or_else(|_| panic!("{} does not end", chapter.key));
    let status = match run.outcome().await.unwrap().status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::Asking => "asking",
    };
    Ending { told: vec![settled(told)], status: vec![status], begun: begun(site, chapter), ..Ending::default() }
}

/// All that a run tells, while the cues bring what they bring.
async fn follow(site: &Site, run: &Run, chapter: &Chapter, cues: &[Cue], losses: &[Cue]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut events = run.events();
    let inbox = Reader::open(&site.journal()).unwrap();
    let mut to_say = chapter.said.iter().zip(cues).peekable();
    let mut to_lose = losses.iter().peekable();
    let mut answered = 0;
    loop {
        let batch = events.next_batch(1).await;
        let Some(event) = batch.first() else {
            // It has ended, or it asks.
            let asks: Vec<&String> = all.iter().filter(|line| line.starts_with("step_asks ")).collect();
            let Some((answer, line)) = chapter.person.answers.as_ref().zip(asks.get(answered)) else { return all };
            answered += 1;
            let step = line.split(' ').nth(1).unwrap().to_owned();
            let resolve = Command::Resolve { step, answer: answer.clone(), by: "ann".to_owned() };
            inbox.command(run.id(), &resolve).unwrap();
            let before = all.len();
            until("an answer is heard", async || {
                all.extend(events.next_batch(1).await.iter().filter_map(|event| told(event)));
                all.len() > before
            })
            .await;
            continue;
        };
        all.extend(told(event));
        let came = |cue: &String| is_told(&all, cue);
        while let Some((said, _)) = to_say.next_if(|(_, cue)| came(cue)) {
            begins(site, &chapter.key, &all).await;
            inbox.command(run.id(), &said.command).unwrap();
        }
        while to_lose.next_if(|cue| came(cue)).is_some() {
            let pid = site.supervisor().await.expect("a supervisor");
            kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
        }
    }
}

/// Whether the cue has come.
fn is_told(all: &[String], cue: &str) -> bool {
    all.iter().any(|line| is_cue(line, cue))
}

/// Waits until the step that was started last has begun, if one was.
async fn begins(site: &Site, key: &str, all: &[String]) {
    let Some(step) = all.last().and_then(|line| line.strip_prefix("step_started ")) else { return };
    let (step, attempt) = step.split_once(' ').unwrap();
    let (file, attempt) = (site.file(&format!("{key}.{step}.began")), attempt.parse().unwrap());
    until("the step begins", async || lines(&file) >= attempt).await;
}

/// Drives a run in a second process, which is killed after the cue.
async fn kill_at(site: &Site, chapter: &Chapter, cue: &str) {
    let script = |(step, s): (&String, &Script)| (step.clone(), json!([s.takes.0, s.fails, s.value, s.stops_in.0]));
    let scripts: serde_json::Map<String, Value> = chapter.scripts.iter().map(script).collect();
    let work = json!({ "key": chapter.key, "pipeline": chapter.pipeline, "scripts": scripts });
    std::fs::write(site.file("work"), work.to_string()).unwrap();
    let mut driver = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "real::drives_in_a_process_of_its_own"])
        .env(TO, site.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut seen, mut follow, mut reader) = (Vec::new(), None, None);
    until("the driver comes to its cue", async || {
        if reader.is_none() {
            reader = Reader::open(&site.journal()).ok();
        }
        let Some(reader) = reader.as_mut() else { return false };
        if follow.is_none() {
            let run = reader.find_run(&chapter.pipeline.name, &chapter.key).unwrap();
            follow = run.map(|run| reader.follow(run.name(), 0).unwrap());
        }
        let Some(follow) = follow.as_mut() else { return false };
        while let Some(events) = follow.look(reader, 64).unwrap().filter(|events| !events.is_empty()) {
            seen.extend(events.iter().filter_map(|event| told(event)));
        }
        is_told(&seen, cue)
    })
    .await;
    begins(site, &chapter.key, &seen).await;
    driver.kill().await.unwrap();
}

/// What the second process does; in the first one there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drives_in_a_process_of_its_own() {
    let Ok(dir) = std::env::var(TO) else { return };
    let site = Site::at(dir.as_ref(), 0);
    let work: Value = serde_json::from_slice(&std::fs::read(site.file("work")).unwrap()).unwrap();
    let mut chapter =
        Chapter::new(work["key"].as_str().unwrap(), serde_json::from_value(work["pipeline"].clone()).unwrap());
    for (step, s) in work["scripts"].as_object().unwrap() {
        let (takes, stops_in) = (Span(s[0].as_u64().unwrap()), Span(s[3].as_u64().unwrap()));
        let fails = u32::try_from(s[1].as_u64().unwrap()).unwrap();
        chapter
            .scripts
            .insert(step.clone(), Script { takes, fails, value: s[2].clone(), stops_in, ..Script::default() });
    }
    let engine = site.open().await;
    // Killed before it ends.
    let _ = engine.run_spec(chapter.pipeline.clone(), functions(&site, &chapter)).key(&chapter.key).await;
}

/// How each service stands, once what leaves has left.
async fn services(site: &Site, engine: &Engine, play: &Play, ending: &mut Ending) {
    let shipped = play.story.chapters.iter().flat_map(|chapter| &chapter.pipeline.steps);
    let names = shipped.filter_map(|step| match &step.action {
        ActionSpec::Rollout { rollout, .. } => Some(rollout.service.clone()),
        _ => None,
    });
    for name in names {
        let known = engine.service(&name).await.unwrap().unwrap();
        let mut running = BTreeMap::new();
        until("what leaves has left", async || {
            let Ok(client) = Client::connect(&site.supervisor_folder()).await else { return known.sizes.is_empty() };
            let Ok(report) = client.observe(&name, 0, 0).await else { return false };
            running = report.observed.versions.into_iter().map(|(version, seen)| (version, seen.running)).collect();
            running.retain(|_, running: &mut u32| *running > 0);
            running == known.sizes
        })
        .await;
        let weights = known.weights.into_iter().map(|(version, share)| (version, (share * 100.0).round() as u32));
        ending.services.insert(name, (known.stable, running, weights.collect()));
    }
}

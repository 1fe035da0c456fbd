//! The real world: a story told by the engine, with real processes, a real supervisor and proxy, and a driver that can
//! be killed.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidegate::pipeline::{ActionSpec, PipelineSpec};
use tidegate::simulate::{Chapter, Script};
use tidegate::supervisor::Client;
use tidegate::time::Span;
use tidegate::{Command, Engine, Reader, Run, Status};
use tokio::task::JoinSet;

use crate::acted::{begun, functions, lines};
use crate::common::{LONG, Site, until};
use crate::play::{Cues, Ending, Play, is_cue};
use crate::told::{settled, told};
use crate::windows::Judged;

/// Tells a second process of this test what to drive: a folder.
const TO: &str = "CONTRACT_TEST_TO";

/// Tells a story.
pub(crate) async fn tell(site: &Site, play: &Play) -> Ending {
    let mut ending = Ending::default();
    let mut engine = Some(site.open().await);
    let mut other_program = None;
    let mut clients = JoinSet::new();
    for (i, (chapter, cues)) in play.story.chapters.iter().zip(&play.cues).enumerate() {
        for cue in &cues.kills {
            if let Some(engine) = engine.take() {
                engine.close().await.unwrap();
            }
            kill_at(site, chapter, cues, cue).await;
        }
        if engine.is_none() {
            engine = Some(site.open().await);
        }
        if i + 1 == play.story.chapters.len() && play.taken {
            other_program = Some(std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap());
        }
        if is_judged(&chapter.pipeline) && clients.is_empty() {
            clients = clients_of(site);
        }
        let told = tell_chapter(site, engine.as_ref().unwrap(), chapter, cues).await;
        ending.told.extend(told.told);
        ending.status.extend(told.status);
        ending.begun.extend(told.begun);
        ending.windows = told.windows;
    }
    clients.shutdown().await;
    let engine = engine.unwrap();
    services(site, &engine, play, &mut ending).await;
    engine.close().await.unwrap();
    drop(other_program);
    ending
}

fn is_judged(pipeline: &PipelineSpec) -> bool {
    let judged = |action: &ActionSpec| matches!(action, ActionSpec::Rollout { rollout, .. } if rollout.judge.is_some());
    pipeline.steps.iter().any(|step| judged(&step.action))
}

/// Clients without end, a few at a time.
fn clients_of(site: &Site) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let site = Site::at(site.path(), site.port);
        clients.spawn(async move {
            loop {
                // One that hangs is left.
                let _ = tokio::time::timeout(LONG, site.get()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    clients
}

/// Tells a chapter.
pub(crate) async fn tell_chapter(site: &Site, engine: &Engine, chapter: &Chapter, cues: &Cues) -> Ending {
    let run = engine.run_spec(chapter.pipeline.clone(), functions(site, chapter, cues)).key(&chapter.key);
    let run = run.start().await.unwrap();
    let told = tokio::time::timeout(2 * LONG, follow(site, &run, chapter, cues)).await;
    let (told, windows) = told.unwrap_or_else(|_| panic!("{} does not end", chapter.key));
    let status = match run.outcome().await.unwrap().status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
        Status::Asking => "asking",
    };
    Ending {
        told: vec![settled(told)],
        status: vec![status],
        begun: begun(site, chapter),
        windows,
        ..Ending::default()
    }
}

/// All that a run tells, while the cues bring what they bring.
async fn follow(site: &Site, run: &Run, chapter: &Chapter, cues: &Cues) -> (Vec<String>, Vec<Judged>) {
    let (mut all, mut windows): (Vec<String>, Vec<Judged>) = Default::default();
    let mut events = run.events();
    let inbox = Reader::open(&site.journal()).unwrap();
    let mut to_say = chapter.said.iter().zip(&cues.said).peekable();
    let mut to_lose = cues.losses.iter().peekable();
    let mut to_end = cues.deaths.iter().peekable();
    let mut answered = 0;
    loop {
        let batch = events.next_batch(1).await;
        let Some(event) = batch.first() else {
            // It has ended, or it asks.
            let asks: Vec<&String> = all.iter().filter(|line| line.starts_with("step_asks ")).collect();
            let Some((answer, line)) = chapter.person.answers.as_ref().zip(asks.get(answered)) else {
                return (all, windows);
            };
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
        windows.extend(Judged::of(event));
        let came = |cue: &String| is_told(&all, cue);
        while let Some((said, _)) = to_say.next_if(|(_, cue)| came(cue)) {
            begins(site, &chapter.key, &all).await;
            inbox.command(run.id(), &said.command).unwrap();
        }
        while to_lose.next_if(|cue| came(cue)).is_some() {
            kill(site.supervisor().await.expect("a supervisor"));
        }
        while let Some((_, version)) = to_end.next_if(|(cue, _)| came(cue)) {
            let client = Client::connect(&site.supervisor_folder()).await.unwrap();
            let instances = client.stats("shop").await.unwrap().instances;
            instances.iter().filter(|one| one.version == *version).filter_map(|one| one.pid).for_each(kill);
        }
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
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
async fn kill_at(site: &Site, chapter: &Chapter, cues: &Cues, cue: &str) {
    let script = |(step, s): (&String, &Script)| (step.clone(), json!([s.takes.0, s.fails, s.value, s.stops_in.0]));
    let scripts: serde_json::Map<String, Value> = chapter.scripts.iter().map(script).collect();
    let work = json!({ "key": chapter.key, "pipeline": chapter.pipeline, "scripts": scripts, "kills": cues.kills });
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
    let kills = serde_json::from_value(work["kills"].clone()).unwrap();
    let cues = Cues { kills, ..Cues::default() };
    let engine = site.open().await;
    // Killed before it ends.
    let _ = engine.run_spec(chapter.pipeline.clone(), functions(&site, &chapter, &cues)).key(&chapter.key).await;
}

/// How each service stands, once what leaves has left.
async fn services(site: &Site, engine: &Engine, play: &Play, ending: &mut Ending) {
    let shipped = play.story.chapters.iter().flat_map(|chapter| &chapter.pipeline.steps);
    let names = shipped.filter_map(|step| match &step.action {
        ActionSpec::Rollout { rollout, .. } => Some(rollout.service.clone()),
        _ => None,
    });
    for name in names {
        let Some(known) = engine.service(&name).await.unwrap() else { continue };
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

//! Random pipelines, from the generator of the random schedules, with nothing left in them that hangs on how fast a
//! machine is.

use std::collections::BTreeMap;

use tidegate::Command;
use tidegate::simulate::{Moment, Story};
use tidegate::time::Span;

use crate::acted;
use crate::common::Site;
use crate::generator::pipeline_story;
use crate::play::{Cues, compare, in_virtual_world};
use crate::real;

/// Longer than any story takes to come to its endless step.
const LATER: Span = Span::seconds(3_600);
const STORIES: u64 = 50;

/// A story of this seed whose steps end at once or never, and whose cancel comes while one runs that never ends.
fn tamed(seed: u64) -> (Story, Option<String>) {
    let mut story = pipeline_story(seed);
    story.faults.clear();
    let chapter = &mut story.chapters[0];
    chapter.key = format!("r{seed}");
    let cancelled = !std::mem::take(&mut chapter.said).is_empty() && sequential(seed);
    let stuck = chapter.pipeline.steps.iter().position(|step| !step.cleanup).filter(|_| cancelled);
    for (i, step) in chapter.pipeline.steps.iter_mut().enumerate() {
        let script = chapter.scripts.get_mut(&step.name).unwrap();
        let limited = step.timeout.is_some() || step.deadline.is_some();
        let endless = stuck == Some(i) || (limited && script.takes > Span::seconds(2));
        script.takes = if endless { Span::seconds(86_400) } else { Span::millis(5) };
        (script.spread, script.stops_in) = (Span::ZERO, Span::millis(10));
        let limit = (endless && stuck != Some(i)).then(|| "150ms".into());
        // Of two limits one comes first.
        let both = step.timeout.is_some();
        step.timeout = step.timeout.take().and_then(|_| limit.clone());
        step.deadline = step.deadline.take().and(limit).filter(|_| !both);
        if let Some(retry) = &mut step.retry {
            retry.initial = Some("0s".into());
        }
    }
    if sequential(seed) {
        chapter.pipeline.max_parallel = Some(1);
    } else {
        (chapter.pipeline.max_parallel, chapter.pipeline.fail_fast) = (Some(2), false);
    }
    let cue = stuck.map(|i| format!("step_started {} 1", chapter.pipeline.steps[i].name));
    if cue.is_some() {
        let cancel = Command::Cancel { by: "ann".to_owned(), reason: String::new() };
        *chapter = chapter.clone().say(Moment::After(LATER), cancel);
    }
    (story, cue)
}

/// Whether steps run one after another: then all that is told has one order, and else what is told of each step.
fn sequential(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// What was told, by step. Of two needs that were not met either may be the reason.
fn by_step(told: &[String]) -> Vec<String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in told {
        let mut words = line.splitn(3, ' ');
        let (kind, step) = (words.next().unwrap(), words.next().unwrap_or_default());
        let line = if kind == "step_skipped" { format!("{kind} {step}") } else { line.clone() };
        let of = if kind.starts_with("step_") { step } else { kind };
        all.entry(of.to_owned()).or_default().push(line);
    }
    all.into_values().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_pipelines_go_alike() {
    let here = Site::new();
    let opened = here.open().await;
    let (site, engine) = (&here, &opened);
    let plays = (0..STORIES).map(|seed| async move {
        let (mut story, cue) = tamed(seed);
        let cues = Cues { said: cue.into_iter().collect(), ..Cues::default() };
        acted::make_real(&mut story, std::slice::from_ref(&cues), site);
        let expected = in_virtual_world(&story);
        (seed, expected, real::tell_chapter(site, engine, &story.chapters[0], &cues).await)
    });
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    for (seed, mut expected, mut found) in futures_util::future::join_all(plays).await {
        if !sequential(seed) {
            for ending in [&mut expected, &mut found] {
                ending.told[0] = by_step(&ending.told[0]);
            }
        }
        compare(&format!("seed {seed}"), &expected, &found);
        *ends.entry(expected.status[0]).or_default() += 1;
    }
    eprintln!("figure: {STORIES} random pipelines in both worlds: {ends:?}");
    assert_eq!(ends.len(), 3, "some succeed, some fail, some are cancelled: {ends:?}");
    opened.close().await.unwrap();
    here.end().await;
}

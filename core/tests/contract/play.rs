//! A story that is told in both worlds, and the comparison of what was told.

use std::collections::BTreeMap;

use tidegate::Command;
use tidegate::pipeline::{PipelineSpec, RunStatus};
use tidegate::simulate::{Appended, Change, Chapter, Done, End, Fault, Moment, Nature, Script, Story, Turn};
use tidegate::time::{Span, Time};

use crate::acted;
use crate::common::Site;
use crate::real;
use crate::told::{settled, told};
use crate::windows::Judged;

/// Whether a line has all parts of a cue, which a `*` divides.
pub(crate) fn is_cue(line: &str, cue: &str) -> bool {
    cue.split('*').all(|part| line.contains(part))
}

/// When the real world says something, or loses something: as soon as it has told what the virtual one had by then.
pub(crate) type Cue = String;

/// The cues of a chapter.
#[derive(Debug, Default)]
pub(crate) struct Cues {
    /// When each thing is said.
    pub(crate) said: Vec<Cue>,
    /// When the driver is killed, one time after another.
    pub(crate) kills: Vec<Cue>,
    /// When the supervisor is.
    pub(crate) losses: Vec<Cue>,
    /// When all instances of a version are.
    pub(crate) deaths: Vec<(Cue, String)>,
}

/// A story, and its cues.
pub(crate) struct Play {
    pub(crate) story: Story,
    /// By chapter.
    pub(crate) cues: Vec<Cues>,
    /// Whether another program holds the address of the service.
    pub(crate) taken: bool,
}

/// Of a service: who is stable, who has how many processes, and which share of the traffic.
pub(crate) type Standing = (Option<String>, BTreeMap<String, u32>, BTreeMap<String, u32>);

/// What is known of a world when all was told.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// By chapter, what was told.
    pub(crate) told: Vec<Vec<String>>,
    /// By chapter, where its run stands.
    pub(crate) status: Vec<&'static str>,
    /// How often each step of each run was begun, as the world saw it.
    pub(crate) begun: BTreeMap<String, usize>,
    /// How each service stands.
    pub(crate) services: BTreeMap<String, Standing>,
    /// The windows that the last run's rollout judged.
    pub(crate) windows: Vec<Judged>,
}

impl Play {
    pub(crate) fn new(pipeline: PipelineSpec) -> Play {
        let story = Story::new(1, Chapter::new("r", PipelineSpec { max_parallel: Some(2), ..pipeline }));
        Play { story, cues: vec![Cues::default()], taken: false }
    }

    pub(crate) fn then(mut self, key: &str, pipeline: PipelineSpec) -> Play {
        self.story = self.story.then(Chapter::new(key, PipelineSpec { max_parallel: Some(2), ..pipeline }));
        self.cues.push(Cues::default());
        self
    }

    pub(crate) fn chapter(&mut self) -> &mut Chapter {
        self.story.chapters.last_mut().unwrap()
    }

    pub(crate) fn script(mut self, step: &str, script: Script) -> Play {
        self.chapter().scripts.insert(step.to_owned(), script);
        self
    }

    /// Says something: after so long in the virtual world, after the cue in the real one.
    pub(crate) fn say(mut self, after: Span, cue: &str, command: Command) -> Play {
        let chapter = self.story.chapters.pop().unwrap();
        self.story.chapters.push(chapter.say(Moment::After(after), command));
        self.cues.last_mut().unwrap().said.push(cue.to_owned());
        self
    }

    /// Kills the driver of the last chapter after the cue.
    pub(crate) fn kill(mut self, cue: &str) -> Play {
        let last = self.story.chapters.len() - 1;
        let kills = self.cues[last].kills.len();
        // The cue is told last before it; of the effects that follow from the cue, the last one is begun.
        let fits = |fault: &Fault| {
            let mut faults = self.story.faults.clone();
            faults.push(*fault);
            let told = in_virtual_world(&self.story.with(faults)).told.swap_remove(last);
            let resumed = told.iter().enumerate().filter(|(_, line)| line.starts_with("run_resumed"));
            let first = told.iter().position(|line| is_cue(line, cue));
            first.is_some() && resumed.map(|(i, _)| i).nth(kills) == first.map(|i| i + 1)
        };
        let end = self.story.tell().unwrap();
        let effects = (1..=end.effects).rev().map(|n| Fault::effect(n, Done::HalfDone, Span::ZERO));
        let appends = (1..=end.appends).rev().map(|n| Fault::append(n, Appended::Lost, Span::ZERO));
        let fault = effects.chain(appends).find(fits).unwrap_or_else(|| panic!("nobody can be killed at {cue}"));
        self.story.faults.push(fault);
        self.cues[last].kills.push(cue.to_owned());
        self
    }

    /// Loses the supervisor in the last chapter, a second after the cue.
    pub(crate) fn lose(mut self, cue: &str) -> Play {
        let when = self.second_after(cue);
        self.chapter().losses.push(when);
        self.cues.last_mut().unwrap().losses.push(cue.to_owned());
        self
    }

    /// Ends all instances of a version in the last chapter, a second after the cue. They can be started again.
    pub(crate) fn end_instances(mut self, version: &str, cue: &str) -> Play {
        let when = Moment::After(self.second_after(cue));
        let change = Change::Nature { version: version.to_owned(), nature: Nature { dies: 1, ..Nature::GOOD } };
        self.chapter().turns.push(Turn { when, change, lasts: Some(Span::seconds(2)) });
        self.cues.last_mut().unwrap().deaths.push((cue.to_owned(), version.to_owned()));
        self
    }

    /// A second after the last chapter has come to the cue, counted from its beginning.
    fn second_after(&mut self, cue: &str) -> Span {
        let end = self.story.tell().unwrap();
        let events = String::from_utf8(end.events).unwrap();
        let stream = format!("run/{} ", self.chapter().key);
        let lines = events.lines().filter_map(|line| line.strip_prefix(&stream)).map(|line| {
            let mut parts = line.splitn(3, ' ').skip(1);
            (Time(parts.next().unwrap().parse().unwrap()), told(parts.next().unwrap()).unwrap_or_default())
        });
        let lines: Vec<(Time, String)> = lines.collect();
        let came = lines.iter().find(|(_, line)| is_cue(line, cue)).expect("the cue comes").0;
        Span(came.since(lines[0].0).0 + 1_000)
    }

    /// Gives the service's address to another program before the last chapter.
    pub(crate) fn take_port(mut self) -> Play {
        let turn = Turn { when: Moment::After(Span::ZERO), change: Change::PortTaken, lasts: None };
        self.chapter().turns.push(turn);
        self.taken = true;
        self
    }

    /// Tells it in both worlds, and fails where they differ; gives what both have told.
    pub(crate) async fn same(self) -> Ending {
        let (expected, found) = self.both().await;
        compare("the story", &expected, &found);
        expected
    }

    /// Tells it in both worlds: in the virtual one and in the real one.
    pub(crate) async fn both(mut self) -> (Ending, Ending) {
        let site = Site::new();
        acted::make_real(&mut self.story, &self.cues, &site);
        let expected = in_virtual_world(&self.story);
        let found = real::tell(&site, &self).await;
        site.end().await;
        (expected, found)
    }
}

/// The story in the virtual world.
pub(crate) fn in_virtual_world(story: &Story) -> Ending {
    let end: End = story.tell().unwrap();
    assert_eq!((end.broken.as_slice(), end.left.as_slice()), (&[][..], &[][..]));
    let events = String::from_utf8(end.events.clone()).unwrap();
    let lines_of = |key: &str| {
        let stream = format!("run/{key} ");
        let mine = events.lines().filter(move |line| line.starts_with(&stream));
        mine.map(|line| line.splitn(4, ' ').nth(3).unwrap())
    };
    let of_run = |key: &str| settled(lines_of(key).filter_map(told).collect());
    let mut begun = BTreeMap::new();
    for done in end.executions.iter().filter(|done| !is_limited(story, &done.step)) {
        *begun.entry(format!("{}/{}", done.run, done.step)).or_default() += 1;
    }
    let services = end.services.iter().map(|(name, service)| {
        (name.clone(), (service.stable.clone(), service.running.clone(), service.weights.clone()))
    });
    Ending {
        told: end.runs.iter().map(|run| of_run(&run.key)).collect(),
        status: end.runs.iter().map(|run| word(run.status)).collect(),
        begun,
        services: services.collect(),
        windows: lines_of(&end.runs.last().unwrap().key).filter_map(Judged::of).collect(),
    }
}

/// Whether a step has a time limit: on a busy machine it may be over before a process could begin.
pub(crate) fn is_limited(story: &Story, step: &str) -> bool {
    let mut steps = story.chapters.iter().flat_map(|chapter| &chapter.pipeline.steps);
    steps.any(|known| known.name == step && (known.timeout.is_some() || known.deadline.is_some()))
}

fn word(status: RunStatus) -> &'static str {
    use tidegate::pipeline::RunOutcome;
    match status {
        RunStatus::New | RunStatus::Running => "running",
        RunStatus::Asking => "asking",
        RunStatus::Finished(RunOutcome::Succeeded) => "succeeded",
        RunStatus::Finished(RunOutcome::Failed) => "failed",
        RunStatus::Finished(RunOutcome::Cancelled) => "cancelled",
    }
}

/// Fails with the first line that differs, and with all of both.
pub(crate) fn compare(what: &str, expected: &Ending, found: &Ending) {
    for (expected, found) in expected.told.iter().zip(&found.told) {
        let differs = |(i, line): (usize, &String)| (found.get(i) != Some(line)).then_some(i);
        if let Some(i) =
            expected.iter().enumerate().find_map(differs).or((found.len() > expected.len()).then_some(expected.len()))
        {
            let line = |told: &[String]| told.get(i).cloned().unwrap_or_default();
            panic!(
                "{what}: line {i} differs:\n  virtual: {}\n  real:    {}\nvirtual: {expected:#?}\nreal: {found:#?}",
                line(expected),
                line(found)
            );
        }
    }
    assert_eq!(expected.told.len(), found.told.len(), "{what}: virtual and real");
    assert_eq!(expected.status, found.status, "{what}: virtual and real");
    assert_eq!(expected.begun, found.begun, "{what}: virtual and real");
    assert_eq!(expected.services, found.services, "{what}: virtual and real");
}

//! Streams of a journal, one event a line with its time as `at`: what is stored can be folded, told and shown,
//! whatever it is. Folding is total, since a run that can't be folded can't be taken up.

use serde_json::{Value, json};
use tidegate::analysis::JudgeSpec;
use tidegate::journal::Stored;
use tidegate::machine::Machine;
use tidegate::pipeline::{Answer, PipelineSpec, RunEvent, RunInput, RunMachine, RunState};
use tidegate::report::{Live, Narrator, StepLog, page};
use tidegate::rollout::{Command, RolloutInput, Verb};
use tidegate::service::{ServiceEvent, ServiceInput, ServiceMachine, ServiceState};
use tidegate::simulate::{Chapter, Moment, Nature, Script, Story};
use tidegate::time::{Span, Time};

use crate::json::read as read_json;

/// More lines say nothing new, and cost.
const LINES: usize = 40;

/// Parts of the streams of a story, each behind its beginning: a first release and a second one, taken back, cancelled, with steps that fail.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let rollout = json!({"service": "shop", "serve": {"listen": "127.0.0.1:0", "replicas": 2, "drain": "1s"},
        "judge": JudgeSpec { warmup: Some("2s".into()), ..JudgeSpec::default() }, "promote": "manual", "keep_old": "1s",
        "strategy": {"kind": "canary", "steps": [25, 50], "bake": "30s"}});
    let release = |version: &str| json!({"version": version, "command": ["server"]});
    let chapter = |version: &str| {
        let steps = json!([
            {"name": "build", "action": {"kind": "command", "argv": ["make"]}, "retry": {"attempts": 3, "jitter": "none"}},
            {"name": "ship", "action": {"kind": "rollout", "rollout": rollout, "release": release(version)},
                "after": [{"step": "build"}]},
            {"name": "never", "action": {"kind": "function", "function": "f"}, "after": [{"step": "build", "when": "failure"}]},
            {"name": "clean", "action": {"kind": "command", "shell": "true"}, "cleanup": true},
        ]);
        let pipeline: PipelineSpec =
            serde_json::from_value(json!({"name": "release", "steps": steps})).expect("a spec");
        let mut chapter =
            Chapter::new(version, pipeline).script("build", Script { value: json!(1), ..Script::default() });
        chapter.person.promotes = true;
        chapter
    };
    let mut second = chapter("v2");
    second.losses.push(Span::seconds(40));
    let command =
        |verb: &str| serde_json::from_value(json!({"verb": verb, "step": "ship", "by": "eve", "reason": "so"}));
    let third = chapter("v3")
        .say(Moment::After(Span::seconds(20)), command("pause").expect("a command"))
        .say(Moment::After(Span::seconds(30)), command("resume").expect("a command"))
        .say(Moment::After(Span::seconds(40)), command("abort").expect("a command"));
    let story = Story::new(7, chapter("v1")).then(second).then(third).nature("v2", Nature::BAD);
    let end = story.tell().expect("it can be told");
    let mut streams: Vec<(String, Vec<u8>)> = Vec::new();
    for line in String::from_utf8(end.events).expect("texts").lines() {
        let [stream, _, at, body] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut event: Value = serde_json::from_str(body).expect("an event");
        event["at"] = Time(at.parse().expect("a time")).to_string().into();
        let line = format!("{event}\n").into_bytes();
        match streams.iter_mut().find(|(known, _)| known == stream) {
            Some((_, lines)) => lines.extend(line),
            None => streams.push((stream.to_owned(), line)),
        }
    }
    let parts = streams.iter().flat_map(|(_, lines)| {
        let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
        // What a rollout begins with comes a few events after its run.
        let (first, rest) = lines.split_at(lines.len().min(8));
        let parts: Vec<Vec<u8>> = rest.chunks(12).map(|part| [first, part].concat().concat()).collect();
        if parts.is_empty() { vec![first.concat()] } else { parts }
    });
    parts.collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    let mut run = RunState::default();
    let mut service = ServiceState::new("shop");
    let (mut narrator, mut live, mut texts, mut taken) = (Narrator::new(), Live::new(), Vec::new(), false);
    for line in bytes.split(|byte| *byte == b'\n').take(LINES) {
        let value = serde_json::from_slice::<Value>(line).unwrap_or_default();
        let at = value.get("at").and_then(Value::as_str).and_then(|at| at.parse().ok()).unwrap_or_default();
        let stored = Stored { seq: 1, at, body: line.to_vec() };
        if let Ok(event) = stored.decode::<RunEvent>() {
            assert_eq!(read_json(line).as_ref(), Some(&event));
            fold::<RunMachine>(&mut run, &event, at);
            taken = true;
        }
        if let Ok(event) = stored.decode::<ServiceEvent>() {
            assert_eq!(read_json(line).as_ref(), Some(&event));
            fold::<ServiceMachine>(&mut service, &event, at);
            taken = true;
        }
        if let Ok(text) = std::str::from_utf8(line) {
            narrator.lines(text);
            live.lines(text);
            texts.push(text);
        }
    }
    let frame = live.frame(Time(i64::MAX), 40, 10);
    assert!(
        frame.len() <= 10 && frame.iter().all(|line| line.chars().count() <= 40 && !line.contains('\n')),
        "{frame:?}"
    );
    decide(&run, &service);
    let html =
        page(&texts, &[StepLog { step: "build".into(), attempt: 1, text: "</pre><script>".into(), left_out: 0 }]);
    assert!(html.ends_with("</html>\n") && !html.contains("<script") && !html.contains("=\"NaN"), "{html}");
    taken
}

fn fold<M: Machine>(state: &mut M::State, event: &M::Event, at: Time) {
    M::apply(state, event, at);
    M::effects(state, event);
    M::pending(state);
    M::deadline(state);
}

/// What is said to it is decided or refused.
fn decide(run: &RunState, service: &ServiceState) {
    let by = || "eve".to_owned();
    let steps: Vec<String> =
        run.run().into_iter().flat_map(|run| run.steps()).map(|(name, _)| name.to_owned()).collect();
    let mut inputs = vec![
        RunInput::Tick,
        RunInput::TakeUpToEnd { epoch: 9 },
        RunInput::RerunFailed { by: by(), epoch: 9 },
        RunInput::Cancel { by: by(), reason: by() },
    ];
    for step in steps.iter().take(8) {
        let says = [Verb::Promote, Verb::Pause, Verb::Resume, Verb::Abort, Verb::Revert];
        let rollouts = says.map(|verb| RolloutInput::Command(Command { verb, by: by(), reason: by() }));
        let rollouts = rollouts.into_iter().chain([
            RolloutInput::Tick,
            RolloutInput::TakeUp,
            RolloutInput::Observed(Default::default()),
            RolloutInput::WorldLost { what: by() },
        ]);
        inputs.extend(rollouts.map(|input| RunInput::Rollout { step: step.clone(), input: Box::new(input) }));
        inputs.push(RunInput::Resolve { step: step.clone(), answer: Answer::RunAgain, by: by() });
    }
    for (input, now) in inputs.iter().flat_map(|input| [(input, Time(0)), (input, Time(i64::MAX))]) {
        let mut state = run.clone();
        for event in RunMachine::decide(run, input, now).unwrap_or_default() {
            // What is decided can be stored, and read again.
            let written = serde_json::to_vec(&event).expect("an event can be written");
            assert_eq!(read_json(&written).as_ref(), Some(&event));
            fold::<RunMachine>(&mut state, &event, now);
        }
    }
    for input in
        [ServiceInput::Remove, ServiceInput::WorldLost { what: by() }, ServiceInput::Observed(Default::default())]
    {
        let _ = ServiceMachine::decide(service, &input, Time(0));
    }
}

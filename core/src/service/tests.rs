//! What a service remembers, and what it does about a lost world.

use std::collections::BTreeMap;

use super::*;
use crate::error::Kind;
use crate::machine::Machine;
use crate::time::{Span, Time};

fn definition(version: &str) -> DesiredVersion {
    DesiredVersion {
        release: Release {
            version: version.to_owned(),
            command: vec!["server".to_owned()],
            env: BTreeMap::new(),
            dir: None,
        },
        replicas: 2,
        ready: None,
        drain: Span::seconds(30),
        grace: Span::seconds(10),
    }
}

fn claimed(version: &str) -> ServiceEvent {
    ServiceEvent::Claimed {
        service: "shop".to_owned(),
        claim: Claim { run: "r1".to_owned(), step: "ship".to_owned(), version: version.to_owned() },
        definition: Box::new(definition(version)),
    }
}

fn changed(generation: u64, sizes: &[(&str, u32)], to: &str) -> ServiceEvent {
    ServiceEvent::Changed {
        generation,
        epoch: generation,
        sizes: sizes.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect(),
        weights: Weights::from([(to.to_owned(), 10_000)]),
        serving: Serving {
            listen: "127.0.0.1:0".to_owned(),
            measure: Measure { window: Span::seconds(10), warmup: Span::ZERO },
            request_timeout: Span::seconds(60),
            max_body_bytes: 1,
        },
    }
}

fn fold(events: &[ServiceEvent]) -> ServiceState {
    let mut state = ServiceState::new("shop");
    for event in events {
        let stored = serde_json::to_string(event).unwrap();
        ServiceMachine::apply(&mut state, &serde_json::from_str(&stored).unwrap(), Time(0));
    }
    state
}

fn shipped() -> Vec<ServiceEvent> {
    vec![
        claimed("v1"),
        changed(1, &[("v1", 2)], "v1"),
        ServiceEvent::Promoted { version: Some("v1".to_owned()), kept: Vec::new() },
        ServiceEvent::Released { outcome: Outcome::Promoted, reason: "v1 promoted".to_owned() },
    ]
}

fn seen(generation: u64, ready: u32) -> ServiceInput {
    let version = ObservedVersion { running: ready, ready, ..ObservedVersion::default() };
    ServiceInput::Observed(Observed {
        generation,
        epoch: generation,
        versions: BTreeMap::from([("v1".to_owned(), version)]),
        trouble: None,
        cant_listen: false,
    })
}

#[test]
fn a_lost_world_is_asked_for_again_and_counts_as_back_when_it_is_whole() {
    let mut events = shipped();
    let state = fold(&events);
    let lost = ServiceMachine::decide(&state, &ServiceInput::WorldLost { what: "killed".into() }, Time(1)).unwrap();
    events.extend(lost.clone());
    let state = fold(&events);
    let [ServiceEffect::Converge(desired)] = &ServiceMachine::effects(&state, &lost[0])[..] else {
        panic!("expected one ask")
    };
    assert_eq!((desired.generation, desired.versions["v1"].replicas), (1, 2));

    assert_eq!(ServiceMachine::decide(&state, &seen(0, 2), Time(2)).unwrap(), []);
    assert_eq!(ServiceMachine::decide(&state, &seen(1, 1), Time(2)).unwrap(), []);
    assert_eq!(ServiceMachine::decide(&state, &seen(1, 2), Time(2)).unwrap(), [ServiceEvent::WorldRestored]);
}

#[test]
fn a_rollout_that_holds_the_service_decides_alone() {
    let mut events = shipped();
    events.push(claimed("v2"));
    let state = fold(&events);
    assert_eq!(ServiceMachine::pending(&state), []);
    assert_eq!(
        ServiceMachine::decide(&state, &ServiceInput::WorldLost { what: "killed".into() }, Time(1)).unwrap(),
        []
    );
    let error = ServiceMachine::decide(&state, &ServiceInput::Remove, Time(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("run: r1"), "{error}");
}

#[test]
fn versions_that_can_never_run_again_are_forgotten() {
    let mut events = shipped();
    events.extend([
        claimed("v2"),
        changed(2, &[("v1", 2), ("v2", 1)], "v1"),
        changed(3, &[("v1", 2)], "v1"),
        ServiceEvent::Released { outcome: Outcome::RolledBack, reason: "worse".to_owned() },
    ]);
    let state = fold(&events);
    assert_eq!(state.versions.keys().collect::<Vec<_>>(), ["v1"]);
    assert_eq!(
        state.last,
        Some(LastRollout { version: "v2".to_owned(), outcome: Outcome::RolledBack, reason: "worse".to_owned() })
    );
    assert_eq!(state.claim, None);
}

#[test]
fn removing_ends_what_is_left_and_a_lost_world_is_no_loss_then() {
    let mut events = shipped();
    let removed = ServiceMachine::decide(&fold(&events), &ServiceInput::Remove, Time(1)).unwrap();
    events.extend(removed);
    let state = fold(&events);
    assert_eq!(ServiceMachine::pending(&state), [ServiceEffect::Remove]);
    assert_eq!((state.generation, state.epoch), (2, 2));
    assert!(state.sizes.is_empty() && state.weights.is_empty());
    let lost = ServiceInput::WorldLost { what: "killed".into() };
    assert_eq!(ServiceMachine::decide(&state, &lost, Time(1)).unwrap(), []);
    assert_eq!(ServiceMachine::decide(&state, &ServiceInput::Remove, Time(1)).unwrap(), []);
}

#[test]
fn a_first_release_that_was_taken_back_leaves_nothing() {
    let taken_back = ServiceEvent::Released { outcome: Outcome::RolledBack, reason: "worse".to_owned() };
    let mut changed_back = changed(2, &[], "v1");
    if let ServiceEvent::Changed { weights, .. } = &mut changed_back {
        weights.clear();
    }
    let state = fold(&[claimed("v1"), changed(1, &[("v1", 2)], "v1"), changed_back, taken_back.clone()]);
    assert_eq!(ServiceMachine::effects(&state, &taken_back), [ServiceEffect::Remove]);
    let refused = fold(&[claimed("v1"), taken_back.clone()]);
    assert_eq!(ServiceMachine::effects(&refused, &taken_back), [], "nothing was asked for");
    let promoted = shipped();
    assert_eq!(ServiceMachine::effects(&fold(&promoted), &promoted[3]), []);
}

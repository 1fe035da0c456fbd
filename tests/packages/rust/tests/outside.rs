//! What holds for whoever uses the crate from outside.

use std::fmt::Debug;

#[test]
fn a_durable_pipeline_runs_once() {
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let (pipeline, length) = outside::greeting(&ran);
    for _ in 0..2 {
        let outcome = tidegate::block_on(outside::run(&folder.path().join("x.db"), &pipeline)).unwrap();
        assert_eq!(outcome.value(&length).unwrap(), 5);
    }
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "ran\n");
}

#[test]
fn what_is_shared_crosses_threads() {
    fn shared<T: Send + Sync + Debug>() {}
    shared::<tidegate::Engine>();
    shared::<tidegate::Run>();
    shared::<tidegate::Outcome>();
    shared::<tidegate::Context>();
    shared::<tidegate::Functions>();
    shared::<tidegate::Error>();
    shared::<tidegate::Rollout>();
    shared::<tidegate::Release>();
    fn sent<T: Send + Debug>() {}
    sent::<tidegate::Events>();
    sent::<tidegate::Lines>();
}

//! The graphs of public workflow files, as pipelines: every step runs once, after all that it needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate::journal::Durability;
use tidegate::{EngineOptions, Pipeline, StepRef};

/// The names in a list.
fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn real_graphs_run_level_by_level() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/pipeline/real_dags.json");
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let engine = EngineOptions::new().durability(Durability::Memory).open("unused.db").await.unwrap();
    let mut tried = 0;
    for case in cases["cases"].as_array().unwrap().iter().filter(|case| case["expected_levels"].is_array()) {
        let mut pipeline = Pipeline::new(case["id"].as_str().unwrap());
        let mut steps: BTreeMap<String, StepRef<usize>> = BTreeMap::new();
        let mut left: Vec<&Value> = case["jobs"].as_array().unwrap().iter().collect();
        // A step takes values of steps that are defined before it; files have their jobs in any order.
        while !left.is_empty() {
            let before = left.len();
            left.retain(|job| {
                let needs = names(&job["needs"]);
                if !needs.iter().all(|need| steps.contains_key(need)) {
                    return true;
                }
                let inputs: Vec<StepRef<usize>> = needs.iter().map(|need| steps[need].clone()).collect();
                let name = job["name"].as_str().unwrap();
                // Its level: one more than the highest of those that it needs.
                let level = |_, levels: Vec<usize>| async move {
                    Ok::<_, String>(levels.iter().map(|level| level + 1).max().unwrap_or(0))
                };
                steps.insert(name.to_owned(), pipeline.function(name, inputs.as_slice(), level));
                false
            });
            assert!(left.len() < before, "{}", case["id"]);
        }
        let outcome = engine.run(&pipeline).await.unwrap().ok().unwrap();
        let mut levels: Vec<BTreeSet<String>> = Vec::new();
        for (name, step) in &steps {
            let level = outcome.value(step).unwrap();
            levels.resize_with(levels.len().max(level + 1), BTreeSet::new);
            levels[level].insert(name.clone());
            assert_eq!(outcome.steps[name].attempts, 1, "{name}");
        }
        let expected: Vec<_> = case["expected_levels"].as_array().unwrap().iter().map(names).collect();
        assert_eq!(levels, expected, "{}", case["id"]);
        tried += 1;
    }
    assert!(tried >= 7, "only {tried} graphs were tried");
    engine.close().await.unwrap();
}

//! Fields that nobody knows: a slip in a definition is told, and an event of a later version is read.

use parsers::target;
use serde_json::Value;

/// The pointers of all objects in a value whose names are not free.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if !at.ends_with("/env") {
                found.push(at.to_owned());
            }
            fields.iter().for_each(|(name, field)| objects(field, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| objects(item, &format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

fn with_field(value: &Value, pointer: &str) -> String {
    let mut changed = value.clone();
    changed.pointer_mut(pointer).expect("an object")["unheard_of"] = 1.into();
    changed.to_string()
}

#[test]
fn no_definition_has_a_field_that_nobody_knows() {
    let specs = target("specs").expect("a target");
    let mut tried = 0;
    for seed in (specs.seeds)() {
        let value: Value = serde_json::from_slice(&seed).expect("JSON");
        let mut found = Vec::new();
        objects(&value, "", &mut found);
        for pointer in found {
            assert!(!(specs.read)(with_field(&value, &pointer).as_bytes()), "{pointer} of {value}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn an_event_may_have_fields_that_nobody_knows_yet() {
    let events = target("events").expect("a target");
    let mut kinds = std::collections::BTreeSet::new();
    for seed in (events.seeds)() {
        for line in seed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let value: Value = serde_json::from_slice(line).expect("JSON");
            if kinds.insert(value["kind"].to_string() + &value["event"]["kind"].to_string()) {
                assert!((events.read)(with_field(&value, "").as_bytes()), "{value}");
            }
        }
    }
    assert!(kinds.len() > 20, "{kinds:?}");
}

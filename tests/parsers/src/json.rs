//! What must hold of every type that is read from JSON.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate::error::Fault;

/// Reads a value. What is written of it reads the same, and is written the same again, to the last byte: definitions
/// are compared by a hash of it.
pub(crate) fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_string(&value).expect("what was read can be written");
    let again: T = match serde_json::from_str(&written) {
        Ok(again) => again,
        Err(error) => panic!("what was written can't be read: {error}: {written}"),
    };
    assert_eq!(again, value, "{written}");
    assert_eq!(serde_json::to_string(&again).expect("it can be written"), written);
    Some(value)
}

/// Every fault has a sentence, and a place in the definition: one that is there, or a field that its object lacks.
pub(crate) fn check_places(definition: &impl Serialize, faults: &[Fault]) {
    let definition = serde_json::to_value(definition).expect("a definition can be written");
    for fault in faults {
        assert!(!fault.message.is_empty(), "{fault:?}");
        let pointer = &fault.pointer;
        let within = pointer.rsplit_once('/').map(|(within, _)| within);
        let there = definition.pointer(pointer).is_some()
            || within.and_then(|within| definition.pointer(within)).is_some_and(Value::is_object);
        assert!(there, "no such place: {fault:?} in {definition}");
    }
}

/// Words that a fuzzer can put in: all texts and names in lines of JSON, and what blanks part in others.
pub fn dictionary(seeds: &[Vec<u8>]) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for line in seeds.iter().flat_map(|seed| seed.split(|byte| *byte == b'\n')) {
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            words.extend(String::from_utf8_lossy(line).split_whitespace().map(str::to_owned));
            continue;
        };
        nodes(&value, &mut |node| match node {
            Value::String(text) => drop(words.insert(text.clone())),
            Value::Object(fields) => words.extend(fields.keys().cloned()),
            _ => {}
        });
    }
    words.retain(|word| (1..=40).contains(&word.len()));
    words
}

/// Shows every node of a value, the outer ones first.
pub fn nodes(value: &Value, each: &mut dyn FnMut(&Value)) {
    each(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| nodes(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| nodes(field, each)),
        _ => {}
    }
}

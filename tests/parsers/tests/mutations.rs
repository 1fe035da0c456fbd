//! Inputs that are nearly right: seeds of each target with some bytes or nodes changed; and any bytes at all.

use parsers::{TARGETS, Target, nodes, target};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// A change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Node(Index, Value),
    Forget(Index),
    Nest(Index, usize),
}

fn leaf() -> impl Strategy<Value = Value> {
    let odd = [
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(5e-324),
        json!(-0.0),
        json!(0.1),
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!("\0"),
        json!("0s"),
        json!("213503982334d14h25m51s615ms"),
        json!("{host}"),
        json!("run/a"),
        json!("\u{1b}[31m<b>"),
        json!("é".repeat(200)),
    ];
    prop_oneof![
        4 => proptest::sample::select(odd.to_vec()),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => "\\PC{0,12}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        "\\PC{1,4}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            "\r\n", "\n", "\0", "{", "[", "\"", "0", "9", "-", "e9", ",", ":", " ", "chunked"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        1 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (any::<Index>(), 1..20_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
        3 => (any::<Index>(), leaf()).prop_map(|(at, value)| Edit::Node(at, value)),
        1 => (any::<Index>(),).prop_map(|(at,)| Edit::Forget(at)),
        1 => (any::<Index>(), 1..200_usize).prop_map(|(at, depth)| Edit::Nest(at, depth)),
    ]
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let length = input.len();
        match self {
            Edit::Set(at, byte) if length > 0 => input[at.index(length)] = *byte,
            Edit::Insert(at, bytes) => {
                let at = at.index(length + 1);
                drop(input.splice(at..at, bytes.iter().copied()));
            }
            Edit::Remove(at, count) if length > 0 => {
                let from = at.index(length);
                input.drain(from..length.min(from + count));
            }
            Edit::Repeat(at, count) if length > 0 => {
                let from = at.index(length);
                let part = input[from..length.min(from + count)].to_vec();
                drop(input.splice(from..from, part));
            }
            Edit::Node(at, value) => self.in_json(*at, input, |node| *node = value.clone()),
            Edit::Forget(at) => self.in_json(*at, input, |node| match node {
                Value::Object(fields) => drop(fields.keys().next_back().cloned().and_then(|name| fields.remove(&name))),
                Value::Array(items) => drop(items.pop()),
                other => *other = Value::Null,
            }),
            // Deeper than any reader of JSON goes, too.
            Edit::Nest(at, depth) => self.in_json(*at, input, |node| {
                for _ in 0..*depth {
                    *node = json!([node.take()]);
                }
            }),
            _ => {}
        }
    }

    /// Changes a node of one line, if that is JSON.
    fn in_json(&self, at: Index, input: &mut Vec<u8>, change: impl FnOnce(&mut Value)) {
        let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let line = at.index(lines.len());
        let Ok(mut value) = serde_json::from_slice::<Value>(&lines[line]) else { return };
        let mut places = 0;
        nodes(&value, &mut |_| places += 1);
        change(nth(&mut value, &mut at.index(places)));
        lines[line] = value.to_string().into_bytes();
        *input = lines.join(&b'\n');
    }
}

/// A node by its number, the outer ones first.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> &'a mut Value {
    let mut count = 0;
    let inner: Vec<usize> = match &*value {
        Value::Array(items) => items.iter().map(size).collect(),
        Value::Object(fields) => fields.values().map(size).collect(),
        _ => Vec::new(),
    };
    let Some(before) = left.checked_sub(1) else { return value };
    let child = inner.iter().position(|size| {
        count += size;
        before < count
    });
    let Some(child) = child else { return value };
    *left = before - (count - inner[child]);
    match value {
        Value::Array(items) => nth(&mut items[child], left),
        Value::Object(fields) => nth(fields.values_mut().nth(child).expect("counted"), left),
        _ => value,
    }
}

fn size(value: &Value) -> usize {
    let mut count = 0;
    nodes(value, &mut |_| count += 1);
    count
}

/// Bytes, shown as text.
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Tells a target some thousands of inputs; every tenth is of any bytes.
fn holds(name: &str, cases: u32) {
    let target = target(name).expect("a target");
    let seeds = (target.seeds)();
    let near = (any::<Index>(), prop::collection::vec(edit(), 1..5)).prop_map(move |(seed, edits)| {
        let mut input = seed.get(&seeds).clone();
        edits.iter().for_each(|edit| edit.apply(&mut input));
        input
    });
    let far = prop_oneof![prop::collection::vec(any::<u8>(), 0..64), "\\PC{0,32}".prop_map(String::into_bytes)];
    let inputs = prop_oneof![9 => near, 1 => far].prop_map(Input);
    // Asked for more by hand: PROPTEST_CASES.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&inputs, |input| {
        (target.read)(&input.0);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
}

/// Without this the tests below would say nothing.
#[test]
fn every_target_takes_most_of_its_seeds() {
    for Target { name, read, seeds } in TARGETS {
        let seeds = seeds();
        let refused: Vec<_> =
            seeds.iter().filter(|seed| !read(seed)).map(|seed| String::from_utf8_lossy(seed)).collect();
        assert!(refused.len() * 3 <= seeds.len(), "{name}: {refused:?}");
    }
}

#[test]
fn short_texts() {
    holds("text", 8_000);
}

#[test]
fn specs() {
    holds("specs", 2_000);
}

#[test]
fn values() {
    holds("values", 4_000);
}

#[test]
fn records() {
    holds("records", 300);
}

#[test]
fn messages() {
    holds("messages", 2_000);
}

#[test]
fn events() {
    holds("events", 150);
}

#[test]
fn requests_through_the_proxy() {
    holds("requests", 400);
}

#[test]
fn answers_through_the_proxy() {
    holds("answers", 400);
}

#[test]
fn answers_to_probes() {
    holds("probes", 400);
}

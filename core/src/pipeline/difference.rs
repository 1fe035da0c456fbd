//! What differs between two definitions, so that a run that was begun with one is not gone on with as another.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::pointer_part;
use crate::pipeline::graph::Graph;
use crate::pipeline::spec::PipelineSpec;

/// The longest text of a value that a difference shows, in characters.
const MAX_SHOWN: usize = 120;

/// What differs between two definitions of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// Steps that only the new definition has, in its order.
    pub added: Vec<String>,
    /// Steps that only the old definition has, in its order.
    pub removed: Vec<String>,
    /// Fields that both have and that differ.
    pub changed: Vec<Change>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The step that it belongs to; `None` for a field of the pipeline itself.
    pub step: Option<String>,
    /// JSON pointer within the step or the pipeline, such as `/action/argv/2`.
    pub field: String,
    /// What it was, as JSON; empty if it was not set.
    pub old: String,
    /// What it is, as JSON; empty if it is not set.
    pub new: String,
}

impl Difference {
    /// Whether the definitions are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        lines.extend(self.added.iter().map(|name| format!("+ step {name}")));
        lines.extend(self.removed.iter().map(|name| format!("- step {name}")));
        for change in &self.changed {
            let whose = change.step.as_ref().map_or("pipeline".to_owned(), |name| format!("step {name}"));
            let shown = |text: &str| if text.is_empty() { "(not set)".to_owned() } else { text.to_owned() };
            lines.push(format!("~ {whose} {}: {} → {}", change.field, shown(&change.old), shown(&change.new)));
        }
        f.write_str(&lines.join("\n"))
    }
}

/// What differs between `old` and `new`, in their order. That steps changed places is a change of the pipeline's
/// `/steps`, as the order decides which of several ready steps starts first.
pub fn difference(old: &PipelineSpec, new: &PipelineSpec) -> Difference {
    let (old_names, new_names) = (Graph::new(old), Graph::new(new));
    let mut found = Difference::default();
    let head = |spec: &PipelineSpec| serde_json::json!({"name": spec.name, "max_parallel": spec.max_parallel, "fail_fast": spec.fail_fast});
    compare(None, &mut String::new(), &head(old), &head(new), &mut found.changed);
    let name = |step: &crate::pipeline::spec::StepSpec| step.name.clone();
    found.added = new.steps.iter().filter(|step| old_names.index(&step.name).is_none()).map(name).collect();
    found.removed = old.steps.iter().filter(|step| new_names.index(&step.name).is_none()).map(name).collect();
    let mut kept = Vec::new();
    for step in &old.steps {
        let Some(after) = new_names.index(&step.name).and_then(|i| new.steps.get(i)) else { continue };
        kept.push(new_names.index(&step.name));
        if step != after {
            let json = |step| serde_json::to_value(step).unwrap_or_default();
            compare(Some(&step.name), &mut String::new(), &json(step), &json(after), &mut found.changed);
        }
    }
    if !kept.is_sorted() {
        let order = |names: &PipelineSpec, other: &Graph| {
            let kept = names.steps.iter().filter(|step| other.index(&step.name).is_some()).map(|step| &step.name);
            shorten(&Value::from_iter(kept.cloned()))
        };
        let (old, new) = (order(old, &new_names), order(new, &old_names));
        found.changed.push(Change { step: None, field: "/steps".to_owned(), old, new });
    }
    found
}

fn compare(step: Option<&str>, path: &mut String, old: &Value, new: &Value, changed: &mut Vec<Change>) {
    let mut inside = |part: &str, old: Option<&Value>, new: Option<&Value>| {
        let length = path.len();
        path.push('/');
        path.push_str(&pointer_part(part));
        compare(step, path, old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null), changed);
        path.truncate(length);
    };
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                inside(name, Some(value), new.get(name));
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                inside(name, None, Some(value));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for i in 0..old.len().max(new.len()) {
                inside(&i.to_string(), old.get(i), new.get(i));
            }
        }
        (old, new) if old != new => changed.push(Change {
            step: step.map(str::to_owned),
            field: path.clone(),
            old: shorten(old),
            new: shorten(new),
        }),
        _ => {}
    }
}

fn shorten(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PipelineSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn shows_what_was_added_removed_and_changed() {
        let f = serde_json::json!({"kind": "function", "function": "f"});
        let old = spec(serde_json::json!({"name": "p", "fail_fast": true, "steps": [
            {"name": "a", "action": {"kind": "command", "argv": ["cargo", "build"]}},
            {"name": "b", "action": f}, {"name": "c", "action": f, "timeout": "1m"}]}));
        let new = spec(serde_json::json!({"name": "p", "steps": [
            {"name": "c", "action": f, "version": "2"},
            {"name": "a", "action": {"kind": "command", "argv": ["cargo", "test", "-q"]}},
            {"name": "d", "action": f}]}));
        assert!(difference(&old, &old).is_empty());
        assert_eq!(
            difference(&old, &new).to_string(),
            "+ step d\n- step b\n\
             ~ pipeline /fail_fast: true → false\n\
             ~ step a /action/argv/1: \"build\" → \"test\"\n\
             ~ step a /action/argv/2: (not set) → \"-q\"\n\
             ~ step c /timeout: \"1m\" → (not set)\n\
             ~ step c /version: (not set) → \"2\"\n\
             ~ pipeline /steps: [\"a\",\"c\"] → [\"c\",\"a\"]"
        );
    }
}

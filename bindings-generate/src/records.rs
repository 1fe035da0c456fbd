//! The records as Python's frozen dataclasses.

use std::collections::BTreeSet;

use crate::python::{all, doc, literal};
use crate::schema::{Field, Item, Shape, Type};
use crate::surface::Surface;

const HEAD: &str = "\"\"\"What is answered about runs, services and the journal.

@generated from the core by `cargo run -p tidegate-generate`: change it there.
\"\"\"

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal, TypeAlias

";

/// An instant: milliseconds in JSON, a `datetime` here.
const TIME: &str = "Time";

/// What packages' users know as a class, not as a dictionary.
const RELEASE: &str = "Release";

/// The module. Texts come first, since classes are made of them.
pub(crate) fn print(surface: &Surface) -> Result<String, String> {
    let items = &surface.records;
    let own: BTreeSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
    let (mut words, mut classes) = (String::new(), String::new());
    for item in items {
        match &item.shape {
            Shape::Words(list) => {
                let each = list.iter().filter(|(_, doc)| !doc.is_empty());
                let each = each.map(|(word, doc)| format!("`{word}`: {doc}"));
                let text = [item.doc.clone()].into_iter().chain(each).collect::<Vec<_>>().join("\n\n");
                let of = literal(list.iter().map(|(word, _)| word.as_str()));
                words.push_str(&format!("\n{}: TypeAlias = {of}\n{}", item.name, doc(&text, "")));
            }
            Shape::Object(fields) => classes.push_str(&class(item, fields)),
            Shape::Alias(_) | Shape::Union { .. } => return Err(format!("{}: records are plain objects", item.name)),
        }
    }
    let names = own.iter().map(|name| (*name).to_owned()).collect();
    Ok(format!("{HEAD}{}\n{}{words}{classes}", imports(surface, &own)?, all(names)))
}

fn class(item: &Item, fields: &[Field]) -> String {
    let mut class =
        format!("\n\n@dataclass(frozen=True, kw_only=True)\nclass {}:\n{}\n", item.name, doc(&item.doc, "    "));
    for Field { name, of, required, doc: text } in fields {
        let of = kind(of);
        let of = if *required { of } else { format!("{of} | None = None") };
        class.push_str(&format!("    {name}: {of}\n{}", doc(text, "    ")));
    }
    class
}

/// Whence the names come that are no records. They are needed when a record is read, not by type checkers alone.
fn imports(surface: &Surface, own: &BTreeSet<&str>) -> Result<String, String> {
    let mut text = format!("from ._rollout import {RELEASE}\n");
    let used: BTreeSet<&str> = surface.records.iter().flat_map(Item::names).collect();
    let mut events = Vec::new();
    for name in used.into_iter().filter(|name| !own.contains(name) && ![TIME, RELEASE].contains(name)) {
        if !surface.events.iter().any(|item| item.name == name) {
            return Err(format!("a record holds {name}, which is none and no event's"));
        }
        events.push(name);
    }
    if !events.is_empty() {
        text.push_str(&format!("from .events import {}\n", events.join(", ")));
    }
    Ok(text)
}

fn kind(of: &Type) -> String {
    match of {
        Type::Json => "object".to_owned(),
        Type::Text => "str".to_owned(),
        Type::OneOf(words) => literal(words.iter().map(String::as_str)),
        Type::Boolean => "bool".to_owned(),
        Type::Integer => "int".to_owned(),
        Type::Number => "float".to_owned(),
        Type::List(items) => format!("tuple[{}, ...]", kind(items)),
        Type::Map(values) => format!("dict[str, {}]", kind(values)),
        Type::Nullable(one) => format!("{} | None", kind(one)),
        Type::Named(name) if name == TIME => "datetime.datetime".to_owned(),
        Type::Named(name) => name.clone(),
    }
}

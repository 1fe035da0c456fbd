//! The specs and the events as `TypedDict`s.

use std::collections::BTreeSet;

use crate::schema::{Field, Item, Shape, Type};
use crate::surface::{FACT, Surface};

const IMPORTS: &str = "
@generated from the core by `cargo run -p tidegate-generate`: change it there.
\"\"\"

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict
";

const SPECS: &str = "\"\"\"What crosses into the core and back, as types.\n";

const EVENTS: &str = "\"\"\"What observers of a run are shown, as types: ``kind`` tells events apart.\n";

/// What every recorded event has besides.
const RECORDED: &str = "

class Recorded(TypedDict):
    \"\"\"The place of a recorded event. Those are durable, in order, and none is left out.\"\"\"

    seq: int
    \"\"\"Its number within the run.\"\"\"
    at: str
    \"\"\"When it was recorded, in UTC: ``2026-01-31T12:00:00.000Z``.\"\"\"
";

const EVENT: &str = "
Event: TypeAlias = Fact | OutputEvent
\"\"\"One event of a run: recorded, or output while it comes.\"\"\"
";

/// Words that can't name a field of a class.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

const WIDTH: usize = 110;

/// The module of the specs.
pub(crate) fn print_specs(surface: &Surface) -> Result<String, String> {
    let (names, body) = module(&surface.specs)?;
    Ok(format!("{SPECS}{IMPORTS}\n{}{body}", all(names)))
}

/// The module of the events.
pub(crate) fn print_events(surface: &Surface) -> Result<String, String> {
    let (mut names, body) = module(&surface.events)?;
    names.extend(["Event", "Recorded"].map(str::to_owned));
    let own: BTreeSet<&str> = surface.events.iter().map(|item| item.name.as_str()).collect();
    let from: BTreeSet<&str> = surface.events.iter().flat_map(Item::names).filter(|name| !own.contains(name)).collect();
    let from: String = from.iter().map(|name| format!("    {name},\n")).collect();
    let all = all(names);
    Ok(format!("{EVENTS}{IMPORTS}\nfrom ._spec import (\n{from})\n\n{all}{RECORDED}\n{body}{EVENT}"))
}

pub(crate) fn all(mut names: Vec<String>) -> String {
    names.sort();
    let each: String = names.iter().map(|name| format!("    {name:?},\n")).collect();
    format!("__all__ = [\n{each}]\n")
}

/// The names and what they mean. Names that others are made of come first: texts, then classes, then unions of classes.
fn module(items: &[Item]) -> Result<(Vec<String>, String), String> {
    let mut names: Vec<String> = Vec::new();
    let (mut words, mut classes, mut unions) = (String::new(), String::new(), String::new());
    for item in items {
        names.push(item.name.clone());
        match &item.shape {
            Shape::Alias(of) => {
                words.push_str(&format!("\n{}: TypeAlias = {}\n{}", item.name, kind(of), doc(&item.doc, "")));
            }
            Shape::Words(list) => {
                let literal = literal(list.iter().map(|(word, _)| word.as_str()));
                let each: Vec<String> = list
                    .iter()
                    .filter(|(_, doc)| !doc.is_empty())
                    .map(|(word, doc)| format!("`{word}`: {doc}"))
                    .collect();
                let text = [item.doc.clone()].into_iter().chain(each).collect::<Vec<_>>().join("\n\n");
                words.push_str(&format!("\n{}: TypeAlias = {literal}\n{}", item.name, doc(&text, "")));
            }
            Shape::Object(fields) => classes.push_str(&class(&item.name, "TypedDict", &item.doc, None, fields)?),
            Shape::Union { tag, variants } => {
                let base = if item.name == FACT { "Recorded" } else { "TypedDict" };
                let mut parts = Vec::new();
                for variant in variants {
                    let name = format!("{}{}", item.name, camel(&variant.tag));
                    let tag = Some((tag, &variant.tag));
                    classes.push_str(&class(&name, base, &variant.doc, tag, &variant.fields)?);
                    parts.push(name.clone());
                    names.push(name);
                }
                unions.push_str(&format!("\n{}: TypeAlias = {}\n{}", item.name, parts.join(" | "), doc(&item.doc, "")));
            }
        }
    }
    Ok((names, format!("{words}{classes}\n{unions}")))
}

fn class(
    name: &str,
    base: &str,
    text: &str,
    tag: Option<(&String, &String)>,
    fields: &[Field],
) -> Result<String, String> {
    if fields.iter().any(|field| KEYWORDS.contains(&field.name.as_str())) {
        return match base {
            "TypedDict" => Ok(call(name, text, tag, fields)),
            _ => Err(format!("{name}: a field's name is a keyword, and only a class can have a base")),
        };
    }
    let mut class = format!("\n\nclass {name}({base}):\n{}", doc(text, "    "));
    if !text.is_empty() {
        class.push('\n');
    }
    if let Some((tag, word)) = tag {
        class.push_str(&format!("    {tag}: Literal[{word:?}]\n"));
    }
    for field in fields {
        class.push_str(&format!("    {}: {}\n{}", field.name, presence(field), doc(&field.doc, "    ")));
    }
    Ok(class)
}

/// The same where a field has a keyword as its name: a class can't say it. The docs become comments.
fn call(name: &str, text: &str, tag: Option<(&String, &String)>, fields: &[Field]) -> String {
    let mut call = format!("\n\n{name} = TypedDict(\n    {name:?},\n    {{\n");
    if let Some((tag, word)) = tag {
        call.push_str(&format!("        {tag:?}: Literal[{word:?}],\n"));
    }
    for field in fields {
        for line in wrap(&field.doc, WIDTH - 10) {
            call.push_str(&format!("        # {line}\n"));
        }
        call.push_str(&format!("        {:?}: {:?},\n", field.name, presence(field)));
    }
    call.push_str(&format!("    }},\n)\n{}", doc(text, "")));
    call
}

fn presence(field: &Field) -> String {
    let of = kind(&field.of);
    if field.required { of } else { format!("NotRequired[{of}]") }
}

fn kind(of: &Type) -> String {
    match of {
        Type::Json => "Any".to_owned(),
        Type::Text => "str".to_owned(),
        Type::OneOf(words) => literal(words.iter().map(String::as_str)),
        Type::Boolean => "bool".to_owned(),
        Type::Integer => "int".to_owned(),
        Type::Number => "float".to_owned(),
        Type::List(items) => format!("list[{}]", kind(items)),
        Type::Map(values) => format!("dict[str, {}]", kind(values)),
        Type::Nullable(one) => format!("{} | None", kind(one)),
        Type::Named(name) => name.clone(),
    }
}

pub(crate) fn literal<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("Literal[{}]", words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
}

/// A docstring, wrapped; nothing for no text.
pub(crate) fn doc(text: &str, indent: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut lines = wrap(text, WIDTH - indent.len());
    let one = lines.len() == 1;
    let mut printed = format!("{indent}\"\"\"{}", lines.remove(0));
    for line in lines {
        printed.push('\n');
        if !line.is_empty() {
            printed.push_str(&format!("{indent}{line}"));
        }
    }
    // A quote at the very end would run into the closing ones.
    let blank = if one && printed.ends_with('"') { " " } else { "" };
    if one { format!("{printed}{blank}\"\"\"\n") } else { format!("{printed}\n{indent}\"\"\"\n") }
}

/// Paragraphs as lines of at most `width` characters, an empty line between two; the first has room for quotes.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in markup(text).split("\n\n") {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let room = width - if lines.is_empty() { 3 } else { 0 };
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Code in double backquotes, links as their text, no backslashes.
fn markup(text: &str) -> String {
    let text = text.replace('\\', "/").replace("[`", "`").replace("`]", "`");
    text.replace('`', "``")
}

/// `last_line_json` as `LastLineJson`.
fn camel(word: &str) -> String {
    word.split('_')
        .flat_map(|part| {
            let mut letters = part.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_is_printed_after_its_classes() {
        let field =
            Field { name: "a".into(), doc: "An `a`.".into(), required: false, of: Type::List(Box::new(Type::Text)) };
        let items = [Item {
            name: "Thing".into(),
            doc: "A thing.".into(),
            shape: Shape::Union {
                tag: "kind".into(),
                variants: vec![crate::schema::Variant {
                    tag: "run_again".into(),
                    doc: String::new(),
                    fields: vec![field],
                }],
            },
        }];
        let (_, text) = module(&items).unwrap();
        let class = "class ThingRunAgain(TypedDict):\n    kind: Literal[\"run_again\"]\n    a: NotRequired[list[str]]\n    \
                     \"\"\"An ``a``.\"\"\"\n\n\nThing: TypeAlias = ThingRunAgain\n\"\"\"A thing.\"\"\"\n";
        assert!(text.contains(class), "{text}");
    }

    #[test]
    fn a_keyword_as_a_name_is_quoted() {
        let field = Field { name: "pass".into(), doc: "A doc.".into(), required: true, of: Type::Text };
        let item = Item { name: "T".into(), doc: String::new(), shape: Shape::Object(vec![field]) };
        let (_, text) = module(&[item]).unwrap();
        assert!(
            text.contains(
                "T = TypedDict(\n    \"T\",\n    {\n        # A doc.\n        \"pass\": \"str\",\n    },\n)\n"
            ),
            "{text}"
        );
    }
}

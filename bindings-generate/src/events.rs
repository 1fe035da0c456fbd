//! Events and records as TypeScript types, in camel case, and a table of what is converted on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{Field, Item, Shape, Type};
use crate::surface::{FACT, Surface};
use crate::typescript::{doc, is_identifier, pascal, words_of};

const HEAD: &str = "/**
 * Events (`kind` tells them apart) and what is answered about runs, services and the journal. @generated
 *
 * Generated from the core by `cargo run -p tidegate-generate`: change it there.
 */

import type * as spec from './spec.js'

/** The place of a recorded event. Those are durable, in order, and none is left out. */
export interface Recorded {
  /** Its number within the run. */
  readonly seq: number
  /** When it was recorded. */
  readonly at: Date
}
";

const EVENT: &str = "
/** One event of a run: recorded, or output while it comes. */
export type RunEvent = Fact | OutputEvent
";

const TABLE: &str = "
/**
 * By type (of a union with the kind), those of its fields that hold a time or another type of events: itself or in a
 * list; with a star, in an object whose names are the user's. All else is handed on as it is: values, and specs as the
 * core has them.
 */
export const holds: Readonly<Record<string, Readonly<Record<string, string>>>> = {
";

/// An instant: milliseconds in JSON, or text where an event was recorded; a `Date` here.
const TIME: &str = "Time";

/// What tells the objects of a union apart.
const TAG: &str = "kind";

/// The module: a type for each item, then the table.
pub(crate) fn print(surface: &Surface) -> Result<String, String> {
    let mut items = [surface.events.as_slice(), surface.records.as_slice()].concat();
    items.sort_by(|one, other| one.name.cmp(&other.name));
    print_items(&items)
}

fn print_items(items: &[Item]) -> Result<String, String> {
    let own: BTreeSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
    let known: BTreeMap<&str, &Item> = items.iter().map(|item| (item.name.as_str(), item)).collect();
    let mut text = HEAD.to_owned();
    let mut table = TABLE.to_owned();
    for item in items.iter().filter(|item| item.name != TIME) {
        match &item.shape {
            Shape::Alias(of) => {
                text.push_str(&format!("\n{}export type {} = {}\n", doc(&item.doc, ""), item.name, kind(of, &own)));
            }
            Shape::Words(words) => text.push_str(&words_of(item, words)),
            Shape::Object(fields) => {
                text.push_str(&interface(&item.name, &item.doc, None, fields, &own)?);
                row(&mut table, &item.name, held(fields, &known));
            }
            Shape::Union { tag, .. } if tag != TAG => {
                return Err(format!("{}: told apart by {tag}, and events are by {TAG}", item.name));
            }
            Shape::Union { variants, .. } => {
                let recorded = item.name == FACT;
                let mut parts = Vec::new();
                for variant in variants {
                    let name = format!("{}{}", item.name, pascal(&variant.tag));
                    let head = if recorded { format!("{name} extends Recorded") } else { name.clone() };
                    text.push_str(&interface(&head, &variant.doc, Some(&variant.tag), &variant.fields, &own)?);
                    let mut pairs = held(&variant.fields, &known);
                    if recorded {
                        pairs.insert(0, format!("at: '{TIME}'"));
                    }
                    row(&mut table, &format!("{}:{}", item.name, variant.tag), pairs);
                    parts.push(name);
                }
                text.push_str(&format!("\n{}export type {} = {}\n", doc(&item.doc, ""), item.name, parts.join(" | ")));
            }
        }
    }
    Ok(format!("{text}{EVENT}{table}}}\n"))
}

fn interface(
    name: &str,
    text: &str,
    tag: Option<&String>,
    fields: &[Field],
    own: &BTreeSet<&str>,
) -> Result<String, String> {
    let mut body = String::new();
    if let Some(word) = tag {
        body.push_str(&format!("  readonly {TAG}: '{word}'\n"));
    }
    for field in fields {
        if !is_identifier(&field.name) {
            return Err(format!("{name}: a field's name is no identifier: {}", field.name));
        }
        let optional = if field.required { "" } else { "?" };
        let field_name = camel(&field.name);
        let of = kind(&field.of, own);
        body.push_str(&format!("{}  readonly {field_name}{optional}: {of}\n", doc(&field.doc, "  ")));
    }
    Ok(format!("\n{}export interface {name} {{\n{body}}}\n", doc(text, "")))
}

fn kind(of: &Type, own: &BTreeSet<&str>) -> String {
    match of {
        Type::Json => "unknown".to_owned(),
        Type::Text => "string".to_owned(),
        Type::OneOf(words) => words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" | "),
        Type::Boolean => "boolean".to_owned(),
        Type::Integer | Type::Number => "number".to_owned(),
        Type::List(items) => match kind(items, own) {
            items if items.contains(' ') => format!("readonly ({items})[]"),
            items => format!("readonly {items}[]"),
        },
        Type::Map(values) => format!("Readonly<Record<string, {}>>", kind(values, own)),
        Type::Nullable(one) => format!("{} | null", kind(one, own)),
        Type::Named(name) if name == TIME => "Date".to_owned(),
        Type::Named(name) if own.contains(name.as_str()) => name.clone(),
        Type::Named(name) => format!("spec.{name}"),
    }
}

/// Which fields hold what, of those that hold something.
fn held(fields: &[Field], known: &BTreeMap<&str, &Item>) -> Vec<String> {
    fields.iter().filter_map(|field| Some(format!("{}: '{}'", field.name, holds(&field.of, known)?))).collect()
}

/// Adds a type to the table, if any of its fields holds something.
fn row(table: &mut String, name: &str, pairs: Vec<String>) {
    if !pairs.is_empty() {
        let name = if name.contains(':') { format!("'{name}'") } else { name.to_owned() };
        table.push_str(&format!("  {name}: {{ {} }},\n", pairs.join(", ")));
    }
}

fn holds(of: &Type, known: &BTreeMap<&str, &Item>) -> Option<String> {
    match of {
        Type::Named(name) if name == TIME => Some(name.clone()),
        Type::Named(name) => match known.get(name.as_str())?.shape {
            Shape::Object(_) | Shape::Union { .. } => Some(name.clone()),
            Shape::Alias(_) | Shape::Words(_) => None,
        },
        Type::List(of) | Type::Nullable(of) => holds(of, known),
        Type::Map(of) => Some(format!("{}*", holds(of, known)?)),
        Type::Json | Type::Text | Type::OneOf(_) | Type::Boolean | Type::Integer | Type::Number => None,
    }
}

/// `last_lines` as `lastLines`.
fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Variant;

    fn field(name: &str, required: bool, of: Type) -> Field {
        Field { name: name.into(), doc: String::new(), required, of }
    }

    fn named(name: &str) -> Type {
        Type::Named(name.into())
    }

    fn union(tag: &str) -> Vec<Item> {
        let one = vec![
            field("next_at", true, named("Time")),
            field("all_seen", true, Type::Map(Box::new(named("Thing")))),
            field("spec", false, named("CheckSpec")),
        ];
        let other = vec![field("next_at", true, Type::List(Box::new(Type::Nullable(Box::new(named("Word"))))))];
        let variant = |tag: &str, fields| Variant { tag: tag.into(), doc: String::new(), fields };
        let shape = Shape::Union { tag: tag.into(), variants: vec![variant("move_done", one), variant("stop", other)] };
        vec![
            Item { name: "Thing".into(), doc: "A thing.".into(), shape },
            Item { name: "Time".into(), doc: String::new(), shape: Shape::Alias(Type::Integer) },
            Item { name: "Word".into(), doc: String::new(), shape: Shape::Words(vec![("a".into(), String::new())]) },
        ]
    }

    #[test]
    fn types_and_the_table_say_the_same() {
        let text = print_items(&union("kind")).unwrap();
        for part in [
            "export interface ThingMoveDone {\n  readonly kind: 'move_done'\n  readonly nextAt: Date\n  readonly allSeen: \
             Readonly<Record<string, Thing>>\n  readonly spec?: spec.CheckSpec\n}\n",
            "export interface ThingStop {\n  readonly kind: 'stop'\n  readonly nextAt: readonly (Word | null)[]\n}\n",
            "/** A thing. */\nexport type Thing = ThingMoveDone | ThingStop\n",
            "= {\n  'Thing:move_done': { next_at: 'Time', all_seen: 'Thing*' },\n}\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("type Time"), "{text}");
    }

    #[test]
    fn what_is_not_told_apart_by_its_kind_stops_it() {
        assert!(print_items(&union("verb")).unwrap_err().contains("verb"));
    }
}

//! The specs as TypeScript types, and a table of the fields that are not handed on as they are.

use std::collections::BTreeMap;

use crate::schema::{Field, Item, Shape, Type};
use crate::surface::Surface;

const HEAD: &str = "/**
 * What crosses into the core and back, as types. @generated
 *
 * Generated from the core by `cargo run -p tidegate-generate`: change it there.
 */
";

const WIDTH: usize = 110;

/// The module: a type for each item, then a table by type and field.
pub(crate) fn print(surface: &Surface) -> Result<String, String> {
    print_items(&surface.specs)
}

fn print_items(items: &[Item]) -> Result<String, String> {
    let mut text = HEAD.to_owned();
    for item in items {
        match &item.shape {
            Shape::Alias(of) => {
                text.push_str(&format!("\n{}export type {} = {}\n", doc(&item.doc, ""), item.name, kind(of)));
            }
            Shape::Words(words) => text.push_str(&words_of(item, words)),
            Shape::Object(fields) => text.push_str(&interface(&item.name, &item.doc, None, fields)?),
            Shape::Union { tag, variants } => {
                let mut parts = Vec::new();
                for variant in variants {
                    let name = format!("{}{}", item.name, pascal(&variant.tag));
                    text.push_str(&interface(&name, &variant.doc, Some((tag, &variant.tag)), &variant.fields)?);
                    parts.push(name);
                }
                text.push_str(&format!("\n{}export type {} = {}\n", doc(&item.doc, ""), item.name, parts.join(" | ")));
            }
        }
    }
    text.push_str(&table(items)?);
    Ok(text)
}

pub(crate) fn words_of(item: &Item, words: &[(String, String)]) -> String {
    let each = words.iter().filter(|(_, doc)| !doc.is_empty()).map(|(word, doc)| format!("`{word}`: {doc}"));
    let text = [item.doc.clone()].into_iter().chain(each).collect::<Vec<_>>().join("\n\n");
    let union = words.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" | ");
    format!("\n{}export type {} = {union}\n", doc(&text, ""), item.name)
}

fn interface(name: &str, text: &str, tag: Option<(&String, &String)>, fields: &[Field]) -> Result<String, String> {
    let mut body = String::new();
    if let Some((tag, word)) = tag {
        body.push_str(&format!("  {tag}: '{word}'\n"));
    }
    for field in fields {
        if !is_identifier(&field.name) {
            return Err(format!("{name}: a field's name is no identifier: {}", field.name));
        }
        let optional = if field.required { "" } else { "?" };
        body.push_str(&format!("{}  {}{optional}: {}\n", doc(&field.doc, "  "), field.name, kind(&field.of)));
    }
    Ok(format!("\n{}export interface {name} {{\n{body}}}\n", doc(text, "")))
}

fn kind(of: &Type) -> String {
    match of {
        Type::Json => "unknown".to_owned(),
        Type::Text => "string".to_owned(),
        Type::OneOf(words) => words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" | "),
        Type::Boolean => "boolean".to_owned(),
        Type::Integer | Type::Number => "number".to_owned(),
        Type::List(items) => match kind(items) {
            items if items.contains(' ') => format!("({items})[]"),
            items => format!("{items}[]"),
        },
        Type::Map(values) => format!("Record<string, {}>", kind(values)),
        Type::Nullable(one) => format!("{} | null", kind(one)),
        Type::Named(name) => name.clone(),
    }
}

/// For each type with fields, those that hold durations or other types with fields: `name` for the type itself or a
/// list of it, `name*` for an object with names of the user's. All other fields are handed on as they are.
fn table(items: &[Item]) -> Result<String, String> {
    let known: BTreeMap<&str, &Item> = items.iter().map(|item| (item.name.as_str(), item)).collect();
    let mut text = "\n/**\n * By type and field, what a field holds if it is not handed on as it is: a duration, or a type of this \
                    table (itself or\n * in a list; with a star, in an object whose names are the user's).\n */\n\
                    export const fields = {\n"
        .to_owned();
    for item in items {
        let all: Vec<&Field> = match &item.shape {
            Shape::Object(fields) => fields.iter().collect(),
            Shape::Union { variants, .. } => variants.iter().flat_map(|variant| &variant.fields).collect(),
            Shape::Words(_) | Shape::Alias(_) => continue,
        };
        let mut found: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for field in all {
            let holds = holds(&field.of, &known)?;
            if let Some(other) = found.insert(&field.name, holds.clone())
                && other != holds
            {
                return Err(format!(
                    "{}: two variants differ in what they hold in the field {}",
                    item.name, field.name
                ));
            }
        }
        let pairs: Vec<String> =
            found.iter().filter_map(|(name, holds)| Some(format!("{name}: '{}'", holds.as_ref()?))).collect();
        text.push_str(&match pairs.is_empty() {
            true => format!("  {}: {{}},\n", item.name),
            false => format!("  {}: {{ {} }},\n", item.name, pairs.join(", ")),
        });
    }
    text.push_str("} as const\n");
    Ok(text)
}

fn holds(of: &Type, known: &BTreeMap<&str, &Item>) -> Result<Option<String>, String> {
    match of {
        Type::Named(name) => {
            let item = known.get(name.as_str()).ok_or_else(|| format!("no such type: {name}"))?;
            Ok(match item.shape {
                Shape::Object(_) | Shape::Union { .. } => Some(name.clone()),
                Shape::Alias(_) if name == "SpanText" => Some(name.clone()),
                Shape::Alias(_) | Shape::Words(_) => None,
            })
        }
        Type::List(of) | Type::Nullable(of) => holds(of, known),
        Type::Map(of) => Ok(holds(of, known)?.map(|name| format!("{name}*"))),
        Type::Json | Type::Text | Type::OneOf(_) | Type::Boolean | Type::Integer | Type::Number => Ok(None),
    }
}

/// A comment, wrapped; nothing for no text.
pub(crate) fn doc(text: &str, indent: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = text.replace("[`", "`").replace("`]", "`").replace("*/", "* /");
    let room = WIDTH - indent.len();
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
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
    match lines.as_slice() {
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let body: String =
                lines.iter().map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n").collect();
            format!("{indent}/**\n{body}{indent} */\n")
        }
    }
}

pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `last_line_json` as `LastLineJson`.
pub(crate) fn pascal(word: &str) -> String {
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
    use crate::schema::Variant;

    fn field(name: &str, of: Type) -> Field {
        Field { name: name.into(), doc: String::new(), required: false, of }
    }

    fn variant(tag: &str, fields: Vec<Field>) -> Variant {
        Variant { tag: tag.into(), doc: "One.".into(), fields }
    }

    fn span() -> Item {
        Item { name: "SpanText".into(), doc: "A */ span.".into(), shape: Shape::Alias(Type::Text) }
    }

    #[test]
    fn types_and_the_table_say_the_same() {
        let wait = field("wait", Type::Nullable(Box::new(Type::Named("SpanText".into()))));
        let env = field("env", Type::Map(Box::new(Type::Text)));
        let things = field("things", Type::Map(Box::new(Type::Named("Thing".into()))));
        let union = Shape::Union {
            tag: "kind".into(),
            variants: vec![variant("run_again", vec![wait, env]), variant("stop", vec![things])],
        };
        let items = [Item { name: "Thing".into(), doc: String::new(), shape: union }, span()];
        let text = print_items(&items).unwrap();
        for part in [
            "/** One. */\nexport interface ThingRunAgain {\n  kind: 'run_again'\n  wait?: SpanText | null\n  env?: Record<string, string>\n}\n",
            "export type Thing = ThingRunAgain | ThingStop\n",
            "/** A * / span. */\nexport type SpanText = string\n",
            "  Thing: { things: 'Thing*', wait: 'SpanText' },\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn variants_that_differ_in_what_a_field_holds_stop_it() {
        let one = variant("a", vec![field("wait", Type::Named("SpanText".into()))]);
        let other = variant("b", vec![field("wait", Type::Integer)]);
        let union = Shape::Union { tag: "kind".into(), variants: vec![one, other] };
        let items = [Item { name: "Thing".into(), doc: String::new(), shape: union }, span()];
        assert!(print_items(&items).unwrap_err().contains("wait"));
    }

    #[test]
    fn lists_of_unions_are_put_in_brackets() {
        assert_eq!(kind(&Type::List(Box::new(Type::Nullable(Box::new(Type::Text))))), "(string | null)[]");
    }
}

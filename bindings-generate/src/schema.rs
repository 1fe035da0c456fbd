//! The schemas of the core's types as items that a surface is printed from. A construct that is not known here is an
//! error, so that nothing becomes "anything" by accident.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A named type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
}

impl Item {
    /// The names of the types that it is made of.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.shape {
            Shape::Object(fields) => fields.iter().filter_map(|field| field.of.name()).collect(),
            Shape::Union { variants, .. } => {
                variants.iter().flat_map(|variant| &variant.fields).filter_map(|field| field.of.name()).collect()
            }
            Shape::Alias(of) => of.name().into_iter().collect(),
            Shape::Words(_) => Vec::new(),
        }
    }
}

/// What a named type is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// An object with these fields.
    Object(Vec<Field>),
    /// One of several objects, told apart by the field `tag`.
    Union { tag: String, variants: Vec<Variant> },
    /// One of several texts, each with its doc.
    Words(Vec<(String, String)>),
    /// Another name for a type.
    Alias(Type),
}

/// One of the objects of a union. Its tag is not among the fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    pub(crate) tag: String,
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) required: bool,
    pub(crate) of: Type,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    /// Any JSON value, as the core says it.
    Json,
    Text,
    /// One of these texts.
    OneOf(Vec<String>),
    Boolean,
    Integer,
    Number,
    List(Box<Type>),
    /// Objects with any names and values of this type.
    Map(Box<Type>),
    /// This or null.
    Nullable(Box<Type>),
    /// A named type.
    Named(String),
}

impl Type {
    /// The named type that it is made of, if of one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Type::Named(name) => Some(name),
            Type::List(of) | Type::Map(of) | Type::Nullable(of) => of.name(),
            Type::Json | Type::Text | Type::OneOf(_) | Type::Boolean | Type::Integer | Type::Number => None,
        }
    }
}

/// A named type from its schema.
pub(crate) fn item(name: &str, schema: &Value) -> Result<Item, String> {
    let mut node = Node::new(name, schema)?;
    let doc = node.doc()?;
    let shape = match (node.take("oneOf"), node.take("enum")) {
        (Some(variants), None) => union(name, &list(name, variants)?)?,
        (None, Some(words)) => {
            node.expect("type", "string")?;
            Shape::Words(words_of(name, &list(name, words)?)?)
        }
        (None, None) if node.has("properties") => {
            node.expect("type", "object")?;
            Shape::Object(fields(&mut node)?)
        }
        (None, None) => Shape::Alias(kind(&mut node)?),
        (Some(_), Some(_)) => return Err(format!("{name}: both oneOf and enum")),
    };
    node.done()?;
    Ok(Item { name: name.to_owned(), doc, shape })
}

/// An internally tagged enum, or a set of texts of which each has its doc.
fn union(name: &str, schemas: &[Value]) -> Result<Shape, String> {
    let mut words = Vec::new();
    let mut variants = Vec::new();
    let mut tags = BTreeMap::new();
    for (i, schema) in schemas.iter().enumerate() {
        let mut node = Node::new(&format!("{name}/{i}"), schema)?;
        let doc = node.doc()?;
        if let Some(word) = node.take("const") {
            node.expect("type", "string")?;
            words.push((text(name, &word)?, doc));
        } else if let Some(more) = node.take("enum") {
            node.expect("type", "string")?;
            words.extend(words_of(name, &list(name, more)?)?);
        } else {
            node.expect("type", "object")?;
            let (tag, word) = node.tag()?;
            tags.insert(tag.clone(), ());
            let mut fields = fields(&mut node)?;
            fields.retain(|field| field.name != tag);
            variants.push(Variant { tag: word, doc, fields });
        }
        node.done()?;
    }
    match (words.is_empty(), variants.is_empty(), tags.into_keys().next()) {
        (false, true, None) => Ok(Shape::Words(words)),
        (true, false, Some(tag)) => Ok(Shape::Union { tag, variants }),
        _ => Err(format!("{name}: neither a set of texts nor a tagged enum")),
    }
}

fn words_of(name: &str, words: &[Value]) -> Result<Vec<(String, String)>, String> {
    words.iter().map(|word| Ok((text(name, word)?, String::new()))).collect()
}

fn fields(node: &mut Node) -> Result<Vec<Field>, String> {
    let properties = node.take("properties").unwrap_or_default();
    let required = node.take("required").unwrap_or_else(|| Value::Array(Vec::new()));
    let required = list(&node.name, required)?;
    // Specs refuse unknown fields, and outcomes don't: neither has more fields as far as a type goes.
    match node.take("additionalProperties") {
        None | Some(Value::Bool(false)) => {}
        Some(other) => return Err(format!("{}: fields besides the named ones: {other}", node.name)),
    }
    let properties = properties.as_object().ok_or_else(|| format!("{}: properties is no object", node.name))?;
    properties
        .iter()
        .map(|(name, schema)| {
            let mut field = Node::new(&format!("{}/{name}", node.name), schema)?;
            let doc = field.doc()?;
            // A default is the core's to fill in; the doc says it.
            field.take("default");
            let of = if field.has("const") { tag_text(&mut field)? } else { kind(&mut field)? };
            field.done()?;
            Ok(Field { name: name.clone(), doc, required: required.iter().any(|one| one == name), of })
        })
        .collect()
}

/// The tag among the fields; whoever reads the fields drops it.
fn tag_text(field: &mut Node) -> Result<Type, String> {
    field.take("const");
    field.expect("type", "string")?;
    Ok(Type::Text)
}

fn kind(node: &mut Node) -> Result<Type, String> {
    if let Some(target) = node.take("$ref") {
        let target = text(&node.name, &target)?;
        let name = target.strip_prefix("#/$defs/").ok_or_else(|| format!("{}: refers to {target}", node.name))?;
        return Ok(Type::Named(name.to_owned()));
    }
    if let Some(either) = node.take("anyOf") {
        let either = list(&node.name, either)?;
        let [one, null] = either.as_slice() else {
            return Err(format!("{}: anyOf of something other than a type and null", node.name));
        };
        if *null != serde_json::json!({"type": "null"}) {
            return Err(format!("{}: anyOf with {null}", node.name));
        }
        let mut one = Node::new(&node.name, one)?;
        let of = kind(&mut one)?;
        one.done()?;
        return Ok(Type::Nullable(Box::new(of)));
    }
    match node.take("type") {
        // A schema that says nothing is any JSON value: `serde_json::Value` in the core.
        None => Ok(Type::Json),
        Some(Value::String(word)) => plain(node, &word),
        Some(Value::Array(words)) => match words.as_slice() {
            [Value::String(word), Value::String(null)] if null == "null" => {
                Ok(Type::Nullable(Box::new(plain(node, word)?)))
            }
            _ => Err(format!("{}: several types: {words:?}", node.name)),
        },
        Some(other) => Err(format!("{}: a type that is no text: {other}", node.name)),
    }
}

fn plain(node: &mut Node, word: &str) -> Result<Type, String> {
    match word {
        "string" => match node.take("enum") {
            Some(words) => {
                let words = list(&node.name, words)?;
                Ok(Type::OneOf(words.iter().map(|word| text(&node.name, word)).collect::<Result<_, _>>()?))
            }
            None => Ok(Type::Text),
        },
        "boolean" => Ok(Type::Boolean),
        "integer" | "number" => {
            // Ranges are checked in the core, with every other rule.
            for bound in ["format", "minimum", "maximum"] {
                node.take(bound);
            }
            Ok(if word == "integer" { Type::Integer } else { Type::Number })
        }
        "array" => {
            let items = node.take("items").ok_or_else(|| format!("{}: a list of unknown items", node.name))?;
            let mut items = Node::new(&format!("{}/items", node.name), &items)?;
            let of = kind(&mut items)?;
            items.done()?;
            Ok(Type::List(Box::new(of)))
        }
        "object" => {
            let values = node
                .take("additionalProperties")
                .ok_or_else(|| format!("{}: an object of unknown fields", node.name))?;
            let mut values = Node::new(&format!("{}/values", node.name), &values)?;
            let of = kind(&mut values)?;
            values.done()?;
            Ok(Type::Map(Box::new(of)))
        }
        other => Err(format!("{}: an unknown type: {other}", node.name)),
    }
}

/// A schema of which each keyword must be taken.
struct Node {
    name: String,
    left: Map<String, Value>,
}

impl Node {
    fn new(name: &str, schema: &Value) -> Result<Node, String> {
        let left = match schema {
            Value::Object(left) => left.clone(),
            Value::Bool(true) => Map::new(),
            other => return Err(format!("{name}: not a schema: {other}")),
        };
        Ok(Node { name: name.to_owned(), left })
    }

    fn has(&self, keyword: &str) -> bool {
        self.left.contains_key(keyword)
    }

    fn take(&mut self, keyword: &str) -> Option<Value> {
        self.left.remove(keyword)
    }

    fn doc(&mut self) -> Result<String, String> {
        self.take("description").map_or(Ok(String::new()), |doc| text(&self.name, &doc))
    }

    fn expect(&mut self, keyword: &str, wanted: &str) -> Result<(), String> {
        match self.take(keyword) {
            Some(Value::String(found)) if found == wanted => Ok(()),
            other => Err(format!("{}: expected {keyword} to be {wanted}: {other:?}", self.name)),
        }
    }

    /// The one field whose value is given, and that value.
    fn tag(&self) -> Result<(String, String), String> {
        let properties = self.left.get("properties").and_then(Value::as_object);
        let mut tags = properties.into_iter().flatten().filter_map(|(name, schema)| {
            schema.get("const").and_then(Value::as_str).map(|word| (name.clone(), word.to_owned()))
        });
        match (tags.next(), tags.next()) {
            (Some(tag), None) => Ok(tag),
            _ => Err(format!("{}: expected one field that tells it apart", self.name)),
        }
    }

    fn done(self) -> Result<(), String> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(keyword) => Err(format!("{}: an unknown keyword: {keyword}", self.name)),
        }
    }
}

fn list(name: &str, value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!("{name}: expected a list: {other}")),
    }
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{name}: expected a text: {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_constructs_stop_it() {
        for schema in [
            json!({"type": "string", "pattern": "a"}),
            json!({"type": "object", "properties": {"a": {"type": "string", "enum": [1]}}}),
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
            json!({"type": "array"}),
            json!({"type": "object"}),
            json!({"type": ["string", "integer"]}),
            json!({"type": "object", "properties": {"a": {"type": "string", "not": {}}}}),
            json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
            json!({"oneOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]}),
            json!({"oneOf": [{"type": "integer", "const": 1}]}),
            json!({"allOf": []}),
            json!(false),
        ] {
            assert!(item("T", &schema).is_err(), "{schema}");
        }
    }
}

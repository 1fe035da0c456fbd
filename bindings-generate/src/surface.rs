//! Every type that crosses to the bindings.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use tidegate::analysis::{EProcessSpec, WindowRecord};
use tidegate::engine::{OutputEvent, RunRow, Service};
use tidegate::health::{CheckRecord, CheckSpec, OutlierSpec, Tally};
use tidegate::journal::Verified;
use tidegate::pipeline::{PipelineSpec, RunEvent};
use tidegate::supervisor::ServiceStats;
use tidegate::{Command, Outcome};

use crate::schema::{Item, Shape, Type, item};

/// The recorded events, without their number and time.
pub(crate) const FACT: &str = "Fact";

/// Every type that crosses to the bindings, by name.
#[derive(Debug)]
pub(crate) struct Surface {
    /// What goes in, described as it is read, and outcomes, as they are written.
    pub(crate) specs: Vec<Item>,
    /// What observers of a run are shown, as it is written. Of the specs' types they have the names alone.
    pub(crate) events: Vec<Item>,
    /// What is answered about runs, services and the journal, as it is written, without what is among the others.
    pub(crate) records: Vec<Item>,
}

pub(crate) fn collect() -> Result<Surface, String> {
    let mut input = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    input.subschema_for::<PipelineSpec>();
    input.subschema_for::<CheckSpec>();
    input.subschema_for::<Command>();
    input.subschema_for::<EProcessSpec>();
    input.subschema_for::<WindowRecord>();
    input.subschema_for::<CheckRecord>();
    input.subschema_for::<OutlierSpec>();
    input.subschema_for::<Tally>();
    let mut output = SchemaSettings::draft2020_12().for_serialize().into_generator();
    output.subschema_for::<Outcome>();
    let mut specs = BTreeMap::new();
    for generator in [input, output] {
        for item in read(generator)? {
            if let Some(other) = specs.insert(item.name.clone(), item.clone())
                && other != item
            {
                return Err(two_types(&item));
            }
        }
    }
    let mut shown = SchemaSettings::draft2020_12().for_serialize().into_generator();
    shown.subschema_for::<RunEvent>();
    shown.subschema_for::<OutputEvent>();
    let events = new(shown, &specs)?;
    let mut answers = SchemaSettings::draft2020_12().for_serialize().into_generator();
    answers.subschema_for::<RunRow>();
    answers.subschema_for::<Service>();
    answers.subschema_for::<ServiceStats>();
    answers.subschema_for::<Verified>();
    let mut known = specs.clone();
    known.extend(events.iter().map(|item| (item.name.clone(), item.clone())));
    let records = new(answers, &known)?;
    Ok(Surface { specs: specs.into_values().collect(), events, records })
}

/// Those types that are not known yet, as they are written.
fn new(generator: SchemaGenerator, known: &BTreeMap<String, Item>) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for item in read(generator)? {
        match known.get(&item.name) {
            None => items.push(Item { shape: written(item.shape), ..item }),
            Some(same) if alike(&same.shape, &item.shape) => {}
            Some(_) => return Err(two_types(&item)),
        }
    }
    Ok(items)
}

fn two_types(item: &Item) -> String {
    format!("two different types have one name: {}", item.name)
}

fn read(mut generator: SchemaGenerator) -> Result<Vec<Item>, String> {
    generator.take_definitions(true).iter().map(|(name, schema)| item(name, schema)).collect()
}

/// A field that is left out when there is nothing to say is never null.
fn written(mut shape: Shape) -> Shape {
    let fields = match &mut shape {
        Shape::Object(fields) => fields.iter_mut().collect::<Vec<_>>(),
        Shape::Union { variants, .. } => variants.iter_mut().flat_map(|variant| &mut variant.fields).collect(),
        Shape::Words(_) | Shape::Alias(_) => Vec::new(),
    };
    for field in fields.into_iter().filter(|field| !field.required) {
        if let Type::Nullable(one) = &field.of {
            field.of = (**one).clone();
        }
    }
    shape
}

/// Whether a type as it is read is that type as it is written: what has a default may be left out of the one alone.
fn alike(read: &Shape, written: &Shape) -> bool {
    let bare = |shape: &Shape| {
        let mut shape = shape.clone();
        match &mut shape {
            Shape::Object(fields) => fields.iter_mut().for_each(|field| field.required = false),
            Shape::Union { variants, .. } => {
                for variant in variants {
                    variant.doc.clear();
                    variant.fields.iter_mut().for_each(|field| field.required = false);
                }
            }
            Shape::Words(_) | Shape::Alias(_) => {}
        }
        shape
    };
    bare(read) == bare(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, Variant};

    fn item<'a>(items: &'a [Item], name: &str) -> &'a Item {
        items.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn variant<'a>(item: &'a Item, tag: &str) -> &'a Variant {
        let Shape::Union { variants, .. } = &item.shape else { panic!("no union: {}", item.name) };
        variants.iter().find(|variant| variant.tag == tag).unwrap_or_else(|| panic!("no {tag}"))
    }

    fn field<'a>(fields: &'a [Field], name: &str) -> &'a Field {
        fields.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn every_type_of_the_core_is_known() {
        let surface = collect().unwrap();
        for name in ["PipelineSpec", "ActionSpec", "CheckSpec", "Command", "Outcome", "SpanText"] {
            item(&surface.specs, name);
            assert!(surface.events.iter().all(|item| item.name != name), "{name} twice");
        }
        for name in ["Fact", "OutputEvent", "RolloutEvent", "WorldSeen", "Explanation"] {
            item(&surface.events, name);
        }
        for name in ["RunRow", "Service", "LastRollout", "ServiceStats", "Verified"] {
            item(&surface.records, name);
        }
    }

    #[test]
    fn what_comes_out_is_described_as_it_is_written() {
        let surface = collect().unwrap();
        let Shape::Object(fields) = &item(&surface.specs, "Outcome").shape else { panic!("no object") };
        let key = field(fields, "key");
        assert_eq!((key.required, &key.of), (true, &Type::Nullable(Box::new(Type::Text))));
        let fact = item(&surface.events, "Fact");
        let key = field(&variant(fact, "run_started").fields, "key");
        assert_eq!((key.required, &key.of), (true, &Type::Nullable(Box::new(Type::Text))));
        let step = field(&variant(fact, "command_refused").fields, "step");
        assert_eq!((step.required, &step.of), (false, &Type::Text));
    }

    #[test]
    fn one_name_is_one_type_but_for_what_may_be_left_out() {
        let object = |required, of| Shape::Object(vec![Field { name: "a".into(), doc: String::new(), required, of }]);
        assert!(alike(&object(false, Type::Text), &object(true, Type::Text)));
        assert!(!alike(&object(true, Type::Text), &object(true, Type::Integer)));
        assert!(!alike(&object(true, Type::Text), &Shape::Object(Vec::new())));
    }
}

//! The document's schemas, closed: an object may have the fields that its
//! schema names and no others, unless the schema says what others may be.

use serde_json::{Value, json};

/// A schema of the document, ready to judge.
#[derive(Debug)]
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    /// A schema that may refer to these components.
    pub(crate) fn new(mut schema: Value, components: &Value) -> Self {
        close(&mut schema, Place::Whole);
        // References begin at the root, which here is the schema itself.
        if let Value::Object(fields) = &mut schema {
            fields.insert("components".to_owned(), components.clone());
        }
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Self(options.build(&schema).expect("a schema of the document"))
    }

    /// What is wrong with a value, and where; all of it, since the first is not
    /// always the one that helps.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let errors: Vec<String> = self
            .0
            .iter_errors(value)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors.join("; ")),
        }
    }
}

/// The document's components, each closed inside. Not as a whole: a schema may
/// be one part of a larger one.
pub(crate) fn components(document: &Value) -> Value {
    let mut schemas = document
        .pointer("/components/schemas")
        .cloned()
        .unwrap_or_default();
    for schema in schemas.as_object_mut().into_iter().flatten() {
        close(schema.1, Place::Part);
    }
    json!({"schemas": schemas})
}

/// Where a schema stands: alone for a value, or with others for the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Whole,
    Part,
}

fn close(schema: &mut Value, place: Place) {
    let Value::Object(fields) = schema else {
        return;
    };
    for (name, value) in fields.iter_mut() {
        match (name.as_str(), value) {
            ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(|part| close(part, Place::Part));
            }
            ("properties", Value::Object(properties)) => {
                let properties = properties.values_mut();
                properties.for_each(|property| close(property, Place::Whole));
            }
            ("items" | "additionalProperties", one) => close(one, Place::Whole),
            _ => {}
        }
    }
    // Of no effect on what is no object.
    if place == Place::Whole && !fields.contains_key("additionalProperties") {
        fields.insert("unevaluatedProperties".to_owned(), json!(false));
    }
}

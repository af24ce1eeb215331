//! The shape of a JSON body: which fields there are, of which type and length.
//! A field that is not listed is an error at WeChat, and so is a null.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// So many bytes at most. WeChat counts characters, by some of its pages:
    /// bytes are the narrower reading.
    Text(usize),
    /// Fen and counts, from the first to any.
    Number(i64),
    Bool,
    Texts,
    Object(&'static [Field]),
    Objects(&'static [Field]),
}

/// A field's place in an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: &'static str,
    required: bool,
    shape: Shape,
}

pub(super) const fn must(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        required: true,
        shape,
    }
}

pub(super) const fn may(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        required: false,
        shape,
    }
}

/// Reads a body that has these fields and no other.
pub(super) fn read(body: &[u8], fields: &[&[Field]]) -> Result<Map<String, Value>, Refusal> {
    let odd = |_| Refusal::parameter("body", "不是有效的JSON");
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(odd)?;
    check(&body, &fields.concat())?;
    Ok(body)
}

/// A text anywhere in an object, by the names on the way.
pub(super) fn text<'v>(object: &'v Map<String, Value>, path: &[&str]) -> Option<&'v str> {
    find(object, path)?.as_str()
}

/// A number anywhere in an object.
pub(super) fn number(object: &Map<String, Value>, path: &[&str]) -> Option<i64> {
    find(object, path)?.as_i64()
}

fn find<'v>(object: &'v Map<String, Value>, path: &[&str]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(object.get(*first)?, |value, name| value.get(*name))
}

fn check(object: &Map<String, Value>, fields: &[Field]) -> Result<(), Refusal> {
    for name in object.keys() {
        if !fields.iter().any(|field| field.name == name) {
            let message = format!("{name} 为多余的字段");
            return Err(Refusal::new("PARAM_ERROR", 270_924_358, &message));
        }
    }
    for field in fields {
        match object.get(field.name) {
            None if field.required => return Err(Refusal::parameter(field.name, "缺失")),
            None => {}
            Some(value) => check_value(field, value)?,
        }
    }
    Ok(())
}

fn check_value(field: &Field, value: &Value) -> Result<(), Refusal> {
    let odd = || Refusal::parameter(field.name, "格式有误");
    match (field.shape, value) {
        (Shape::Text(most), Value::String(text)) => {
            if text.len() > most {
                return Err(Refusal::parameter(field.name, "长度有误"));
            }
            if field.required && text.is_empty() {
                return Err(Refusal::parameter(field.name, "缺失"));
            }
            Ok(())
        }
        (Shape::Number(least), Value::Number(number)) => {
            let number = number.as_i64().filter(|number| *number >= least);
            number.map(|_| ()).ok_or_else(odd)
        }
        (Shape::Bool, Value::Bool(_)) => Ok(()),
        (Shape::Texts, Value::Array(list)) if list.iter().all(Value::is_string) => Ok(()),
        (Shape::Object(fields), Value::Object(object)) => check(object, fields),
        (Shape::Objects(fields), Value::Array(list)) => list
            .iter()
            .try_for_each(|value| check(value.as_object().ok_or_else(odd)?, fields)),
        _ => Err(odd()),
    }
}

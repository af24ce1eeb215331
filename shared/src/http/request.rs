//! A third party's request: parameters read from a query or a flat JSON body.
//! Nobody has vouched for them before [`Signed`] has.

mod signed;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use url::form_urlencoded;

pub use signed::Signed;

use super::problem::Problem;
use crate::domain::signature::Params;

/// No request of ours comes near this.
const BODY_MAX_BYTES: usize = 16 * 1024;

/// What every signed request has.
const SIGNED: [&str; 4] = ["app_id", "timestamp", "nonce", "sign"];

/// Parameters as they came: text, or an integer from JSON. Nothing is verified
/// yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Text(String),
    Integer(i64),
}

impl Fields {
    /// Reads a query string.
    ///
    /// # Errors
    /// When a parameter is repeated: it could mean two things.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = Field::Text(value.into_owned());
            if fields.insert(name.clone().into_owned(), field).is_some() {
                return Err(Problem::param(name, "is repeated"));
            }
        }
        Ok(Self(fields))
    }

    /// Reads a JSON body: one flat object of strings and integers. `null` is
    /// as good as absent.
    ///
    /// # Errors
    /// When it is too large, no JSON, not flat, or names a field twice.
    pub fn from_json(body: &[u8]) -> Result<Self, Problem> {
        if body.len() > BODY_MAX_BYTES {
            return Err(Problem::BodyTooLarge);
        }
        let Entries(entries) =
            serde_json::from_slice(body).map_err(|error| match error.classify() {
                Category::Data => {
                    Problem::param("body", "must be an object without repeated names")
                }
                Category::Io | Category::Syntax | Category::Eof => Problem::BodyInvalid,
            })?;
        let mut fields = BTreeMap::new();
        for (name, value) in entries {
            let field = match value {
                Value::Null => continue,
                Value::String(text) => Field::Text(text),
                Value::Number(number) => match number.as_i64() {
                    Some(integer) => Field::Integer(integer),
                    None => return Err(Problem::param(name, "must be an integer")),
                },
                Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(Problem::param(name, "must be a string or an integer"));
                }
            };
            fields.insert(name, field);
        }
        Ok(Self(fields))
    }

    /// Adds a parameter from the path; it takes part in the signature.
    ///
    /// # Errors
    /// When the query or body names it too.
    pub fn with_path(mut self, name: &str, value: String) -> Result<Self, Problem> {
        match self.0.insert(name.to_owned(), Field::Text(value)) {
            None => Ok(self),
            Some(_) => Err(Problem::param(name, "is part of the path")),
        }
    }

    /// Leaves only these parameters.
    #[must_use]
    pub fn retain(mut self, known: &[&str]) -> Self {
        self.0.retain(|name, _| known.contains(&name.as_str()));
        self
    }

    /// Refuses parameters that must not be there.
    ///
    /// # Errors
    /// The first one that is, with this rule.
    pub fn without(&self, forbidden: &[&str], rule: &'static str) -> Result<(), Problem> {
        match forbidden.iter().find(|name| self.0.contains_key(**name)) {
            None => Ok(()),
            Some(name) => Err(Problem::param(*name, rule)),
        }
    }

    /// Refuses parameters that the request does not have. What an app signs for
    /// one purpose, a pay or return address say, must not serve another.
    ///
    /// # Errors
    /// The first one that is unknown.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let unknown =
            |name: &&String| !SIGNED.contains(&name.as_str()) && !known.contains(&name.as_str());
        match self.0.keys().find(unknown) {
            None => Ok(()),
            Some(name) => Err(Problem::param(name, "is not a parameter of this request")),
        }
    }

    /// A text, if present and not empty.
    ///
    /// # Errors
    /// When it is a number or longer than so many bytes.
    pub fn text(&self, name: &str, max_bytes: usize) -> Result<Option<&str>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Field::Integer(_)) => Err(Problem::param(name, "must be a string")),
            Some(Field::Text(text)) if text.len() > max_bytes => {
                Err(Problem::param(name, "is too long"))
            }
            // XML cannot carry them, and nobody can read them.
            Some(Field::Text(text)) if text.chars().any(char::is_control) => {
                Err(Problem::param(name, "must not contain control characters"))
            }
            Some(Field::Text(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is absent or not a text.
    pub fn required(&self, name: &str, max_bytes: usize) -> Result<&str, Problem> {
        self.text(name, max_bytes)?
            .ok_or_else(|| Problem::param(name, "is required"))
    }

    /// The bytes of a text in standard base64, which must be there.
    ///
    /// # Errors
    /// When it is absent, no base64, or longer than so many bytes as a text.
    pub fn base64(&self, name: &str, max_bytes: usize) -> Result<Vec<u8>, Problem> {
        let text = self.required(name, max_bytes)?;
        STANDARD
            .decode(text)
            .map_err(|_| Problem::param(name, "must be standard base64, with padding"))
    }

    /// What the request says it does. The signed text of a read, which stands in
    /// access logs, would otherwise serve for whatever takes no more parameters.
    ///
    /// # Errors
    /// When it says something else, or nothing.
    pub fn demand_action(&self, action: &'static str) -> Result<(), Problem> {
        match self.required("action", 32)? {
            given if given == action => Ok(()),
            _ => Err(Problem::param("action", "is not what this path does")),
        }
    }

    /// An integer of a JSON body, if present.
    ///
    /// # Errors
    /// When it is a text.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Field::Integer(value)) => Ok(Some(*value)),
            Some(Field::Text(_)) => Err(Problem::param(name, "must be an integer")),
        }
    }

    /// An IP address, if present.
    ///
    /// # Errors
    /// When it is something else.
    pub fn ip(&self, name: &str) -> Result<Option<IpAddr>, Problem> {
        self.text(name, 45)?
            .map(|text| {
                text.parse()
                    .map_err(|_| Problem::param(name, "must be an IP address"))
            })
            .transpose()
    }

    /// The parameters as they are signed: integers in decimal.
    #[must_use]
    pub fn params(&self) -> Params {
        let written = |field: &Field| match field {
            Field::Text(text) => text.clone(),
            Field::Integer(value) => value.to_string(),
        };
        self.0
            .iter()
            .map(|(name, field)| (name.clone(), written(field)))
            .collect()
    }
}

/// An object's entries in order; a repeated name is an error, where a map
/// would silently keep one of two values.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries: Vec<(String, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if entries.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a name is repeated"));
                    }
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Fields, Problem>) -> &'static str {
        result.map_or_else(|problem| problem.identity().1, |_| "ok")
    }

    #[test]
    fn bodies_are_flat_json_objects_of_strings_and_integers() {
        for (body, expected) in [
            (r#"{"a":"x","b":7,"c":null}"#, "ok"),
            ("{}", "ok"),
            ("", "body_invalid"),
            ("{", "body_invalid"),
            ("a=1&b=2", "body_invalid"),
            ("<xml/>", "body_invalid"),
            ("[]", "param_invalid"),
            ("\"text\"", "param_invalid"),
            ("null", "param_invalid"),
            (r#"{"a":1,"a":2}"#, "param_invalid"),
            (r#"{"a":1.5}"#, "param_invalid"),
            (r#"{"a":1e3}"#, "param_invalid"),
            (r#"{"a":99999999999999999999}"#, "param_invalid"),
            (r#"{"a":true}"#, "param_invalid"),
            (r#"{"a":{"b":1}}"#, "param_invalid"),
            (r#"{"a":["b"]}"#, "param_invalid"),
        ] {
            assert_eq!(code(Fields::from_json(body.as_bytes())), expected, "{body}");
        }
        assert_eq!(
            code(Fields::from_json(&[b' '; BODY_MAX_BYTES + 1])),
            "body_too_large"
        );
        assert_eq!(code(Fields::from_json(b"{\"a\":\"\xff\"}")), "body_invalid");
        let deep = "[".repeat(10_000);
        assert_eq!(
            code(Fields::from_json(format!("{{\"a\":{deep}").as_bytes())),
            "body_invalid"
        );
    }

    #[test]
    fn bytes_come_in_standard_base64_and_nothing_else() {
        let read = |text: &str| {
            let body = serde_json::json!({"b": text}).to_string();
            Fields::from_json(body.as_bytes()).unwrap().base64("b", 32)
        };
        assert_eq!(read("PHhtbD4/+w==").unwrap(), b"<xml>?\xfb");
        for bad in [
            "",
            "PHhtbD4_-w==",
            "PHhtbD4/+w",
            "PHhtbD4/+w==\n",
            "PHht bD4=",
            "<xml>",
            "=",
            &"A".repeat(36),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_that_takes_no_more_says_what_it_does() {
        let demand = |query: &str| Fields::from_query(query).unwrap().demand_action("query");
        assert!(demand("action=query").is_ok());
        for bad in ["", "action=", "action=close", "action=query%20", "query=1"] {
            assert!(demand(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queries_name_each_parameter_once() {
        assert_eq!(code(Fields::from_query("a=1&b=%E4%B8%AD+x")), "ok");
        assert_eq!(code(Fields::from_query("a=1&a=2")), "param_invalid");
        let twice = Fields::from_query("order_no=1")
            .unwrap()
            .with_path("order_no", "2".into());
        assert_eq!(code(twice), "param_invalid");
    }
}

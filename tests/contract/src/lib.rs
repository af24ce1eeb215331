//! docs/openapi.yaml as a judge: which answers of the hub it allows. The
//! journeys hold every answer against it; tests/agreement.rs holds it against
//! the template's routes and the hub's problems.
//!
//! It is stricter than the document in one way: a field that the document does
//! not name is a breach, wherever the document does not allow any.

#![expect(
    clippy::expect_used,
    reason = "a document that cannot be read stops every test that needs it"
)]

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};
use wechat_simulator::xml;

use crate::schema::Schema;

const DOCUMENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/openapi.yaml"
));

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// The HTTP status, as a number of three digits.
    pub status: u16,
    /// By their names in lower case; of a repeated one any.
    pub headers: &'a BTreeMap<String, String>,
    /// The body as text, empty if there is none.
    pub body: &'a str,
}

/// How an answer breaks the document.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// No operation, so that the gateway must have answered; but not its 404.
    #[error("the document has no such operation, and this is not the gateway's own 404")]
    NoOperation,
    /// The operation has no such answer.
    #[error("the status is not documented")]
    Status,
    /// The status has answers of other types, or none with a body.
    #[error("the content type {0:?} is not documented for this status")]
    ContentType(String),
    /// A header that the document requires.
    #[error("the header {0} is missing")]
    Header(String),
    /// Neither JSON nor XML, where the content type promises it.
    #[error("the body is not what its content type says: {0}")]
    Unreadable(String),
    /// The body breaks its schema, in these places.
    #[error("the body breaks its schema: {0}")]
    Body(String),
}

/// The document, read once.
#[derive(Debug)]
pub struct Contract {
    /// The document as it is written.
    pub document: Value,
    operations: Vec<Operation>,
}

#[derive(Debug)]
struct Operation {
    /// In capitals.
    method: String,
    path: String,
    answers: BTreeMap<String, Documented>,
}

/// The answers of one status.
#[derive(Debug, Default)]
struct Documented {
    required_headers: BTreeSet<String>,
    /// By content type, without its parameters.
    bodies: BTreeMap<String, Schema>,
}

impl Contract {
    /// docs/openapi.yaml of this source tree.
    #[must_use]
    pub fn get() -> &'static Self {
        static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);
        &CONTRACT
    }

    fn read() -> Self {
        let document: Value = serde_saphyr::from_str(DOCUMENT).expect("docs/openapi.yaml is YAML");
        let components = schema::components(&document);
        let mut operations = Vec::new();
        for (path, methods) in fields(document.get("paths")) {
            for (method, operation) in fields(Some(methods)) {
                let answers = fields(operation.get("responses"))
                    .map(|(status, answer)| {
                        let answer = resolved(&document, answer);
                        (status.clone(), Documented::read(answer, &components))
                    })
                    .collect();
                operations.push(Operation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    answers,
                });
            }
        }
        Self {
            document,
            operations,
        }
    }

    /// Every operation, as `GET /v1/orders/{order_no}`.
    #[must_use]
    pub fn operations(&self) -> BTreeSet<String> {
        let operations = self.operations.iter();
        operations
            .map(|operation| format!("{} {}", operation.method, operation.path))
            .collect()
    }

    /// Holds an answer to a request of this method and path against the
    /// document.
    ///
    /// # Errors
    /// The first thing that the document does not allow.
    pub fn check(&self, method: &str, path: &str, answer: &Answer<'_>) -> Result<(), Breach> {
        let Some(operation) = self
            .operations
            .iter()
            .find(|operation| operation.method == method && is_at(&operation.path, path))
        else {
            return by_the_gateway(answer);
        };
        let status = answer.status.to_string();
        let documented = operation.answers.get(&status);
        documented
            .or_else(|| operation.answers.get("default"))
            .ok_or(Breach::Status)?
            .check(answer)
    }
}

impl Documented {
    fn read(answer: &Value, components: &Value) -> Self {
        let required_headers = fields(answer.get("headers"))
            .filter(|(_, header)| header.get("required") == Some(&Value::Bool(true)))
            .map(|(name, _)| name.to_lowercase())
            .collect();
        let bodies = fields(answer.get("content"))
            .map(|(content_type, body)| {
                let schema = body.get("schema").cloned().unwrap_or_default();
                (essence(content_type), Schema::new(schema, components))
            })
            .collect();
        Self {
            required_headers,
            bodies,
        }
    }

    fn check(&self, answer: &Answer<'_>) -> Result<(), Breach> {
        let missing = |name: &&String| !answer.headers.contains_key(*name);
        if let Some(name) = self.required_headers.iter().find(missing) {
            return Err(Breach::Header(name.clone()));
        }
        let content_type = answer.headers.get("content-type");
        let content_type = content_type.map(String::as_str).unwrap_or_default();
        if self.bodies.is_empty() && answer.body.is_empty() {
            return Ok(());
        }
        let content_type = essence(content_type);
        let schema = self.bodies.get(&content_type);
        let schema = schema.ok_or_else(|| Breach::ContentType(content_type.clone()))?;
        schema
            .check(&read(&content_type, answer.body)?)
            .map_err(Breach::Body)
    }
}

/// A body as its schema sees it: JSON, the elements of flat XML, or a text.
fn read(content_type: &str, body: &str) -> Result<Value, Breach> {
    match content_type {
        "text/xml" => {
            let elements =
                xml::read(body).map_err(|error| Breach::Unreadable(error.to_string()))?;
            let elements = elements.into_iter();
            Ok(elements
                .map(|(name, text)| (name, Value::String(text)))
                .collect::<Map<_, _>>()
                .into())
        }
        json if json.ends_with("json") => {
            serde_json::from_str(body).map_err(|error| Breach::Unreadable(error.to_string()))
        }
        _ => Ok(Value::String(body.to_owned())),
    }
}

/// What API Gateway says of a path that it has no route for.
fn by_the_gateway(answer: &Answer<'_>) -> Result<(), Breach> {
    let json = answer.headers.get("content-type");
    let is_json = json.is_some_and(|value| essence(value) == "application/json");
    let body = serde_json::from_str::<Value>(answer.body).unwrap_or_default();
    let is_message = body
        .as_object()
        .is_some_and(|body| body.len() == 1 && body.get("message").is_some_and(Value::is_string));
    match answer.status == 404 && is_json && is_message {
        true => Ok(()),
        false => Err(Breach::NoOperation),
    }
}

/// Whether a path is one of the template's, such as `/v1/orders/{order_no}`.
fn is_at(template: &str, path: &str) -> bool {
    let (wanted, given) = (template.split('/'), path.split('/'));
    wanted.clone().count() == given.clone().count()
        && wanted
            .zip(given)
            .all(|(wanted, given)| match wanted.split_once('{') {
                None => wanted == given,
                Some((before, rest)) => {
                    let after = rest.split_once('}').map_or("", |(_, after)| after);
                    let middle = given
                        .strip_prefix(before)
                        .and_then(|given| given.strip_suffix(after));
                    middle.is_some_and(|middle| !middle.is_empty())
                }
            })
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_lowercase()
}

fn fields(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten()
}

/// The answer itself, or what it refers to among the components.
/// What a reference of the document stands for; anything else is itself.
#[must_use]
pub fn resolved<'d>(document: &'d Value, answer: &'d Value) -> &'d Value {
    let reference = answer.get("$ref").and_then(Value::as_str);
    match reference.and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document
            .pointer(pointer)
            .expect("a reference leads somewhere"),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Answer, Breach, Contract, is_at};

    fn check(
        method: &str,
        path: &str,
        status: u16,
        content_type: &str,
        body: &str,
    ) -> Result<(), Breach> {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        let answer = Answer {
            status,
            headers: &headers,
            body,
        };
        Contract::get().check(method, path, &answer)
    }

    fn created(changes: Value) -> Result<(), Breach> {
        let document = &Contract::get().document;
        let answers = &document["paths"]["/v1/orders"]["post"]["responses"];
        let mut body = answers["201"]["content"]["application/json"]["example"].clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        check(
            "POST",
            "/v1/orders",
            201,
            "application/json",
            &body.to_string(),
        )
    }

    #[test]
    fn an_answer_must_be_documented_in_every_part() {
        assert!(created(json!({})).is_ok());
        let order = "/v1/orders/A000000001";
        let problem = "application/problem+json";
        let body = |status: u16, code: &str| {
            let kind = format!("urn:wechat-pay-hub:problem:{code}");
            json!({"type": kind, "title": "T", "status": status, "code": code, "detail": "D"})
                .to_string()
        };
        let missing = body(404, "order_not_found");
        assert!(check("GET", order, 404, problem, &missing).is_ok());
        // Another operation's status, another status's code, another type.
        let late = check("GET", order, 410, problem, &missing);
        assert!(matches!(late, Err(Breach::Status)), "{late:?}");
        let other = check("GET", order, 404, problem, &body(404, "refund_not_found"));
        assert!(matches!(other, Err(Breach::Body(_))), "{other:?}");
        let plain = check("GET", order, 404, "text/html", &missing);
        assert!(matches!(plain, Err(Breach::ContentType(_))), "{plain:?}");
        let broken = check("GET", order, 404, problem, "{");
        assert!(matches!(broken, Err(Breach::Unreadable(_))), "{broken:?}");
        let nowhere = check("GET", "/oauth/callback", 303, "", "");
        assert!(matches!(nowhere, Err(Breach::Header(_))), "{nowhere:?}");
    }

    #[test]
    fn a_field_that_is_not_documented_is_a_breach_at_every_depth() {
        for changes in [
            json!({"surprise": 1}),
            json!({"status": "unheard of"}),
            json!({"total_fee": "1999"}),
            json!({"expires_at": "tomorrow"}),
            json!({"pay_url": "not an address"}),
        ] {
            let found = created(changes.clone());
            assert!(
                matches!(found, Err(Breach::Body(_))),
                "{changes}: {found:?}"
            );
        }
        // An open map stays one, and a problem's own fields are not closed twice.
        assert!(created(json!({"app_params": {"anything": "goes"}})).is_ok());
        let document = &Contract::get().document;
        let path = "/v1/orders/A000000001";
        let answers = &document["paths"]["/v1/orders/{order_no}"]["get"]["responses"];
        let good = &answers["200"]["content"]["application/json"]["example"];
        let order = |order: &Value| check("GET", path, 200, "application/json", &order.to_string());
        assert!(order(good).is_ok());
        let mut deep = good.clone();
        deep["deliveries"][0]["attempts"][0]["surprise"] = json!(1);
        assert!(matches!(order(&deep), Err(Breach::Body(_))));
        let param = &document["components"]["responses"]["ParamInvalid"];
        let mut param = param["content"]["application/problem+json"]["example"].clone();
        let problem = |body: &Value| {
            check(
                "GET",
                path,
                422,
                "application/problem+json",
                &body.to_string(),
            )
        };
        assert!(problem(&param).is_ok());
        param["surprise"] = json!(1);
        assert!(matches!(problem(&param), Err(Breach::Body(_))));
    }

    #[test]
    fn xml_is_read_by_its_elements_and_the_gateway_has_one_answer_of_its_own() {
        let xml = |body: &str| {
            check(
                "POST",
                "/wechat/notify",
                200,
                "text/xml; charset=utf-8",
                body,
            )
        };
        assert!(xml(wechat_simulator::ACCEPTED).is_ok());
        assert!(xml("<xml><return_code>MAYBE</return_code></xml>").is_err());
        assert!(xml("SUCCESS").is_err());
        let json = "application/json";
        let gone = check(
            "GET",
            "/v1/nothing",
            404,
            json,
            r#"{"message":"Not Found"}"#,
        );
        assert!(gone.is_ok(), "{gone:?}");
        assert!(check("GET", "/v1/nothing", 200, json, "{}").is_err());
        assert!(check("GET", "/v1/nothing", 404, json, r#"{"message":1}"#).is_err());
    }

    #[test]
    fn a_path_is_found_by_its_template() {
        assert!(is_at("/v1/orders/{order_no}", "/v1/orders/A"));
        assert!(is_at("/MP_verify_{code}.txt", "/MP_verify_A.txt"));
        for path in [
            "/v1/orders/",
            "/v1/orders",
            "/v1/orders/A/close",
            "/v2/orders/A",
        ] {
            assert!(!is_at("/v1/orders/{order_no}", path), "{path}");
        }
        assert!(!is_at("/MP_verify_{code}.txt", "/MP_verify_.txt"));
    }
}

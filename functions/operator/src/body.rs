//! A request's body: one JSON object of exactly the fields that its type has. A
//! field that it does not have is refused, so that nobody sets what they are not
//! asked for.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use shared::domain::time::Timestamp;
use shared::http::problem::Problem;
use shared::http::request::Fields;

use crate::OperatorApi;

/// No request of ours comes near this.
const BODY_MAX_BYTES: usize = 16 * 1024;
const PAGE: i32 = 50;
const PAGE_MAX: i32 = 100;
const REASON_MAX_BYTES: usize = 500;

/// A request's body.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<OperatorApi>> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        state: &Arc<OperatorApi>,
    ) -> Result<Self, Self::Rejection> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|_| Problem::BodyTooLarge)?;
        read(&headers, &body).map(Self)
    }
}

/// The body of a request that says enough by its address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    pub(crate) reason: Option<String>,
}

/// Reads a body. Its content type must say that it is JSON: a page of another site
/// cannot make a browser send that without asking the hub first.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    if essence.is_none_or(|essence| !essence.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::BodyInvalid);
    }
    if body.len() > BODY_MAX_BYTES {
        return Err(Problem::BodyTooLarge);
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Problem::param(
            "body",
            "must have the fields of this request and no others, each once and of its type",
        ),
        Category::Io | Category::Syntax | Category::Eof => Problem::BodyInvalid,
    })
}

/// Why somebody does something, as the audit trail keeps it.
pub(crate) fn reason(given: Option<String>) -> Result<String, Problem> {
    text("reason", given.unwrap_or_default(), REASON_MAX_BYTES)
}

/// A text of at most so many bytes, without control characters.
pub(crate) fn text(
    field: &'static str,
    given: String,
    max_bytes: usize,
) -> Result<String, Problem> {
    match given {
        given if given.len() > max_bytes => Err(Problem::param(field, "is too long")),
        given if given.chars().any(char::is_control) => {
            Err(Problem::param(field, "must not contain control characters"))
        }
        given => Ok(given),
    }
}

/// Reads a query that has these parameters and no others.
pub(crate) fn query(given: Option<&str>, known: &[&str]) -> Result<Fields, Problem> {
    let fields = Fields::from_query(given.unwrap_or_default())?;
    match fields
        .params()
        .keys()
        .find(|name| !known.contains(&name.as_str()))
    {
        None => Ok(fields),
        Some(name) => Err(Problem::param(name, "is not a parameter of this request")),
    }
}

/// How many are asked for on a page.
pub(crate) fn page_size(fields: &Fields) -> Result<i32, Problem> {
    let limit = fields.text("limit", 8)?.map_or(Ok(PAGE), str::parse);
    let limit = limit.ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    limit.ok_or_else(|| Problem::param("limit", "must be 1 to 100"))
}

/// What a list is asked for that has no other parameters: how many, and after which.
pub(crate) fn listing(given: Option<&str>) -> Result<(i32, Option<String>), Problem> {
    let asked = query(given, &["limit", "cursor"])?;
    let after = asked.text("cursor", 64)?.map(str::to_owned);
    Ok((page_size(&asked)?, after))
}

/// A time, as all times are written here.
pub(crate) fn time(field: &'static str, given: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse_rfc3339(given).map_err(Problem::of_param(field))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[expect(dead_code, reason = "only whether it is read matters")]
        name: String,
    }

    fn code(content_type: &'static str, body: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        match read::<Asked>(&headers, body.as_bytes()) {
            Ok(_) => "ok",
            Err(problem) => problem.identity().1,
        }
    }

    #[test]
    fn a_body_is_json_by_name_and_has_its_own_fields_once() {
        let good = r#"{"name": "a"}"#;
        for (content_type, body, expected) in [
            ("application/json", good, "ok"),
            ("Application/JSON; charset=utf-8", good, "ok"),
            ("text/plain", good, "body_invalid"),
            ("application/x-www-form-urlencoded", good, "body_invalid"),
            ("application/json", "", "body_invalid"),
            ("application/json", "{", "body_invalid"),
            ("application/json", "[]", "param_invalid"),
            ("application/json", "{}", "param_invalid"),
            ("application/json", r#"{"name": 1}"#, "param_invalid"),
            (
                "application/json",
                r#"{"name": "a", "role": "owner"}"#,
                "param_invalid",
            ),
            (
                "application/json",
                r#"{"name": "a", "name": "b"}"#,
                "param_invalid",
            ),
            ("application/json", &" ".repeat(16_385), "body_too_large"),
        ] {
            assert_eq!(
                code(content_type, body),
                expected,
                "{content_type} {body:.40}"
            );
        }
        assert!(read::<Asked>(&HeaderMap::new(), good.as_bytes()).is_err());
    }

    #[test]
    fn a_query_has_its_own_parameters_and_a_page_an_end() {
        let limit = |text: &str| {
            query(Some(text), &["limit"])
                .and_then(|q| page_size(&q))
                .ok()
        };
        assert_eq!(query(None, &[]).and_then(|q| page_size(&q)).ok(), Some(50));
        assert_eq!([limit("limit=1"), limit("limit=100")], [Some(1), Some(100)]);
        for bad in [
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=-1",
            "limit=1&limit=2",
            "app_id=a",
        ] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_reason_is_short_and_plain() {
        assert_eq!(reason(None).unwrap(), "");
        assert_eq!(reason(Some("x".repeat(500))).unwrap().len(), 500);
        for bad in ["x".repeat(501), "a\nb".to_owned(), "\u{1b}[2J".to_owned()] {
            assert!(reason(Some(bad)).is_err());
        }
    }
}

//! The JSON answers of the official-account side: values, and refusals as
//! `{"errcode":..,"errmsg":".."}` with status 200.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::state::Simulator;

/// A refusal: WeChat's number and its words.
pub(crate) type ErrCode = (i64, &'static str);

/// Answers, or refuses and remembers why.
pub(crate) fn answer(
    simulator: &Simulator,
    path: &str,
    outcome: Result<Value, ErrCode>,
) -> Response {
    let value = outcome.unwrap_or_else(|(code, message)| {
        simulator.world().reject(path, &code.to_string(), message);
        json!({"errcode": code, "errmsg": message})
    });
    plain(&value)
}

/// WeChat declares its JSON as plain text on `/sns`, so clients must not rely
/// on the type; here it does so everywhere.
pub(crate) fn plain(value: &Value) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; charset=utf-8")],
        value.to_string(),
    )
        .into_response()
}

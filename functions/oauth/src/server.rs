//! What WeChat itself asks of the domain: the official account's server check
//! (`GET /wechat/server`), the messages it posts there, and the files that prove
//! who owns the domain (`GET /MP_verify_<code>.txt`). The messages are not read:
//! they are taken so that WeChat does not complain to the user.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use shared::domain::time::Timestamp;
use shared::http::not_found;
use shared::http::problem::Problem;
use shared::http::request::Fields;

use crate::Oauth;

/// How far WeChat's clock may be off.
const CLOCK_SKEW_SECONDS: u64 = 300;

pub(crate) async fn check(State(state): State<Arc<Oauth>>, RawQuery(query): RawQuery) -> Response {
    let given = asked_by_wechat(&state, &query.unwrap_or_default()).await;
    answer(given.and_then(|fields| Ok(fields.required("echostr", 128)?.to_owned())))
}

pub(crate) async fn message(
    State(state): State<Arc<Oauth>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let given = asked_by_wechat(&state, &query.unwrap_or_default()).await;
    if given.is_ok() {
        tracing::info!(bytes = body.len(), "a message to the official account");
    }
    answer(given.map(|_| "success".to_owned()))
}

/// The query's parameters, if WeChat signed them just now.
async fn asked_by_wechat(state: &Oauth, query: &str) -> Result<Fields, Problem> {
    let fields = Fields::from_query(query)?;
    let signature = fields.required("signature", 64)?;
    let timestamp = fields.required("timestamp", 20)?;
    let nonce = fields.required("nonce", 64)?;
    let now = state.clock.now();
    let sent = Timestamp::parse_seconds(timestamp);
    if !sent.is_ok_and(|sent| sent.seconds_apart(now) <= CLOCK_SKEW_SECONDS) {
        return Err(Problem::TimestampExpired);
    }
    let first = state.accounts.first().ok_or(Problem::AccountMissing)?;
    let wechat = state.accounts.client(first).await?;
    if !wechat.is_from_server(signature, timestamp, nonce) {
        return Err(Problem::SignInvalid);
    }
    Ok(fields)
}

/// Plain text, which no browser takes for a page: `echostr` is the caller's.
fn answer(text: Result<String, Problem>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    match text {
        Ok(text) => (headers, text).into_response(),
        Err(Problem::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, headers).into_response(),
        Err(problem) => {
            tracing::warn!(%problem, "not WeChat's request");
            (StatusCode::FORBIDDEN, headers, "forbidden").into_response()
        }
    }
}

/// Any file of one segment that no other route has; only WeChat's exist. The
/// gateway's routes know no part of a segment.
pub(crate) async fn domain_file(
    State(state): State<Arc<Oauth>>,
    Path(file): Path<String>,
) -> Response {
    let code = file
        .strip_prefix("MP_verify_")
        .and_then(|rest| rest.strip_suffix(".txt"));
    match code.and_then(|code| state.verify_codes.iter().find(|known| *known == code)) {
        Some(code) => answer(Ok(code.clone())),
        None => not_found(),
    }
}

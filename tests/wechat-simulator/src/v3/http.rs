//! APIv3 over HTTP: hands each call to the order book, and does what takes time.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::time::sleep;

use super::refusal::Refusal;
use super::signature::Authorization;
use super::{Answer, Asked, Spoilt};
use crate::state::Simulator;
use crate::v2::{self, end_refund_later};

const CERTIFICATES: &str = "/v3/certificates";

/// Any address under `/v3/`.
pub(crate) async fn call(
    State(simulator): State<Simulator>,
    spoilt: Option<Extension<Spoilt>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut charged = None;
    let (answer, hang_ms) = {
        let asked = Asked {
            method: &method,
            uri: &uri,
            headers: &headers,
            body: &body,
        };
        let mut world = simulator.world();
        if uri.path() == CERTIFICATES {
            // Of each merchant, as far as it says who it is.
            let written = headers
                .get(AUTHORIZATION)
                .and_then(|value| value.to_str().ok());
            let mchid = written
                .and_then(Authorization::parse)
                .map(|written| written.mchid);
            let counted = format!("{CERTIFICATES} {}", mchid.unwrap_or_default());
            *world.counters.entry(counted).or_default() += 1;
        }
        let now = world.now();
        let spoilt = spoilt.map(|Extension(spoilt)| spoilt);
        let answer = world.pay.answer_v3(&asked, now, spoilt, |code| {
            let case = code.get(16..).unwrap_or_default().to_owned();
            let charge = v2::charge(&case);
            charged = Some(case);
            charge
        });
        if let Some(case) = &charged {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let number = body.get("out_trade_no").and_then(Value::as_str);
            let number = number.unwrap_or_default();
            v2::type_later(&simulator, &world, number, case);
        }
        for refund_no in world.pay.accepted_refunds() {
            end_refund_later(&simulator, &world, refund_no);
        }
        if let Some(refusal) = &answer.refused {
            world.reject(uri.path(), &refusal.code, &refusal.message);
        }
        (response(answer), world.settings.hang_ms)
    };
    if charged.is_some_and(|case| case == "07") {
        sleep(Duration::from_millis(hang_ms)).await;
    }
    answer
}

/// A refusal of this code, unsigned, whatever was asked.
pub(crate) fn refuse(simulator: &Simulator, code: &str, status: Option<u16>) -> Response {
    let world = simulator.world();
    let mut refusal = Refusal::new(code, 0, "ordered by a test");
    refusal.status = status.unwrap_or(refusal.status);
    response(world.pay.refuse_v3(&refusal, world.moment()))
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    response
}

//! APIv3 over HTTP: hands each call to the order book, and does what takes time.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use super::refusal::Refusal;
use super::signature::Authorization;
use super::{Answer, Asked, Spoilt};
use crate::state::Simulator;
use crate::v2::end_refund_later;

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
    let answer = world.pay.answer_v3(&asked, now, spoilt);
    for refund_no in world.pay.accepted_refunds() {
        end_refund_later(&simulator, &world, refund_no);
    }
    if let Some(refusal) = &answer.refused {
        world.reject(uri.path(), &refusal.code, &refusal.message);
    }
    response(answer)
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

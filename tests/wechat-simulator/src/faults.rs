//! The misbehaviour that a test orders in advance, and the count of calls.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use crate::errcode;
use crate::pay::Refusal;
use crate::state::Simulator;
use crate::v2;
use crate::v3::{self, Spoilt};
use crate::xml;

/// Where faults can be ordered. A misspelt path must not pass as "no fault
/// fired".
const PATHS: [&str; 28] = [
    "/pay/unifiedorder",
    "/pay/orderquery",
    "/pay/closeorder",
    "/pay/refundquery",
    "/secapi/pay/refund",
    "/pay/micropay",
    "/secapi/pay/reverse",
    "/pay/genprepay",
    "/connect/oauth2/authorize",
    "/sns/oauth2/access_token",
    "/sns/oauth2/refresh_token",
    "/sns/userinfo",
    "/sns/jscode2session",
    "/cgi-bin/stable_token",
    "/cgi-bin/token",
    "/cgi-bin/ticket/getticket",
    "/v3/pay/transactions/jsapi",
    "/v3/pay/transactions/native",
    "/v3/pay/transactions/app",
    "/v3/pay/transactions/h5",
    "/v3/pay/transactions/codepay",
    "/v3/pay/transactions/id/{transaction_id}",
    "/v3/pay/transactions/out-trade-no/{out_trade_no}",
    "/v3/pay/transactions/out-trade-no/{out_trade_no}/close",
    "/v3/pay/transactions/out-trade-no/{out_trade_no}/reverse",
    "/v3/refund/domestic/refunds",
    "/v3/refund/domestic/refunds/{out_refund_no}",
    "/v3/certificates",
];

/// Ways to go wrong. "Before" means that nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nothing done, no answer in time.
    TimeoutBefore,
    /// Done, but no answer in time.
    TimeoutAfter,
    /// Nothing done, status 500.
    #[serde(rename = "http_500")]
    Http500,
    /// Nothing done, the connection ends without an answer.
    Reset,
    /// Done, the connection ends without an answer.
    ResetAfter,
    /// Nothing done, `SYSTEMERROR` (or `errcode` -1).
    SystemError,
    /// Done, but `SYSTEMERROR`.
    SystemErrorAfter,
    /// Nothing done, `err_code` as ordered.
    Error,
    /// Done, but `err_code` as ordered: a 429 that leaves everything open.
    ErrorAfter,
    /// Done and told, `delay_ms` late.
    Slow,
    /// APIv3: done and told, with `spoilt` as the answer's signature.
    Spoilt,
}

/// An order for misbehaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) err_code: Option<String>,
    /// APIv3's status of `err_code`, when it is not the usual one.
    #[serde(default)]
    pub(crate) http_status: Option<u16>,
    #[serde(default)]
    pub(crate) spoilt: Option<Spoilt>,
    /// How many more calls it spoils.
    #[serde(default = "once", rename(serialize = "left"))]
    pub(crate) times: u32,
    /// Held back for so long; time-outs for the setting `hang_ms` by default.
    #[serde(default)]
    pub(crate) delay_ms: Option<u64>,
    /// How many calls it has spoilt.
    #[serde(default, skip_deserializing)]
    pub(crate) fired: u32,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// What is wrong with the order itself.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        if !PATHS.contains(&self.path.as_str()) {
            return Some("there is no such path");
        }
        if matches!(self.kind, Kind::Error | Kind::ErrorAfter) && self.err_code.is_none() {
            return Some("kind error needs err_code");
        }
        if (self.kind == Kind::Spoilt) != self.spoilt.is_some() {
            return Some("kind spoilt needs spoilt, and no other has it");
        }
        let is_v3 = self.path.starts_with("/v3/");
        if !is_v3 && (self.spoilt.is_some() || self.http_status.is_some()) {
            return Some("spoilt and http_status are APIv3's");
        }
        None
    }
}

/// Counts every call of WeChat's side and spoils those that are due.
pub(crate) async fn inject(
    State(simulator): State<Simulator>,
    request: Request,
    next: Next,
) -> Response {
    // With the names of its parameters, not with what stands there.
    let matched = request.extensions().get::<MatchedPath>();
    let path = matched.map_or_else(|| request.uri().path(), MatchedPath::as_str);
    let path = path.to_owned();
    if path.starts_with("/_control") {
        return next.run(request).await;
    }
    let Some((fault, hang_ms)) = due(&simulator, &path) else {
        return next.run(request).await;
    };
    let pause = match fault.kind {
        Kind::TimeoutBefore | Kind::TimeoutAfter => fault.delay_ms.unwrap_or(hang_ms),
        _ => fault.delay_ms.unwrap_or_default(),
    };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let mut again = Request::from_parts(parts, Body::from(body.clone()));
    if let Some(spoilt) = fault.spoilt {
        again.extensions_mut().insert(spoilt);
    }
    let done = match fault.kind {
        Kind::TimeoutAfter
        | Kind::ResetAfter
        | Kind::SystemErrorAfter
        | Kind::ErrorAfter
        | Kind::Slow
        | Kind::Spoilt => Some(next.run(again).await),
        _ => None,
    };
    sleep(Duration::from_millis(pause)).await;
    match (fault.kind, done) {
        (Kind::Slow | Kind::Spoilt, Some(answer)) => answer,
        (Kind::Reset | Kind::ResetAfter, _) => hang_up(),
        (Kind::SystemError | Kind::SystemErrorAfter, _) => {
            said(&simulator, &fault, &body, "SYSTEMERROR")
        }
        (Kind::Error | Kind::ErrorAfter, _) => {
            let code = fault.err_code.as_deref().unwrap_or_default();
            said(&simulator, &fault, &body, code)
        }
        (Kind::TimeoutBefore | Kind::TimeoutAfter, _) => {
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        (Kind::Http500 | Kind::Slow | Kind::Spoilt, _) => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn due(simulator: &Simulator, path: &str) -> Option<(Fault, u64)> {
    let mut world = simulator.world();
    *world.counters.entry(path.to_owned()).or_default() += 1;
    let hang_ms = world.settings.hang_ms;
    let fault = world
        .faults
        .iter_mut()
        .find(|fault| fault.path == path && fault.times > 0)?;
    fault.times -= 1;
    fault.fired += 1;
    Some((fault.clone(), hang_ms))
}

/// Ends the task of this connection, and with it the connection, without an
/// answer. Unwinding is the only way a handler has to do so, and resuming
/// prints nothing.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the connection was reset on purpose"))
}

/// A refusal in the words of the endpoint: XML for v2, JSON for the rest, of
/// which APIv3's has a status.
fn said(simulator: &Simulator, fault: &Fault, body: &Bytes, code: &str) -> Response {
    let path = fault.path.as_str();
    if path.starts_with("/v3/") {
        let code = if code == "SYSTEMERROR" {
            "SYSTEM_ERROR"
        } else {
            code
        };
        return v3::http::refuse(simulator, code, fault.http_status);
    }
    let v2 = path.starts_with("/secapi/") || path.starts_with("/pay/");
    if !v2 || path == "/pay/genprepay" {
        let number = code.parse::<i64>().unwrap_or(-1);
        return errcode::plain(&json!({"errcode": number, "errmsg": "ordered by a test"}));
    }
    let fields = std::str::from_utf8(body)
        .ok()
        .and_then(|text| xml::read(text).ok());
    let refusal = Refusal::business(code, "系统异常，请稍后再试");
    v2::refuse(simulator, path, &fields.unwrap_or_default(), refusal)
}

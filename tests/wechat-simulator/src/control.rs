//! The tests' side of the simulator, JSON under `/_control`. A refused call
//! answers 400, 404 or 409 with `{"error": ".."}`.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /_control/orders` | | list of orders, the newest first |
//! | `GET /_control/orders/{out_trade_no}` | | an order, see below |
//! | `POST /_control/pay` | `{out_trade_no or code_url or prepay_id, openid?, notify?, copies?, coupon_fee?, force?, total_fee?}` | `{out_trade_no, transaction_id}` |
//! | `POST /_control/notify` | `{out_trade_no, copies?, fault?, url?, transaction_id?}` | `[attempt]`, one per copy |
//! | `GET /_control/faults` | | `[{path, kind, err_code, left, delay_ms, fired}]` |
//! | `POST /_control/faults` | `{path, kind, err_code?, times?, delay_ms?}` | the list |
//! | `DELETE /_control/faults` | | `[]` |
//! | `GET /_control/settings` | | all settings |
//! | `POST /_control/settings` | any of them | all settings |
//! | `GET /_control/counters` | | `{path: calls}` |
//! | `GET /_control/rejections` | | `[{path, code, message, at_ms}]`, the last hundred |
//! | `POST /_control/reset` | | `{}`; settings go back to their defaults |
//!
//! An order is `{out_trade_no, trade_type, state, total_fee, prepay_id,
//! prepay_until_ms, code_url, mweb_url, mweb_until_ms, created_ms, expires_ms,
//! parameters, refunds, notifications}`, and `transaction_id, openid,
//! coupon_fee, paid_ms` once it is paid. A refund is `{refund_id,
//! out_refund_no, refund_fee, status, created_ms, success_ms, notify_url,
//! notifications}`. An attempt is `{at_ms, status, body, latency_ms, accepted,
//! fault}`, with `status` null when no answer came in time.
//!
//! `notify` defaults to the setting `auto_notify`; `force` pays a closed or
//! expired order; `total_fee` makes the order another amount's. Fault names of a
//! notification: `forge::Flaw`; kinds of faults: `faults::Kind`; settings and
//! their defaults: `settings::Settings` and `pay::Rules`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::forge::{self, Flaw};
use crate::notify::{self, Subject};
use crate::pay::{CannotPay, Order, Rules, Wish};
use crate::settings::Settings;
use crate::state::{Simulator, World};

/// More copies than this would only test the machine.
const MOST_COPIES: usize = 200;

/// Why a call of the control side is refused.
pub(crate) struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

type Answer = Result<Response, Refused>;
type Object = serde_json::Map<String, Value>;

/// `GET /_control/orders`
pub(crate) async fn orders(State(simulator): State<Simulator>) -> Response {
    let world = simulator.world();
    let mut orders: Vec<&Order> = world.pay.orders().collect();
    orders.sort_by_key(|order| std::cmp::Reverse(order.created_ms));
    Json(orders).into_response()
}

/// `GET /_control/orders/{out_trade_no}`
pub(crate) async fn order(
    State(simulator): State<Simulator>,
    Path(number): Path<String>,
) -> Answer {
    let world = simulator.world();
    let order = world.pay.order(&number).ok_or_else(unknown)?;
    Ok(Json(order).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pay {
    out_trade_no: Option<String>,
    code_url: Option<String>,
    prepay_id: Option<String>,
    openid: Option<String>,
    notify: Option<bool>,
    #[serde(default = "one")]
    copies: usize,
    #[serde(default)]
    coupon_fee: i64,
    #[serde(default)]
    force: bool,
    total_fee: Option<i64>,
}

/// `POST /_control/pay`
pub(crate) async fn pay(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Pay = parse(&body)?;
    let handle = asked
        .out_trade_no
        .or(asked.code_url)
        .or(asked.prepay_id)
        .unwrap_or_default();
    let wish = Wish {
        openid: asked.openid,
        coupon_fee: asked.coupon_fee,
        force: asked.force,
        total_fee: asked.total_fee,
    };
    let copies = asked.copies.clamp(1, MOST_COPIES);
    let paid = notify::pay(&simulator, &handle, wish, asked.notify, copies);
    let receipt = paid.map_err(|error| {
        let status = match error {
            CannotPay::Unknown => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        };
        Refused(status, error.to_string())
    })?;
    let answer = json!({
        "out_trade_no": receipt.out_trade_no,
        "transaction_id": receipt.transaction_id,
    });
    Ok(Json(answer).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notify {
    out_trade_no: String,
    #[serde(default = "one")]
    copies: usize,
    fault: Option<Flaw>,
    url: Option<String>,
    transaction_id: Option<String>,
}

/// `POST /_control/notify`
pub(crate) async fn notify(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Notify = parse(&body)?;
    let order = asked.out_trade_no;
    let message = {
        let world = simulator.world();
        let order = world.pay.order(&order).ok_or_else(unknown)?;
        let order = forge::as_paid(order, asked.transaction_id, world.moment());
        let given = || order.given("notify_url").map(ToOwned::to_owned);
        let url = asked.url.or_else(given);
        url.and_then(|url| forge::forge(&world, &order, asked.fault, &url))
    };
    let message = message.ok_or_else(|| {
        let why = "this order has no such notification, or no address for it";
        Refused(StatusCode::CONFLICT, why.to_owned())
    })?;
    let messages = vec![message; asked.copies.clamp(1, MOST_COPIES)];
    let subject = Subject::Payment(order);
    let attempts = notify::send_all(&simulator, &subject, messages).await;
    Ok(Json(attempts).into_response())
}

/// `GET /_control/faults`
pub(crate) async fn faults(State(simulator): State<Simulator>) -> Response {
    Json(&simulator.world().faults).into_response()
}

/// `POST /_control/faults`
pub(crate) async fn add_fault(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let fault: Fault = parse(&body)?;
    if let Some(flaw) = fault.flaw() {
        return Err(Refused(StatusCode::BAD_REQUEST, flaw.to_owned()));
    }
    let mut world = simulator.world();
    world.faults.push(fault);
    Ok(Json(&world.faults).into_response())
}

/// `DELETE /_control/faults`
pub(crate) async fn clear_faults(State(simulator): State<Simulator>) -> Response {
    simulator.world().faults.clear();
    Json(json!([])).into_response()
}

/// `GET /_control/settings`
pub(crate) async fn settings(State(simulator): State<Simulator>) -> Response {
    Json(all_settings(&simulator.world())).into_response()
}

/// `POST /_control/settings`
pub(crate) async fn change_settings(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Object = parse(&body)?;
    let bad = |why: String| Refused(StatusCode::BAD_REQUEST, why);
    let mut world = simulator.world();
    let mut all = all_settings(&world);
    if let Some(name) = asked.keys().find(|name| !all.contains_key(*name)) {
        return Err(bad(format!("there is no setting {name}")));
    }
    all.extend(asked);
    let all = Value::Object(all);
    let settings = Settings::deserialize(&all).map_err(|error| bad(error.to_string()))?;
    let rules = Rules::deserialize(&all).map_err(|error| bad(error.to_string()))?;
    if let Some(flaw) = settings.flaw().or_else(|| rules.flaw()) {
        return Err(bad(flaw.to_owned()));
    }
    world.settings = settings;
    world.pay.rules = rules;
    Ok(Json(all).into_response())
}

/// The server's own and the order book's, side by side.
fn all_settings(world: &World) -> Object {
    let fields = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(fields)) => fields,
        _ => Object::new(),
    };
    let mut all = fields(serde_json::to_value(&world.settings));
    all.extend(fields(serde_json::to_value(&world.pay.rules)));
    all
}

/// `GET /_control/counters`
pub(crate) async fn counters(State(simulator): State<Simulator>) -> Response {
    Json(&simulator.world().counters).into_response()
}

/// `GET /_control/rejections`
pub(crate) async fn rejections(State(simulator): State<Simulator>) -> Response {
    Json(&simulator.world().rejections).into_response()
}

/// `POST /_control/reset`
pub(crate) async fn reset(State(simulator): State<Simulator>) -> Response {
    simulator.reset();
    Json(json!({})).into_response()
}

fn one() -> usize {
    1
}

fn unknown() -> Refused {
    Refused(StatusCode::NOT_FOUND, CannotPay::Unknown.to_string())
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

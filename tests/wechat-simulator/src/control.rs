//! The tests' side of the simulator, JSON under `/_control`. A refused call
//! answers 400, 404 or 409 with `{"error": ".."}`.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /_control/orders` | | list of orders, the newest first |
//! | `GET /_control/orders/{out_trade_no}` | | an order, see below |
//! | `POST /_control/pay` | `{out_trade_no or code_url or prepay_id, openid?, notify?, copies?, coupon_fee?, cash_coupon_fee?, force?, total_fee?}` | `{out_trade_no, transaction_id}` |
//! | `POST /_control/notify` | `{out_trade_no or out_refund_no, copies?, fault?, url?, transaction_id?}` | `[attempt]`, one per copy |
//! | `POST /_control/compose` | as for `notify`, without `copies` | `{url, headers, body}`: what would have been sent; v2 has no headers of its own |
//! | `POST /_control/repeat` | `{out_trade_no or out_refund_no}` | `{waited_seconds, left, attempt}`: the next repeat is sent now |
//! | `POST /_control/age` | `{prefix, seconds}` | `{aged}`: so many orders whose number begins so are older now |
//! | `POST /_control/charge` | `{out_trade_no}` | `{}`; the charge that is on its way arrives now |
//! | `POST /_control/refund` | `{out_trade_no, refund_fee?, status?, notify?, copies?, url?}` | a refund, made by a person in the merchant platform |
//! | `POST /_control/refund_becomes` | `{out_refund_no, status, notify?, copies?}` | the refund |
//! | `POST /_control/obstacles` | `{out_trade_no, refund?: [{err_code, times?, although_done?}], refund_lag_seconds?, full_refund_state?}` | the order |
//! | `GET /_control/merchants`, `/_control/accounts` | | who is known, see `merchants` |
//! | `POST /_control/merchants`, `/_control/accounts` | one of them, or what changes of a merchant | all of them; a reset forgets who was added |
//! | `POST /_control/js_code` | `{app_id, user?}` | `{js_code}`, what `wx.login` gives a mini program |
//! | `GET /_control/faults` | | `[{path, kind, err_code, left, delay_ms, fired}]` |
//! | `POST /_control/faults` | `{path, kind, err_code?, http_status?, spoilt?, times?, delay_ms?}` | the list |
//! | `DELETE /_control/faults` | | `[]` |
//! | `GET /_control/settings` | | all settings |
//! | `POST /_control/settings` | any of them | all settings |
//! | `GET /_control/counters` | | `{path: calls}`, and `/v3/certificates MCH_ID` |
//! | `GET /_control/rejections` | | `[{path, code, message, at_ms}]`, the last hundred |
//! | `POST /_control/reset` | | `{}`; settings go back to their defaults |
//!
//! An order is `{mch_id, app_id, version, out_trade_no, trade_type, state, total_fee, prepay_id, earlier_prepay_ids,
//! prepay_until_ms, code_url, mweb_url, mweb_until_ms, created_ms, expires_ms,
//! parameters, refunds, notifications, obstacles, refund_lag_ms, full_refund_state, queries}`, and
//! `transaction_id, openid, coupon_fee, cash_coupon_fee, paid_ms` once it is paid. A refund is `{refund_id,
//! out_refund_no, refund_fee, status, created_ms, success_ms, by_hand,
//! notify_url, notifications}`. An attempt is `{at_ms, status, body, latency_ms, accepted,
//! fault}`, with `status` null when no answer came in time.
//!
//! `notify` defaults to the setting `auto_notify`; `force` pays a closed or
//! expired order; a refund by hand is of all that is left, `SUCCESS`, and told to
//! the order's `notify_url` unless said otherwise (`notify: false` loses its
//! notifications); obstacles of one order leave all others alone, and new ones
//! replace the old; `total_fee` makes the order another amount's. Fault names of a
//! notification: `forge::Flaw`; `platform_certificates: 2` rolls a merchant's key: there
//! is a newer one, and it signs from now on; kinds of faults: `faults::Kind`; settings and
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
use crate::notify::{self, Subject};
use crate::pay::{CannotPay, Obstacle, Order, RefundStatus, Rules, TradeState, Wish};
use crate::settings::Settings;
use crate::state::{Simulator, World};

/// More copies than this would only test the machine.
pub(crate) const MOST_COPIES: usize = 200;

/// Why a call of the control side is refused.
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

pub(crate) type Answer = Result<Response, Refused>;
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
    cash_coupon_fee: i64,
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
        cash_coupon_fee: asked.cash_coupon_fee,
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
struct Arrival {
    out_trade_no: String,
}

/// `POST /_control/charge`
pub(crate) async fn charge(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Arrival = parse(&body)?;
    match simulator.world().charge_arrives(&asked.out_trade_no) {
        true => Ok(Json(json!({})).into_response()),
        false => Err(unknown()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHand {
    out_trade_no: String,
    refund_fee: Option<i64>,
    #[serde(default = "succeeded")]
    status: RefundStatus,
    notify: Option<bool>,
    #[serde(default = "one")]
    copies: usize,
    url: Option<String>,
}

/// `POST /_control/refund`
pub(crate) async fn refund(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: ByHand = parse(&body)?;
    let refund = {
        let mut world = simulator.world();
        let moment = world.moment();
        let order = world.pay.order(&asked.out_trade_no).ok_or_else(unknown)?;
        let url = asked
            .url
            .or(order.given("notify_url").map(ToOwned::to_owned));
        let made = world
            .pay
            .refund_by_hand(&asked.out_trade_no, asked.refund_fee, url, moment);
        made.map_err(|refusal| Refused(StatusCode::CONFLICT, refusal.code))?
    };
    become_and_tell(
        &simulator,
        &refund.out_refund_no,
        asked.status,
        asked.notify,
        asked.copies,
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Becomes {
    out_refund_no: String,
    status: RefundStatus,
    notify: Option<bool>,
    #[serde(default = "one")]
    copies: usize,
}

/// `POST /_control/refund_becomes`
pub(crate) async fn refund_becomes(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Becomes = parse(&body)?;
    become_and_tell(
        &simulator,
        &asked.out_refund_no,
        asked.status,
        asked.notify,
        asked.copies,
    )
}

/// Moves a refund on; the merchant is told of all but its being under way.
fn become_and_tell(
    simulator: &Simulator,
    out_refund_no: &str,
    status: RefundStatus,
    tell: Option<bool>,
    copies: usize,
) -> Answer {
    let (refund, automatic) = {
        let mut world = simulator.world();
        let now = world.now_ms();
        world.pay.refund_becomes(out_refund_no, status, now);
        let refund = world.pay.refund_of(out_refund_no);
        let refund = refund.map(|(_, refund)| refund.clone());
        (
            refund.ok_or_else(unknown)?,
            world.settings.auto_notify_refunds,
        )
    };
    if status != RefundStatus::Processing && tell.unwrap_or(automatic) {
        let subject = Subject::Refund(refund.out_refund_no.clone());
        notify::announce(simulator, subject, copies.clamp(1, MOST_COPIES));
    }
    Ok(Json(refund).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Age {
    prefix: String,
    seconds: i64,
}

/// `POST /_control/age`
pub(crate) async fn age(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Age = parse(&body)?;
    let aged = simulator.world().pay.age(&asked.prefix, asked.seconds);
    Ok(Json(json!({ "aged": aged })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Obstacles {
    out_trade_no: String,
    refund: Option<Vec<Obstacle>>,
    refund_lag_seconds: Option<i64>,
    full_refund_state: Option<TradeState>,
}

/// `POST /_control/obstacles`
pub(crate) async fn obstacles(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let asked: Obstacles = parse(&body)?;
    let mut world = simulator.world();
    if let Some(seconds) = asked.refund_lag_seconds {
        let lag_ms = seconds.saturating_mul(1000);
        world.pay.lag_refunds(&asked.out_trade_no, lag_ms);
    }
    let order = world.pay.order_mut(&asked.out_trade_no);
    let order = order.ok_or_else(unknown)?;
    if let Some(obstacles) = asked.refund {
        order.obstacles = obstacles;
    }
    if asked.full_refund_state.is_some() {
        order.full_refund_state = asked.full_refund_state;
    }
    Ok(Json(&*order).into_response())
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

pub(crate) fn one() -> usize {
    1
}

fn succeeded() -> RefundStatus {
    RefundStatus::Success
}

pub(crate) fn unknown() -> Refused {
    Refused(StatusCode::NOT_FOUND, CannotPay::Unknown.to_string())
}

pub(crate) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

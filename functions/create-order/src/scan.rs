//! `MICROPAY`: the payer's code is charged at once. The attempt is in the
//! ledger before WeChat is called, and WeChat is called once for it: whoever
//! asks again with the same code is told where it stands, and `reconcile` finds
//! out what nobody knows.

use std::net::IpAddr;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use shared::ambient::random_hex;
use shared::aws::ledger::{Created, Saved};
use shared::aws::queue::Queue;
use shared::domain::id::OrderKey;
use shared::domain::order::{Order, Patience, Request, Scanned, Status};
use shared::domain::time::Timestamp;
use shared::http::problem::Problem;
use shared::settle::Settler;
use shared::telemetry::causes;
use shared::wechat::micropay::Charge;

use crate::Hub;
use crate::request::AuthCode;

/// Others may change the order while a code is taken.
const ROUNDS: u32 = 5;

/// What payments by code need.
#[derive(Debug)]
pub struct Till {
    /// How payers' codes begin.
    pub prefixes: Vec<String>,
    /// How long a payer may take.
    pub patience: Patience,
    /// Where payments go.
    pub settler: Settler,
    /// Where WeChat is asked how it went.
    pub reconcile: Queue,
}

pub(crate) async fn charge(
    hub: &Hub,
    (key, request): (OrderKey, Request),
    (code, client_ip): (&AuthCode, IpAddr),
    now: Timestamp,
) -> Result<Response, Problem> {
    let (digest, payer) = (code.digest(), (hub.till.patience, client_ip));
    let mut order = Order::new(key, request, random_hex(), now);
    let mut scanned = order.scanned(&digest, payer, now)?;
    let mut status = StatusCode::CREATED;
    if let Created::Exists(known) = hub.checkout.ledger.create(&order).await? {
        if known.request != order.request {
            return Err(Problem::OrderConflict);
        }
        status = StatusCode::OK;
        (order, scanned) = scan_again(hub, *known, (&digest, payer), now).await?;
    }
    if let Scanned::New(attempt) = scanned {
        order = call(hub, order, (attempt, code, client_ip), now).await?;
    }
    match order.status {
        Status::Failed => Err(Problem::PaymentRefused {
            err_code: err_code(&order),
        }),
        Status::Paying => Ok((StatusCode::ACCEPTED, reply(&order)).into_response()),
        _ => Ok((status, reply(&order)).into_response()),
    }
}

/// A paid order is shown as it is; a failed one takes the new code.
async fn scan_again(
    hub: &Hub,
    mut order: Order,
    (digest, payer): (&str, (Patience, IpAddr)),
    now: Timestamp,
) -> Result<(Order, Scanned), Problem> {
    for _ in 0..ROUNDS {
        if order.payment.is_some() {
            return Ok((order, Scanned::Known));
        }
        match order.scanned(digest, payer, now)? {
            Scanned::Known => return Ok((order, Scanned::Known)),
            Scanned::New(attempt) => match hub.checkout.ledger.save(&mut order).await? {
                Saved::Done => return Ok((order, Scanned::New(attempt))),
                Saved::Changed(row) => order = *row,
            },
        }
    }
    Err(Problem::Unavailable)
}

/// Charges the code, once. Dying here leaves a question that is due in seconds.
async fn call(
    hub: &Hub,
    order: Order,
    (attempt, code, client_ip): (u8, &AuthCode, IpAddr),
    now: Timestamp,
) -> Result<Order, Problem> {
    let wechat = hub.checkout.merchant.wechat().await?;
    let number = order.out_trade_no(attempt);
    let charged = wechat
        .micropay(&order, (&number, code.expose()), (client_ip, now))
        .await;
    let settler = &hub.till.settler;
    match charged {
        Ok(Charge::Paid(payment)) => Ok(settler.settle(order, &payment, now).await?.0),
        Ok(Charge::Refused(code)) => Ok(settler.fail(order, (attempt, &code), now).await?),
        Ok(Charge::Paying) => {
            hub.till.reconcile.ring_for(&order, now).await;
            Ok(order)
        }
        Err(error) => {
            tracing::error!(alarm = "configuration", order = %order.key(), error = causes(&error),
                "WeChat refused the request for a payment code");
            hub.till.reconcile.ring_for(&order, now).await;
            Err(error.into())
        }
    }
}

fn err_code(order: &Order) -> String {
    let scan = order
        .attempts
        .last()
        .and_then(|attempt| attempt.scan.as_ref());
    scan.and_then(|scan| scan.err_code.clone())
        .unwrap_or_default()
}

fn reply(order: &Order) -> Json<Value> {
    let payment = order.payment.as_ref();
    let mut body = json!({
        "app_id": order.app_id,
        "order_no": order.order_no,
        "trade_no": order.trade_no().to_string(),
        "status": order.status,
        "total_fee": order.request.total_fee,
        "expires_at": order.expires_at.rfc3339(),
        "transaction_id": payment.map(|paid| &paid.transaction_id),
        "cash_fee": payment.map(|paid| paid.cash_fee),
        "openid": payment.and_then(|paid| paid.openid.as_ref()),
        "paid_at": payment.map(|paid| paid.paid_at.rfc3339()),
    });
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    Json(body)
}

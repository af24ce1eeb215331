//! `MICROPAY`: the payer's code is charged at once. The attempt is in the
//! ledger before WeChat is called, and WeChat is called once for it: whoever
//! asks again with the same code is told where it stands, and `reconcile` finds
//! out what nobody knows.

use std::net::IpAddr;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::aws::ledger::{Created, Saved};
use shared::aws::queue::Queue;
use shared::domain::merchant::AccountId;
use shared::domain::order::{CodeUse, MicropayTiming, Order, ShownCode, Status};
use shared::domain::time::Timestamp;
use shared::error::causes;
use shared::flows::race::Race;
use shared::flows::settle::Settler;
use shared::http::problem::Problem;
use shared::http::view::{Paid, PlacedOrder};
use shared::wechat::Charge;

use crate::CreateOrder;
use crate::request::AuthCode;

/// What payments by code need.
#[derive(Debug)]
pub struct Till {
    /// How payers' codes begin.
    pub prefixes: Vec<String>,
    /// How long a payer may take.
    pub timing: MicropayTiming,
    /// Where payments go.
    pub settler: Settler,
    /// Where WeChat is asked how it went.
    pub reconcile: Queue,
}

/// Charges a code for a new order, or for the same one again.
pub(crate) async fn charge(
    state: &CreateOrder,
    mut order: Order,
    code: &AuthCode,
    account: &AccountId,
    client_ip: IpAddr,
    now: Timestamp,
) -> Result<Response, Problem> {
    let shown = ShownCode {
        digest: &code.digest(),
        timing: state.till.timing,
        client_ip,
        account,
    };
    let mut code_use = order.use_payment_code(&shown, now)?;
    let mut status = StatusCode::CREATED;
    match state.ledger.create(&order).await? {
        Created::New => tracing::info!(order = %order.key(), "order created"),
        Created::Exists(known) if known.request.is_same(&order.request) => {
            status = StatusCode::OK;
            (order, code_use) = use_again(state, *known, &shown, now).await?;
        }
        Created::Exists(_) => return Err(Problem::OrderConflict),
    }
    if let CodeUse::New(attempt) = code_use {
        order = call(state, order, attempt, code, client_ip, now).await?;
    }
    match order.status {
        Status::Failed => Err(Problem::PaymentRefused {
            err_code: err_code(&order),
        }),
        Status::Paying => Ok((StatusCode::ACCEPTED, placed(&order)).into_response()),
        _ => Ok((status, placed(&order)).into_response()),
    }
}

/// A paid order is shown as it is; a failed one takes the new code.
async fn use_again(
    state: &CreateOrder,
    mut order: Order,
    shown: &ShownCode<'_>,
    now: Timestamp,
) -> Result<(Order, CodeUse), Problem> {
    let mut race = Race::new("take a payment code");
    loop {
        if order.payment.is_some() {
            return Ok((order, CodeUse::Known));
        }
        match order.use_payment_code(shown, now)? {
            CodeUse::Known => return Ok((order, CodeUse::Known)),
            CodeUse::New(attempt) => match state.ledger.save(&mut order).await? {
                Saved::Done => return Ok((order, CodeUse::New(attempt))),
                Saved::Changed(row) => order = *row,
            },
        }
        race.lost().await?;
    }
}

/// Charges the code, once. Dying here leaves a question that is due in seconds.
async fn call(
    state: &CreateOrder,
    order: Order,
    attempt: u8,
    code: &AuthCode,
    client_ip: IpAddr,
    now: Timestamp,
) -> Result<Order, Problem> {
    let wechat = state.checkout.merchants.of(&order).await?;
    let charged = wechat
        .micropay(&order, attempt, code.expose(), client_ip, now)
        .await;
    let Till {
        settler, reconcile, ..
    } = &state.till;
    match charged {
        Ok(Charge::Paid(payment)) => Ok(settler.settle(order, &payment.into(), now).await?.0),
        Ok(Charge::Refused(code)) => Ok(settler.fail(order, attempt, &code, now).await?),
        Ok(Charge::Paying) => {
            reconcile.ring_for_order(&order, now).await;
            Ok(order)
        }
        Err(error) => {
            tracing::error!(alarm = "configuration", order = %order.key(), error = causes(&error),
                "WeChat refused the request for a payment code");
            reconcile.ring_for_order(&order, now).await;
            Err(error.into())
        }
    }
}

fn err_code(order: &Order) -> String {
    let attempt = order.attempts.last();
    attempt
        .and_then(|attempt| attempt.payment_code.as_ref())
        .and_then(|code| code.err_code.clone())
        .unwrap_or_default()
}

fn placed(order: &Order) -> Json<PlacedOrder<'_>> {
    let mut placed = PlacedOrder::of(order);
    placed.paid = order.payment.as_ref().map(Paid::of);
    Json(placed)
}

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
use shared::domain::app::App;
use shared::domain::order::{CodeUse, MicropayTiming, Order, ShownCode, Status, TradeType};
use shared::domain::time::Timestamp;
use shared::error::causes;
use shared::flows::race::Race;
use shared::flows::settle::Settler;
use shared::http::problem::Problem;
use shared::http::view::{Paid, PlacedOrder};
use shared::wechat::Charge;

use crate::request::AuthCode;
use crate::{CreateOrder, admit, known};

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

/// A payer's code, and where the till is.
pub(crate) struct Scan {
    pub(crate) code: AuthCode,
    pub(crate) client_ip: IpAddr,
}

/// Charges a code for a new order, or for the same one again.
pub(crate) async fn charge(
    state: &CreateOrder,
    app: &App,
    mut order: Order,
    scan: &Scan,
    now: Timestamp,
) -> Result<Response, Problem> {
    let (mut status, code_use);
    match use_code(state, app, &mut order, scan, now).await {
        Ok(used) => match state.ledger.create(&order).await? {
            Created::New => {
                tracing::info!(order = %order.key(), "order created");
                (status, code_use) = (StatusCode::CREATED, used);
            }
            Created::Exists(known) if known.request.is_same(&order.request) => {
                status = StatusCode::OK;
                (order, code_use) = use_again(state, app, *known, scan, now).await?;
            }
            Created::Exists(_) => return Err(Problem::OrderConflict),
        },
        // What the app may not any more changes nothing of what it has.
        Err(problem) => {
            let known = known(state, &order).await?.ok_or(problem)?;
            status = StatusCode::OK;
            (order, code_use) = use_again(state, app, known, scan, now).await?;
        }
    }
    if let CodeUse::New(attempt) = code_use {
        order = call(state, order, attempt, scan, now).await?;
    }
    match order.status {
        Status::Failed => Err(Problem::PaymentRefused {
            err_code: err_code(&order),
        }),
        Status::Paying => {
            status = StatusCode::ACCEPTED;
            Ok((status, placed(&order)).into_response())
        }
        _ => Ok((status, placed(&order)).into_response()),
    }
}

/// Opens the attempt of a code, through the order's own merchant.
async fn use_code(
    state: &CreateOrder,
    app: &App,
    order: &mut Order,
    scan: &Scan,
    now: Timestamp,
) -> Result<CodeUse, Problem> {
    admit(state, app, order).await?;
    let channel = state
        .checkout
        .channel(order, app, TradeType::Micropay)
        .await?;
    let shown = ShownCode {
        digest: &scan.code.digest(),
        timing: state.till.timing,
        client_ip: scan.client_ip,
        channel: &channel,
    };
    Ok(order.use_payment_code(&shown, now)?)
}

/// A paid order is shown as it is, and so is one whose code this is; a failed one
/// takes the new code.
async fn use_again(
    state: &CreateOrder,
    app: &App,
    mut order: Order,
    scan: &Scan,
    now: Timestamp,
) -> Result<(Order, CodeUse), Problem> {
    let digest = scan.code.digest();
    let mut race = Race::new("take a payment code");
    loop {
        if order.payment.is_some() || order.is_charged_with(&digest) {
            return Ok((order, CodeUse::Known));
        }
        match use_code(state, app, &mut order, scan, now).await? {
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
    scan: &Scan,
    now: Timestamp,
) -> Result<Order, Problem> {
    let wechat = state.checkout.merchants.of(&order).await?;
    let charged = wechat
        .micropay(&order, attempt, scan.code.expose(), scan.client_ip, now)
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

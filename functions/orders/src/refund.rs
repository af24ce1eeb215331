//! `POST /v1/orders/{order_no}/refunds` gives a part of a payment back,
//! idempotent on the refund's number; `GET .../refunds/{refund_no}` shows it.
//! The promise is committed with the order's sums before WeChat is asked, so
//! that all refunds together never exceed the payment.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::aws::ledger::Saved;
use shared::domain::id::{OutRefundNo, RefundNo};
use shared::domain::money::Fen;
use shared::domain::order::{Order, Refusal};
use shared::domain::refund::{Promise, Refund, Status};
use shared::domain::time::Timestamp;
use shared::flows::race::Race;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view;

use crate::Orders;

/// What an app asks for.
struct Request {
    number: OutRefundNo,
    fee: Fen,
    reason: Option<String>,
    transaction_id: Option<String>,
}

pub(crate) async fn create(
    State(state): State<Arc<Orders>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let fields = Fields::from_json(&body)?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &state.registry, now).await?;
    let request = read(&signed, &order_no)?;
    let (refund, is_new) = promise(&state, &request, now).await?;
    // A repeat finds it where it stands; who died before asking is overtaken
    // by the sweeper.
    let refund = match is_new {
        true => {
            state
                .refunds
                .advance(refund, &state.notify_url, now)
                .await?
        }
        false => refund,
    };
    let status = match (is_new, refund.status) {
        (_, Status::Pending) => StatusCode::ACCEPTED,
        (false, _) | (true, Status::Failed) => StatusCode::OK,
        (true, _) => StatusCode::CREATED,
    };
    Ok((status, Json(view::Refund::of(&refund))).into_response())
}

pub(crate) async fn show(
    State(state): State<Arc<Orders>>,
    Path((order_no, refund_no)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let fields = Fields::from_query(&query.unwrap_or_default())?
        .with_path("order_no", order_no.clone())?
        .with_path("refund_no", refund_no.clone())?;
    let signed = Signed::fresh(fields, &state.registry, state.clock.now()).await?;
    signed.fields.only(&["order_no", "refund_no"])?;
    let number = OutRefundNo {
        order: signed.order_key(&order_no)?,
        refund_no: RefundNo::parse(&refund_no).map_err(Problem::of_param("refund_no"))?,
    };
    let refund = state.ledger.refund(&number).await?;
    let refund = refund.ok_or(Problem::RefundNotFound)?;
    Ok(Json(view::Refund::of(&refund)).into_response())
}

fn read(signed: &Signed, order_no: &str) -> Result<Request, Problem> {
    let fields = &signed.fields;
    fields.only(&[
        "order_no",
        "refund_no",
        "refund_fee",
        "reason",
        "transaction_id",
    ])?;
    let refund_no = RefundNo::parse(fields.required("refund_no", 64)?)
        .map_err(Problem::of_param("refund_no"))?;
    if refund_no.is_automatic() {
        return Err(Problem::param(
            "refund_no",
            "must not begin with auto-, as the hub's own do",
        ));
    }
    let fee = fields
        .integer("refund_fee")?
        .ok_or_else(|| Problem::param("refund_fee", "is required"))?;
    Ok(Request {
        number: OutRefundNo {
            order: signed.order_key(order_no)?,
            refund_no,
        },
        fee: Fen::positive(fee).map_err(Problem::of_param("refund_fee"))?,
        reason: fields.text("reason", 80)?.map(str::to_owned),
        transaction_id: fields.text("transaction_id", 32)?.map(str::to_owned),
    })
}

/// The refund, promised: it and the order's sums are in the ledger. Whether this
/// call promised it, or one before.
async fn promise(
    state: &Orders,
    request: &Request,
    now: Timestamp,
) -> Result<(Refund, bool), Problem> {
    let key = &request.number.order;
    let mut race = Race::new("promise a refund");
    loop {
        let order = state.ledger.order(key).await?;
        let mut order = order.ok_or(Problem::OrderNotFound)?;
        let known = state.ledger.refund(&request.number).await?;
        let mut refund = fresh(&order, request, now, state.grace_seconds)?;
        match known {
            Some(known) if known.is_same_request(&refund) => return Ok((known, false)),
            Some(_) => return Err(Problem::RefundConflict),
            None => order.reserve_refund(&refund.transaction_id, refund.refund_fee)?,
        }
        let saved = state.ledger.commit(&mut order, None, Some(&mut refund));
        if let Saved::Done = saved.await? {
            tracing::info!(order = %key, refund_no = %refund.refund_no, "refund promised");
            return Ok((refund, true));
        }
        race.lost().await?;
    }
}

fn fresh(
    order: &Order,
    request: &Request,
    now: Timestamp,
    grace_seconds: i64,
) -> Result<Refund, Problem> {
    let payment = match &request.transaction_id {
        Some(id) => order.payment_of(id),
        None => order.payment.as_ref(),
    };
    let promise = Promise {
        payment: payment.ok_or(Refusal::NotPaid)?,
        refund_no: request.number.refund_no.clone(),
        refund_fee: request.fee,
        reason: request.reason.clone(),
        // The answer is on its way; the sweeper asks only if it does not come.
        due: now.plus_seconds(grace_seconds),
    };
    Ok(Refund::new(order.key(), promise, now))
}

//! `POST /v1/orders/{order_no}/refunds` gives a part of a payment back,
//! idempotent on the refund's number; `GET .../refunds/{refund_no}` shows it, and
//! `POST .../refunds/{refund_no}/retry` asks WeChat about it now.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use shared::domain::id::{OutRefundNo, RefundNo, RefundSource};
use shared::domain::money::Fen;
use shared::domain::refund::Status;
use shared::flows::promise::{Promised, Wanted};
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::http::view;

use crate::Orders;

pub(crate) async fn create(
    State(state): State<Arc<Orders>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let fields = Fields::from_json(&body)?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &state.registry, now).await?;
    let request = read(&signed, &order_no)?;
    let promised = state.refunds.promise(&request, None, now).await?;
    let Promised { refund, is_new } = promised;
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
    let number = number(&signed, &order_no, &refund_no)?;
    let refund = state.ledger.refund(&number).await?;
    let refund = refund.ok_or(Problem::RefundNotFound)?;
    Ok(Json(view::Refund::of(&refund)).into_response())
}

/// Somebody wants to know now: WeChat is asked at once, under the same number.
pub(crate) async fn retry(
    State(state): State<Arc<Orders>>,
    Path((order_no, refund_no)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = state.clock.now();
    let path = [("order_no", &*order_no), ("refund_no", &*refund_no)];
    let signed = state.asked("retry", &path, &body, now).await?;
    let number = number(&signed, &order_no, &refund_no)?;
    let refund = state.ledger.refund(&number).await?;
    let mut refund = refund.ok_or(Problem::RefundNotFound)?;
    // Of twenty at once one asks, and so does no run that is asking already.
    if refund.claim_early(now) && state.ledger.save_refund(&mut refund).await? {
        refund = state
            .refunds
            .advance(refund, &state.notify_url, now)
            .await?;
    }
    let status = match refund.status.is_final() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(view::Refund::of(&refund))).into_response())
}

fn number(signed: &Signed, order_no: &str, refund_no: &str) -> Result<OutRefundNo, Problem> {
    Ok(OutRefundNo {
        order: signed.order_key(order_no)?,
        refund_no: RefundNo::parse(refund_no).map_err(Problem::of_param("refund_no"))?,
    })
}

fn read(signed: &Signed, order_no: &str) -> Result<Wanted, Problem> {
    let fields = &signed.fields;
    fields.only(&[
        "order_no",
        "refund_no",
        "refund_fee",
        "reason",
        "transaction_id",
    ])?;
    let refund_no = fields.required("refund_no", 64)?;
    let parsed = RefundNo::parse(refund_no).map_err(Problem::of_param("refund_no"))?;
    if parsed.source() != RefundSource::App {
        return Err(Problem::param(
            "refund_no",
            "must not begin with auto- or ext-, as the hub's own do",
        ));
    }
    let fee = fields
        .integer("refund_fee")?
        .ok_or_else(|| Problem::param("refund_fee", "is required"))?;
    Ok(Wanted {
        number: number(signed, order_no, refund_no)?,
        fee: Fen::positive(fee).map_err(Problem::of_param("refund_fee"))?,
        reason: fields.text("reason", 80)?.map(str::to_owned),
        transaction_id: fields.text("transaction_id", 32)?.map(str::to_owned),
    })
}

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
use serde_json::Value;
use shared::aws::ledger::{Along, Saved};
use shared::domain::id::{OutRefundNo, RefundNo};
use shared::domain::money::Fen;
use shared::domain::order::{Order, Refusal};
use shared::domain::refund::{Refund, Status};
use shared::domain::time::Timestamp;
use shared::http::problem::Problem;
use shared::http::request::{Fields, Signed};
use shared::settle::pause;

use crate::{Hub, key, view};

/// Twenty refunds of one order at once get through within as many rounds.
const ROUNDS: u32 = 25;

/// What an app asks for.
struct Request {
    number: OutRefundNo,
    fee: Fen,
    reason: Option<String>,
    transaction_id: Option<String>,
}

pub(crate) async fn create(
    State(hub): State<Arc<Hub>>,
    Path(order_no): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = hub.clock.now();
    let fields = Fields::from_json(&body)?.with_path("order_no", order_no.clone())?;
    let signed = Signed::fresh(fields, &hub.refunds.settler.registry, now).await?;
    let request = read(&signed, &order_no)?;
    let (refund, is_new) = promise(&hub, &request, now).await?;
    // A repeat finds it where it stands; who died before asking is overtaken
    // by the sweeper.
    let refund = match is_new {
        true => hub.refunds.go_on(refund, &hub.notify_url, now).await?,
        false => refund,
    };
    let status = match (is_new, refund.status) {
        (_, Status::Pending) => StatusCode::ACCEPTED,
        (false, _) | (true, Status::Failed) => StatusCode::OK,
        (true, _) => StatusCode::CREATED,
    };
    Ok((status, Json(view::refund(&refund))).into_response())
}

pub(crate) async fn show(
    State(hub): State<Arc<Hub>>,
    Path((order_no, refund_no)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let fields = Fields::from_query(&query.unwrap_or_default())?
        .with_path("order_no", order_no.clone())?
        .with_path("refund_no", refund_no.clone())?;
    let settler = &hub.refunds.settler;
    let signed = Signed::fresh(fields, &settler.registry, hub.clock.now()).await?;
    signed.fields.only(&["order_no", "refund_no"])?;
    let number = OutRefundNo {
        order: key(&signed, &order_no)?,
        refund_no: RefundNo::parse(&refund_no)
            .map_err(|rule| Problem::param("refund_no", rule.0))?,
    };
    let refund = settler.ledger.refund(&number).await?;
    let refund = refund.ok_or(Problem::RefundNotFound)?;
    Ok(Json(view::refund(&refund)))
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
        .map_err(|rule| Problem::param("refund_no", rule.0))?;
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
            order: key(signed, order_no)?,
            refund_no,
        },
        fee: Fen::positive(fee).map_err(|rule| Problem::param("refund_fee", rule.0))?,
        reason: fields.text("reason", 80)?.map(str::to_owned),
        transaction_id: fields.text("transaction_id", 32)?.map(str::to_owned),
    })
}

/// The refund, promised: it and the order's sums are in the ledger.
async fn promise(hub: &Hub, request: &Request, now: Timestamp) -> Result<(Refund, bool), Problem> {
    let settler = &hub.refunds.settler;
    for round in 0..ROUNDS {
        let key = &request.number.order;
        let order = settler.ledger.order(key).await?;
        let mut order = order.ok_or(Problem::OrderNotFound)?;
        let known = settler.ledger.refund(&request.number).await?;
        let mut refund = fresh(&order, request, (now, settler.grace_seconds))?;
        match known {
            Some(known) if known.is_same_request(&refund) => return Ok((known, false)),
            Some(_) => return Err(Problem::RefundConflict),
            None => order.reserve_refund(&refund.transaction_id, refund.refund_fee)?,
        }
        let along = Along {
            delivery: None,
            refund: Some(&mut refund),
        };
        if let Saved::Done = settler.ledger.commit(&mut order, along).await? {
            tracing::info!(order = %key, refund_no = %refund.refund_no, "refund promised");
            return Ok((refund, true));
        }
        pause(round).await;
    }
    Err(Problem::Unavailable)
}

fn fresh(
    order: &Order,
    request: &Request,
    (now, grace_seconds): (Timestamp, i64),
) -> Result<Refund, Problem> {
    let payment = match &request.transaction_id {
        Some(id) => order.payment_of(id),
        None => order.payment.as_ref(),
    };
    let payment = payment.ok_or(Refusal::NotPaid)?;
    let number = request.number.refund_no.clone();
    // The answer is on its way; the sweeper asks only if it does not come.
    let due = now.plus_seconds(grace_seconds);
    let mut refund = Refund::new(order, payment, (number, request.fee), (now, due));
    refund.reason.clone_from(&request.reason);
    Ok(refund)
}
